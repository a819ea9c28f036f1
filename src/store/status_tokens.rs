//! The status lists as they were signed, and how far the trail was read for them.

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl};

use crate::domain::{
    id::{SigningKeyId, StatusListId},
    time::Timestamp,
};

use super::{
    api_keys::parsed,
    change::Tx,
    connection::Conn,
    error::StoreError,
    schema::{event_head, status_build, status_list_tokens},
    status_lists,
};

/// How far the lists have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// The last event that is in them.
    pub seq: i64,
    /// When the next of what they tell of ends by itself.
    pub next_end: Option<Timestamp>,
    /// Only builders move it.
    pub version: i64,
    /// How many single tokens were revoked.
    pub revoked: i64,
    /// How many of them are in the lists.
    pub built_revoked: i64,
}

/// What is known of a signed list, without the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedInfo {
    pub list: StatusListId,
    pub kid: SigningKeyId,
    /// A digest of what it says.
    pub content: String,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

/// A signed list.
#[derive(Debug, Clone)]
pub struct Signed {
    pub info: SignedInfo,
    pub jwt: String,
}

/// # Errors
/// The database does not answer.
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

/// The last event of the trail. What is read after this is at least as new.
///
/// # Errors
/// The database does not answer.
pub fn head(connection: &mut Conn) -> Result<i64, StoreError> {
    Ok(event_head::table.find(1).select(event_head::seq).first(connection)?)
}

/// # Errors
/// The database does not answer, or holds what it should not.
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

/// Which version of each list was signed last.
///
/// # Errors
/// The database does not answer, or holds what it should not.
pub fn versions(connection: &mut Conn) -> Result<Vec<(StatusListId, i64)>, StoreError> {
    let rows: Vec<(String, i64)> = status_list_tokens::table
        .select((status_list_tokens::list_id, status_list_tokens::version))
        .load(connection)?;
    rows.into_iter().map(|(list, version)| Ok((parsed("status list", &list)?, version))).collect()
}

/// A list as it is served.
#[derive(Debug, Clone)]
pub struct Found {
    pub jwt: String,
    pub version: i64,
    pub expires_at: Timestamp,
}

/// A list as it was signed last.
///
/// # Errors
/// The database does not answer.
pub fn find(connection: &mut Conn, list: &StatusListId) -> Result<Option<Found>, StoreError> {
    let found: Option<(String, i64, i64)> = status_list_tokens::table
        .find(list.as_str())
        .select((status_list_tokens::jwt, status_list_tokens::version, status_list_tokens::expires_at))
        .first(connection)
        .optional()?;
    Ok(found.map(|(jwt, version, end)| Found { jwt, version, expires_at: Timestamp::from_millis(end) }))
}

/// Writes what was made of the state `before`, unless another builder has been faster; says whether it did. A list that was thrown away since
/// stays away.
///
/// # Errors
/// The database does not answer.
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
            // As it was read, before all else: what was revoked since may be in there or not, and is news.
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
