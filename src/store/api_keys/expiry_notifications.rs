//! Keys that expire soon or have expired, and whose expiry notification is due.

use crate::{
    domain::{
        common::{
            id::{KeyId, OrganizationId},
            time::Timestamp,
        },
        credentials::expiry_notification::{self, NOTIFICATION_SCHEDULE},
    },
    store::{prelude::*, schema::api_keys},
};

/// A key whose expiry notification is due. `days` is the number of days before the expiration, and
/// `EXPIRED_DAYS` once it has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueNotification {
    pub key: KeyId,
    pub organization: Option<OrganizationId>,
    pub ends_at: Timestamp,
    pub days: i32,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = api_keys)]
struct Row {
    id: KeyId,
    organization_id: Option<OrganizationId>,
    revoked_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    notified_days: Option<i32>,
}

/// Returns whether any notification is due.
pub fn are_due(connection: &mut Conn, now: Timestamp) -> Result<bool, StoreError> {
    Ok(!find_due(connection, now, 1)?.is_empty())
}

/// Returns up to `most` keys whose notification is due. They count as notified with this change.
/// The caller must hold a lock that prevents concurrent calls.
pub fn take_due(tx: &mut Tx<'_>, most: i64) -> Result<Vec<DueNotification>, StoreError> {
    let now = tx.now();
    let ids = find_due(tx, now, most)?;
    // The rows are locked and read again, because a change of the expiration in between has also
    // reset the notification.
    diesel::update(api_keys::table.filter(api_keys::id.eq_any(&ids)))
        .set(api_keys::version.eq(api_keys::version))
        .execute_in(tx)?;
    let rows: Vec<Row> = api_keys::table
        .filter(api_keys::id.eq_any(&ids))
        .order((api_keys::expires_at.asc(), api_keys::id.asc()))
        .select(Row::as_select())
        .load_all(tx)?;
    let due = rows.into_iter().filter_map(|row| due_notification(row, now)).collect::<Vec<_>>();
    for (_, days) in NOTIFICATION_SCHEDULE {
        let notified: Vec<_> = due.iter().filter(|one| one.days == days).map(|one| &one.key).collect();
        if !notified.is_empty() {
            diesel::update(api_keys::table.filter(api_keys::id.eq_any(notified)))
                .set(api_keys::notified_days.eq(Some(days)))
                .execute_in(tx)?;
        }
    }
    Ok(due)
}

/// Resets the notifications of a key whose expiration was changed. Notifications whose time has
/// already passed are skipped.
pub fn reset(tx: &mut Tx<'_>, key: &KeyId, end: Option<Timestamp>) -> Result<(), StoreError> {
    let now = tx.now();
    diesel::update(api_keys::table.find(key))
        .set(api_keys::notified_days.eq(end.and_then(|end| expiry_notification::due_notification_days(end, now))))
        .execute_in(tx)
}

/// Runs one query for each value of the last notification. The index contains both columns, so each
/// query reads only rows that are due.
fn find_due(connection: &mut Conn, now: Timestamp, most: i64) -> Result<Vec<KeyId>, StoreError> {
    let mut found = Vec::new();
    for (last, days) in NOTIFICATION_SCHEDULE {
        let query = api_keys::table
            .filter(api_keys::revoked_at.is_null())
            .filter(api_keys::expires_at.le(expiry_notification::notification_horizon(days, now)))
            .order(api_keys::expires_at.asc())
            .limit(most.saturating_sub(i64::try_from(found.len()).unwrap_or(i64::MAX)))
            .select(api_keys::id)
            .into_boxed();
        let query = match last {
            None => query.filter(api_keys::notified_days.is_null()),
            Some(last) => query.filter(api_keys::notified_days.eq(last)),
        };
        found.extend(query.load::<KeyId>(connection)?);
    }
    Ok(found)
}

fn due_notification(row: Row, now: Timestamp) -> Option<DueNotification> {
    let ends_at = row.expires_at.filter(|_| row.revoked_at.is_none())?;
    let days = expiry_notification::due_notification_days(ends_at, now)?;
    let is_due = row.notified_days.is_none_or(|last| last > days);
    is_due.then_some(DueNotification { key: row.id, organization: row.organization_id, ends_at, days })
}
