//! Webhooks and their event cursors.

pub mod deliveries;

use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable,
    SelectableHelper,
};

use crate::{
    domain::{
        common::{
            id::{OrganizationId, WebhookId},
            page::{Page, PageRequest},
            time::Timestamp,
        },
        events::ActorRef,
        webhooks::{DisableReason, EventTypeFilter, Webhook, WebhookState},
    },
    store::{
        columns::parsed,
        error::StoreError,
        pool::Conn,
        schema::{webhook_deliveries, webhooks},
        transaction::Tx,
    },
};

/// An encrypted secret, and the version of the master key that encrypts it.
pub type EncryptedSecret = (Vec<u8>, i32);

#[derive(Queryable, Selectable)]
#[diesel(table_name = webhooks)]
struct Row {
    id: String,
    url: String,
    description: Option<String>,
    event_types: Option<String>,
    organization_id: Option<String>,
    disabled: Option<String>,
    previous_secret_expires_at: Option<i64>,
    paused_until: Option<i64>,
    event_cursor: i64,
    created_at: i64,
    created_by: String,
    version: i64,
}

pub fn insert(tx: &mut Tx<'_>, webhook: &Webhook, secret: &EncryptedSecret) -> Result<(), StoreError> {
    diesel::insert_into(webhooks::table)
        .values((
            webhooks::id.eq(webhook.id.as_str()),
            webhooks::url.eq(webhook.url.as_str()),
            webhooks::description.eq(webhook.description.as_ref().map(ToString::to_string)),
            webhooks::event_types.eq(webhook.event_types.as_ref().map(EventTypeFilter::to_stored)),
            webhooks::organization_id.eq(webhook.organization.as_ref().map(ToString::to_string)),
            webhooks::disabled.eq(disabled_column(webhook.state)),
            webhooks::encrypted_secret.eq(secret.0.as_slice()),
            webhooks::master_version.eq(secret.1),
            webhooks::event_cursor.eq(webhook.event_cursor),
            webhooks::created_at.eq(webhook.created_at.millis()),
            webhooks::created_by.eq(webhook.created_by.to_stored()),
            webhooks::version.eq(webhook.version),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn update(tx: &mut Tx<'_>, webhook: &Webhook) -> Result<(), StoreError> {
    diesel::update(webhooks::table.find(webhook.id.as_str()))
        .set((
            webhooks::url.eq(webhook.url.as_str()),
            webhooks::description.eq(webhook.description.as_ref().map(ToString::to_string)),
            webhooks::event_types.eq(webhook.event_types.as_ref().map(EventTypeFilter::to_stored)),
            webhooks::organization_id.eq(webhook.organization.as_ref().map(ToString::to_string)),
            webhooks::disabled.eq(disabled_column(webhook.state)),
            webhooks::paused_until.eq(webhook.paused_until.map(Timestamp::millis)),
            webhooks::version.eq(webhooks::version + 1),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// Replaces the secret. The previous secret also signs until `previous_expires_at`, or is deleted if that is
/// `None`.
pub fn rotate(
    tx: &mut Tx<'_>,
    id: &WebhookId,
    secret: &EncryptedSecret,
    previous_expires_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let (old, _) = read_secrets(tx, id)?;
    let kept = previous_expires_at.map(|_| old);
    diesel::update(webhooks::table.find(id.as_str()))
        .set((
            webhooks::encrypted_secret.eq(secret.0.as_slice()),
            webhooks::master_version.eq(secret.1),
            webhooks::previous_encrypted_secret.eq(kept.as_ref().map(|(bytes, _)| bytes.clone())),
            webhooks::previous_master_version.eq(kept.as_ref().map(|(_, version)| *version)),
            webhooks::previous_secret_expires_at.eq(previous_expires_at.map(Timestamp::millis)),
            webhooks::version.eq(webhooks::version + 1),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// Returns the secret, and the previous one until it is deleted. Returns `Corrupt` if the webhook
/// does not exist.
pub fn read_secrets(
    connection: &mut Conn,
    id: &WebhookId,
) -> Result<(EncryptedSecret, Option<EncryptedSecret>), StoreError> {
    type Columns = (Vec<u8>, i32, Option<Vec<u8>>, Option<i32>);
    let row: Option<Columns> = webhooks::table
        .find(id.as_str())
        .select((
            webhooks::encrypted_secret,
            webhooks::master_version,
            webhooks::previous_encrypted_secret,
            webhooks::previous_master_version,
        ))
        .first(connection)
        .optional()?;
    let (sealed, version, old, old_version) =
        row.ok_or_else(|| StoreError::InvalidData(format!("no webhook {id} where there was one")))?;
    Ok(((sealed, version), old.zip(old_version)))
}

/// Deletes previous secrets whose overlap has ended.
pub fn delete_expired_secrets(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let now = tx.now().millis();
    diesel::update(webhooks::table.filter(webhooks::previous_secret_expires_at.le(now)))
        .set((
            webhooks::previous_encrypted_secret.eq(None::<Vec<u8>>),
            webhooks::previous_master_version.eq(None::<i32>),
            webhooks::previous_secret_expires_at.eq(None::<i64>),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// Deletes a webhook and all of its deliveries.
pub fn delete(tx: &mut Tx<'_>, id: &WebhookId) -> Result<(), StoreError> {
    diesel::delete(webhook_deliveries::table.filter(webhook_deliveries::webhook_id.eq(id.as_str())))
        .execute(&mut **tx)?;
    diesel::delete(webhooks::table.find(id.as_str())).execute(&mut **tx)?;
    Ok(())
}

pub fn find(connection: &mut Conn, id: &WebhookId) -> Result<Option<Webhook>, StoreError> {
    let row: Option<Row> = webhooks::table.find(id.as_str()).select(Row::as_select()).first(connection).optional()?;
    row.map(webhook_from_row).transpose()
}

/// Like `find`, but locks the webhook until the end of the change.
pub fn find_for_change(tx: &mut Tx<'_>, id: &WebhookId) -> Result<Option<Webhook>, StoreError> {
    diesel::update(webhooks::table.find(id.as_str()))
        .set(webhooks::version.eq(webhooks::version))
        .execute(&mut **tx)?;
    find(tx, id)
}

pub fn list(connection: &mut Conn, page: &PageRequest) -> Result<Page<Webhook>, StoreError> {
    let mut query = webhooks::table.select(Row::as_select()).into_boxed();
    if let Some(after) = &page.cursor {
        query = query.filter(webhooks::id.lt(after.clone()));
    }
    let rows: Vec<Row> = query.order(webhooks::id.desc()).limit(page.limit + 1).load(connection)?;
    let found = rows.into_iter().map(webhook_from_row).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::from_rows(found, page.limit, |webhook| webhook.id.to_string()))
}

pub fn count(connection: &mut Conn) -> Result<i64, StoreError> {
    Ok(webhooks::table.count().get_result(connection)?)
}

/// Returns the enabled webhooks whose event cursor is before the event number `head`, the furthest
/// behind first.
pub fn list_behind_event(connection: &mut Conn, head: i64) -> Result<Vec<WebhookId>, StoreError> {
    let ids: Vec<String> = webhooks::table
        .filter(webhooks::disabled.is_null().and(webhooks::event_cursor.lt(head)))
        .order((webhooks::event_cursor.asc(), webhooks::id.asc()))
        .select(webhooks::id)
        .load(connection)?;
    ids.iter().map(|id| parsed("webhook id", id)).collect()
}

/// Sets the event cursor: all events up to number `event_cursor` are processed.
pub fn set_event_cursor(tx: &mut Tx<'_>, id: &WebhookId, event_cursor: i64) -> Result<(), StoreError> {
    diesel::update(webhooks::table.find(id.as_str()))
        .set(webhooks::event_cursor.eq(event_cursor))
        .execute(&mut **tx)?;
    Ok(())
}

/// Suspends deliveries to the webhook until `until`.
pub fn pause_deliveries(tx: &mut Tx<'_>, id: &WebhookId, until: Timestamp) -> Result<(), StoreError> {
    diesel::update(webhooks::table.find(id.as_str()))
        .set(webhooks::paused_until.eq(Some(until.millis())))
        .execute(&mut **tx)?;
    Ok(())
}

fn disabled_column(state: WebhookState) -> Option<&'static str> {
    match state {
        WebhookState::Enabled => None,
        WebhookState::Disabled(why) => Some(why.as_str()),
    }
}

fn webhook_from_row(row: Row) -> Result<Webhook, StoreError> {
    let state = match row.disabled.as_deref() {
        None => WebhookState::Enabled,
        Some(text) => {
            let why = DisableReason::ALL.into_iter().find(|why| why.as_str() == text);
            WebhookState::Disabled(
                why.ok_or_else(|| StoreError::InvalidData(format!("a webhook is disabled: {text}")))?,
            )
        }
    };
    let organization: Option<OrganizationId> =
        row.organization_id.as_deref().map(|text| parsed("organization", text)).transpose()?;
    let event_types = row.event_types.as_deref().map(EventTypeFilter::from_stored).transpose();
    Ok(Webhook {
        id: parsed("webhook id", &row.id)?,
        url: parsed("webhook url", &row.url)?,
        description: row.description.as_deref().map(|text| parsed("webhook description", text)).transpose()?,
        event_types: event_types.map_err(|error| StoreError::InvalidData(error.to_string()))?,
        organization,
        state,
        previous_secret_expires_at: row.previous_secret_expires_at.map(Timestamp::from_millis),
        paused_until: row.paused_until.map(Timestamp::from_millis),
        event_cursor: row.event_cursor,
        created_at: Timestamp::from_millis(row.created_at),
        created_by: ActorRef::from_stored(&row.created_by),
        version: row.version,
    })
}
