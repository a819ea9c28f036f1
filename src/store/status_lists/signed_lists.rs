//! The signed status lists, and up to which event of the audit log they are built.

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl};

use crate::{
    domain::common::{derived_id::SigningKeyId, id::StatusListId, time::Timestamp},
    store::{
        columns::parsed,
        error::StoreError,
        pool::Conn,
        schema::{event_head, status_build, status_list_tokens},
        status_lists,
        transaction::Tx,
    },
};

/// The state of the last build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// The number of the last event that the lists include.
    pub seq: i64,
    /// When the next key or credential expires.
    pub next_end: Option<Timestamp>,
    /// Incremented by each build, and by nothing else.
    pub version: i64,
    /// How many tokens were revoked individually.
    pub revoked: i64,
    /// How many of them the lists include.
    pub built_revoked: i64,
}

/// The metadata of a signed list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedInfo {
    pub list: StatusListId,
    pub kid: SigningKeyId,
    /// A digest of the statuses and of the parameters of the list.
    pub content: String,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct Signed {
    pub info: SignedInfo,
    pub jwt: String,
}

pub fn build(connection: &mut Conn) -> Result<Build, StoreError> {
    let (seq, next_end, version, revoked, built_revoked): (i64, Option<i64>, i64, i64, i64) = status_build::table
        .find(1)
        .select((
            status_build::seq,
            status_build::next_end,
            status_build::version,
            status_build::revoked,
            status_build::built_revoked,
        ))
        .first(connection)?;
    Ok(Build { seq, next_end: next_end.map(Timestamp::from_millis), version, revoked, built_revoked })
}

/// Returns the number of the last event. Data that is read after this call is at least as recent.
pub fn head(connection: &mut Conn) -> Result<i64, StoreError> {
    Ok(event_head::table.find(1).select(event_head::seq).first(connection)?)
}

pub fn infos(connection: &mut Conn) -> Result<Vec<SignedInfo>, StoreError> {
    let rows: Vec<(String, String, String, i64, i64)> = status_list_tokens::table
        .select((
            status_list_tokens::list_id,
            status_list_tokens::kid,
            status_list_tokens::content,
            status_list_tokens::issued_at,
            status_list_tokens::expires_at,
        ))
        .load(connection)?;
    let info = |(list, kid, content, issued_at, expires_at): (String, String, String, i64, i64)| {
        Ok(SignedInfo {
            list: parsed("status list", &list)?,
            kid: parsed("kid", &kid)?,
            content,
            issued_at: Timestamp::from_millis(issued_at),
            expires_at: Timestamp::from_millis(expires_at),
        })
    };
    rows.into_iter().map(info).collect()
}

/// Returns the version of the build that last signed each list.
pub fn versions(connection: &mut Conn) -> Result<Vec<(StatusListId, i64)>, StoreError> {
    let rows: Vec<(String, i64)> = status_list_tokens::table
        .select((status_list_tokens::list_id, status_list_tokens::version))
        .load(connection)?;
    rows.into_iter().map(|(list, version)| Ok((parsed("status list", &list)?, version))).collect()
}

/// The signed list that is served to verifiers.
#[derive(Debug, Clone)]
pub struct Found {
    pub jwt: String,
    pub version: i64,
    pub expires_at: Timestamp,
}

/// Returns a list as it was last signed.
pub fn find(connection: &mut Conn, list: &StatusListId) -> Result<Option<Found>, StoreError> {
    let found: Option<(String, i64, i64)> = status_list_tokens::table
        .find(list.as_str())
        .select((status_list_tokens::jwt, status_list_tokens::version, status_list_tokens::expires_at))
        .first(connection)
        .optional()?;
    Ok(found.map(|(jwt, version, end)| Found { jwt, version, expires_at: Timestamp::from_millis(end) }))
}

/// Writes the lists that were built from the state `before`. Returns `false` and writes nothing if
/// another build was written since. A list that was deleted in the meantime is not created again.
pub fn write(
    tx: &mut Tx<'_>,
    before: &Build,
    seq: i64,
    next_end: Option<Timestamp>,
    signed: &[Signed],
) -> Result<bool, StoreError> {
    let version = before.version + 1;
    let still = status_build::table.find(1).filter(status_build::version.eq(before.version));
    let moved = diesel::update(still)
        .set((
            status_build::seq.eq(seq),
            status_build::next_end.eq(next_end.map(Timestamp::millis)),
            status_build::version.eq(version),
            // This number was read before the tokens. Tokens revoked since then may or may not be
            // included, and require another build.
            status_build::built_revoked.eq(before.revoked),
        ))
        .execute(&mut **tx)?;
    if moved == 0 {
        return Ok(false);
    }
    for Signed { info, jwt } in signed {
        let values = (
            status_list_tokens::jwt.eq(jwt.as_str()),
            status_list_tokens::kid.eq(info.kid.as_str()),
            status_list_tokens::content.eq(info.content.as_str()),
            status_list_tokens::issued_at.eq(info.issued_at.millis()),
            status_list_tokens::expires_at.eq(info.expires_at.millis()),
            status_list_tokens::version.eq(version),
        );
        let row = status_list_tokens::table.find(info.list.as_str());
        if diesel::update(row).set(values).execute(&mut **tx)? == 0 && status_lists::keep(tx, &info.list)? {
            diesel::insert_into(status_list_tokens::table)
                .values((status_list_tokens::list_id.eq(info.list.as_str()), values))
                .execute(&mut **tx)?;
        }
    }
    Ok(true)
}
