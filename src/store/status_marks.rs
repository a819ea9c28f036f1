//! What the status lists have to tell: the credentials that do not hold, and no others. A million that hold are never looked at.

use std::collections::BTreeMap;

use diesel::{ExpressionMethods, JoinOnDsl, OptionalExtension, QueryDsl, RunQueryDsl, SelectableHelper};

use crate::domain::{api_key::state, status_list::Status, time::Timestamp};

use super::{
    api_keys::{self as rows, KeyRow},
    connection::Conn,
    departures,
    dialect::{self, Dead},
    error::StoreError,
    key_standings::{Lean, StandingRow, ownership},
    schema::{api_keys, credentials, key_standings, token_statuses, users},
};

/// How many values stand in one list of a statement.
const AT_ONCE: usize = 500;

/// The statuses that are not valid, by credential.
#[derive(Debug, Default)]
pub struct Marks(BTreeMap<String, (Option<(String, i32)>, Status)>);

impl Marks {
    /// The gravest word wins.
    fn add(&mut self, credential: String, list: Option<String>, index: Option<i32>, status: Status) {
        let mark = self.0.entry(credential).or_insert_with(|| (list.zip(index), status));
        mark.1 = mark.1.max(status);
    }

    /// Each with its list and its index there.
    pub fn places(&self) -> impl Iterator<Item = (&str, i32, Status)> {
        self.0.values().filter_map(|(place, status)| {
            let (list, index) = place.as_ref()?;
            Some((list.as_str(), *index, *status))
        })
    }
}

/// # Errors
/// The database does not answer, or holds what it should not.
pub fn of_credentials(connection: &mut Conn, now: Timestamp, ends_with_creator: bool) -> Result<Marks, StoreError> {
    let mut marks = Marks::default();
    // What stands on the key alone decides these.
    for (dead, status) in [
        (Dead::Revoked, Status::Invalid),
        (Dead::Expired, Status::Invalid),
        (Dead::EndedWithOwner, Status::Invalid),
        (Dead::Suspended, Status::Suspended),
    ] {
        for row in dialect::credentials_of(connection, dead, now)? {
            marks.add(row.id, row.status_list, row.status_index, status);
        }
    }
    let ended: Vec<(String, Option<String>, Option<i32>)> = credentials::table
        .filter(credentials::expires_at.le(now.millis()))
        .select((credentials::id, credentials::status_list, credentials::status_index))
        .load(connection)?;
    for (credential, list, index) in ended {
        marks.add(credential, list, index, Status::Invalid);
    }
    if ends_with_creator {
        for row in dialect::credentials_of(connection, Dead::EndedWithCreator, now)? {
            marks.add(row.id, row.status_list, row.status_index, Status::Invalid);
        }
    }
    // And these are judged by the rule that judges exchanges.
    let blocked: Vec<String> =
        users::table.filter(users::blocked_at.is_not_null()).select(users::id).load(connection)?;
    for some in blocked.chunks(AT_ONCE) {
        judge(connection, &mut marks, now, ends_with_creator, |keys| {
            keys.filter(api_keys::user_id.eq_any(some.to_vec()))
        })?;
    }
    for departure in departures::left(connection)? {
        judge(connection, &mut marks, now, ends_with_creator, |keys| departure.narrow(keys))?;
    }
    Ok(marks)
}

type Judged = (KeyRow, Lean, (String, Option<String>, Option<i32>));

fn judge<'a>(
    connection: &mut Conn,
    marks: &mut Marks,
    now: Timestamp,
    ends_with_creator: bool,
    narrow: impl FnOnce(departures::Keys<'a>) -> departures::Keys<'a>,
) -> Result<(), StoreError> {
    let ids: Vec<String> = narrow(api_keys::table.filter(api_keys::revoked_at.is_null()).into_boxed())
        .select(api_keys::id)
        .load(connection)?;
    for some in ids.chunks(AT_ONCE) {
        let found: Vec<Judged> = credentials::table
            .inner_join(api_keys::table)
            .inner_join(key_standings::table.on(key_standings::key_id.eq(api_keys::id)))
            .filter(api_keys::id.eq_any(some.to_vec()))
            .select((
                KeyRow::as_select(),
                // Without the permissions, which cost the most and decide nothing here.
                (
                    key_standings::client_permissions,
                    key_standings::client_deleted_at,
                    key_standings::user_incarnation,
                    key_standings::user_blocked_at,
                    key_standings::member_incarnation,
                    key_standings::member_organization_incarnation,
                    key_standings::organization_incarnation,
                    key_standings::creator_incarnation,
                    key_standings::creator_organization_incarnation,
                ),
                (credentials::id, credentials::status_list, credentials::status_index),
            ))
            .load(connection)?;
        for (key, lean, (credential, list, index)) in found {
            let standing = ownership(&key, &StandingRow::lean(lean))?.standing(ends_with_creator);
            let (state, _) = state(&rows::life(&key), &standing, now);
            let status = Status::from(state);
            if status != Status::Valid {
                marks.add(credential, list, index, status);
            }
        }
    }
    Ok(())
}

/// The statuses of tokens that have one of their own: their credential's, or invalid where they were revoked themselves.
///
/// # Errors
/// The database does not answer, or holds what it should not.
pub fn of_tokens(connection: &mut Conn, credentials: &Marks) -> Result<Vec<(String, i32, Status)>, StoreError> {
    let columns = (token_statuses::list_id, token_statuses::list_index);
    let revoked: Vec<(String, i32)> =
        token_statuses::table.filter(token_statuses::revoked_at.is_not_null()).select(columns).load(connection)?;
    let mut statuses: Vec<_> = revoked.into_iter().map(|(list, index)| (list, index, Status::Invalid)).collect();
    let dead: Vec<_> = credentials.0.keys().map(String::as_str).collect();
    for some in dead.chunks(AT_ONCE) {
        let found: Vec<(String, i32, String)> = token_statuses::table
            .filter(token_statuses::credential_id.eq_any(some.to_vec()))
            .filter(token_statuses::revoked_at.is_null())
            .select((token_statuses::list_id, token_statuses::list_index, token_statuses::credential_id))
            .load(connection)?;
        statuses.extend(found.into_iter().filter_map(|(list, index, credential)| {
            let (_, status) = credentials.0.get(&credential)?;
            Some((list, index, *status))
        }));
    }
    Ok(statuses)
}

/// When the next key or credential ends by itself.
///
/// # Errors
/// The database does not answer.
pub fn next_end(connection: &mut Conn, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let of_keys: Option<Option<i64>> = api_keys::table
        .filter(api_keys::expires_at.gt(now.millis()))
        .order(api_keys::expires_at.asc())
        .select(api_keys::expires_at)
        .first(connection)
        .optional()?;
    let of_credentials: Option<Option<i64>> = credentials::table
        .filter(credentials::expires_at.gt(now.millis()))
        .order(credentials::expires_at.asc())
        .select(credentials::expires_at)
        .first(connection)
        .optional()?;
    Ok([of_keys, of_credentials].into_iter().flatten().flatten().min().map(Timestamp::from_millis))
}
