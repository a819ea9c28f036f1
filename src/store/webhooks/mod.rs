//! Webhooks and their event cursors.

pub mod deliveries;

use crate::{
    domain::{
        common::{
            id::WebhookId,
            page::{Page, PageRequest},
            time::Timestamp,
        },
        webhooks::{DisableReason, Webhook, WebhookState},
    },
    store::{
        prelude::*,
        schema::{webhook_deliveries, webhooks},
    },
};

/// An encrypted secret, and the version of the master key that encrypts it.
pub type EncryptedSecret = (Vec<u8>, i32);

selectable!(webhooks => Webhook {
    id, url, description, event_types, organization = organization_id, state = disabled, previous_secret_expires_at,
    paused_until, event_cursor, created_at, created_by, version,
});

pub fn insert(tx: &mut Tx<'_>, webhook: &Webhook, secret: &EncryptedSecret) -> Result<(), StoreError> {
    diesel::insert_into(webhooks::table)
        .values(values!(webhooks, webhook =>
            id, url, description, event_types, organization_id = &webhook.organization,
            disabled = disable_reason(webhook.state), encrypted_secret = secret.0.as_slice(),
            master_version = secret.1, event_cursor, created_at, created_by, version,
        ))
        .execute_in(tx)
}

pub fn update(tx: &mut Tx<'_>, webhook: &Webhook) -> Result<(), StoreError> {
    diesel::update(webhooks::table.find(&webhook.id))
        .set(values!(webhooks, webhook =>
            url, description, event_types, organization_id = &webhook.organization,
            disabled = disable_reason(webhook.state), paused_until, version = webhooks::version + 1,
        ))
        .execute_in(tx)
}

/// Replaces the secret. The previous secret also signs until `previous_expires_at`, or is deleted
/// if that is `None`.
pub fn rotate(
    tx: &mut Tx<'_>,
    id: &WebhookId,
    secret: &EncryptedSecret,
    previous_expires_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let (old, _) = read_secrets(tx, id)?;
    let kept = previous_expires_at.map(|_| old);
    diesel::update(webhooks::table.find(id))
        .set((
            webhooks::encrypted_secret.eq(secret.0.as_slice()),
            webhooks::master_version.eq(secret.1),
            webhooks::previous_encrypted_secret.eq(kept.as_ref().map(|(bytes, _)| bytes.clone())),
            webhooks::previous_master_version.eq(kept.as_ref().map(|(_, version)| *version)),
            webhooks::previous_secret_expires_at.eq(previous_expires_at),
            webhooks::version.eq(webhooks::version + 1),
        ))
        .execute_in(tx)
}

/// Returns the secret, and the previous one until it is deleted. Returns `Corrupt` if the webhook
/// does not exist.
pub fn read_secrets(
    connection: &mut Conn,
    id: &WebhookId,
) -> Result<(EncryptedSecret, Option<EncryptedSecret>), StoreError> {
    type Columns = (Vec<u8>, i32, Option<Vec<u8>>, Option<i32>);
    let row: Option<Columns> = webhooks::table
        .find(id)
        .select((
            webhooks::encrypted_secret,
            webhooks::master_version,
            webhooks::previous_encrypted_secret,
            webhooks::previous_master_version,
        ))
        .load_first(connection)?;
    let (encrypted, version, old, old_version) =
        row.ok_or_else(|| StoreError::invalid_data(format!("no webhook {id} where there was one")))?;
    Ok(((encrypted, version), old.zip(old_version)))
}

/// Deletes previous secrets whose overlap has ended.
pub fn delete_expired_secrets(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let now = tx.now();
    diesel::update(webhooks::table.filter(webhooks::previous_secret_expires_at.le(now)))
        .set((
            webhooks::previous_encrypted_secret.eq(None::<Vec<u8>>),
            webhooks::previous_master_version.eq(None::<i32>),
            webhooks::previous_secret_expires_at.eq(None::<Timestamp>),
        ))
        .execute_in(tx)
}

/// Deletes a webhook and all of its deliveries.
pub fn delete(tx: &mut Tx<'_>, id: &WebhookId) -> Result<(), StoreError> {
    diesel::delete(webhook_deliveries::table.filter(webhook_deliveries::webhook_id.eq(id))).execute_in(tx)?;
    diesel::delete(webhooks::table.find(id)).execute_in(tx)
}

pub fn find(connection: &mut Conn, id: &WebhookId) -> Result<Option<Webhook>, StoreError> {
    webhooks::table.find(id).select(Webhook::as_select()).load_first(connection)
}

/// Like `find`, but locks the webhook until the end of the change.
pub fn find_for_change(tx: &mut Tx<'_>, id: &WebhookId) -> Result<Option<Webhook>, StoreError> {
    lock_row!(tx, webhooks, id);
    find(tx, id)
}

pub fn list(connection: &mut Conn, page: &PageRequest) -> Result<Page<Webhook>, StoreError> {
    let query = webhooks::table.select(Webhook::as_select()).into_boxed();
    load_page!(connection, query, page, webhooks::id, lt, desc, |webhook: &Webhook| webhook.id.to_string())
}

pub fn count(connection: &mut Conn) -> Result<i64, StoreError> {
    webhooks::table.count().load_one(connection)
}

/// Returns the enabled webhooks whose event cursor is before the event number `last`, the furthest
/// behind first.
pub fn list_behind_event(connection: &mut Conn, last: i64) -> Result<Vec<WebhookId>, StoreError> {
    webhooks::table
        .filter(webhooks::disabled.is_null().and(webhooks::event_cursor.lt(last)))
        .order((webhooks::event_cursor.asc(), webhooks::id.asc()))
        .select(webhooks::id)
        .load_all(connection)
}

/// Sets the event cursor: all events up to number `event_cursor` are processed.
pub fn set_event_cursor(tx: &mut Tx<'_>, id: &WebhookId, event_cursor: i64) -> Result<(), StoreError> {
    diesel::update(webhooks::table.find(id)).set(webhooks::event_cursor.eq(event_cursor)).execute_in(tx)
}

/// Suspends deliveries to the webhook until `until`.
pub fn pause_deliveries(tx: &mut Tx<'_>, id: &WebhookId, until: Timestamp) -> Result<(), StoreError> {
    diesel::update(webhooks::table.find(id)).set(webhooks::paused_until.eq(Some(until))).execute_in(tx)
}

fn disable_reason(state: WebhookState) -> Option<DisableReason> {
    match state {
        WebhookState::Enabled => None,
        WebhookState::Disabled(reason) => Some(reason),
    }
}
