//! The audit trail. Lines are added by `change` alone, and never altered.

use std::collections::BTreeSet;

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable, SelectableHelper};

use crate::domain::{
    event::{ActorRef, Event, EventFilter, EventKind},
    page::Page,
    time::Timestamp,
};

use super::{
    api_keys::parsed,
    change::Tx,
    connection::Conn,
    error::StoreError,
    schema::{event_head, events},
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = events)]
struct Row {
    seq: i64,
    id: String,
    kind: String,
    at: i64,
    actor: String,
    on_behalf_of: Option<String>,
    subject: String,
    organization_id: Option<String>,
    cause: Option<String>,
    request_id: Option<String>,
    address: Option<String>,
    data: String,
    prev_hash: String,
}

pub(super) fn insert(tx: &mut Tx<'_>, event: &Event) -> Result<(), StoreError> {
    let data = serde_json::to_string(&event.data).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    diesel::insert_into(events::table)
        .values((
            events::seq.eq(event.seq),
            events::id.eq(event.id.as_str()),
            events::kind.eq(event.kind.as_str()),
            events::at.eq(event.at.millis()),
            events::actor.eq(event.actor.to_stored()),
            events::on_behalf_of.eq(event.on_behalf_of.clone()),
            events::subject.eq(event.subject.to_stored()),
            events::organization_id.eq(event.organization_id.clone()),
            events::cause.eq(event.cause.clone()),
            events::request_id.eq(event.request_id.clone()),
            events::address.eq(event.address.clone()),
            events::data.eq(data),
            events::prev_hash.eq(event.prev_hash.as_str()),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// The number and the hash of the last event.
///
/// # Errors
/// The database does not answer.
pub fn head(connection: &mut Conn) -> Result<(i64, String), StoreError> {
    Ok(event_head::table.find(1).select((event_head::seq, event_head::hash)).first(connection)?)
}

/// The events after number `after`, oldest first. `next` is the number of the last one shown.
///
/// # Errors
/// The database does not answer, or holds what it should not.
pub fn list(connection: &mut Conn, filter: &EventFilter, after: i64, limit: i64) -> Result<Page<Event>, StoreError> {
    let mut query = events::table.filter(events::seq.gt(after)).select(Row::as_select()).into_boxed();
    if !filter.kinds.is_empty() {
        query = query.filter(events::kind.eq_any(filter.kinds.clone()));
    }
    if let Some(actor) = &filter.actor {
        query = query.filter(events::actor.eq_any(stored_forms(actor)));
    }
    if let Some(subject) = &filter.subject {
        query = query.filter(events::subject.eq_any(stored_forms(subject)));
    }
    if let Some(organization) = &filter.organization {
        query = query.filter(events::organization_id.eq(organization.clone()));
    }
    let rows: Vec<Row> = query.order(events::seq.asc()).limit(limit + 1).load(connection)?;
    let found = rows.into_iter().map(event).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::from_rows(found, limit, |event| event.seq.to_string()))
}

/// One event, by its number.
///
/// # Errors
/// The database does not answer, or holds what it should not.
pub fn find(connection: &mut Conn, seq: i64) -> Result<Option<Event>, StoreError> {
    let row: Option<Row> = events::table.find(seq).select(Row::as_select()).first(connection).optional()?;
    row.map(event).transpose()
}

/// What may stand in the column for what was asked for: an id alone is looked for under every type, and by its index.
fn stored_forms(asked: &str) -> Vec<String> {
    let kinds: BTreeSet<_> = EventKind::ALL.iter().map(|kind| kind.subject_kind()).collect();
    kinds.into_iter().map(|kind| format!("{kind}:{asked}")).chain([asked.to_owned()]).collect()
}

fn event(row: Row) -> Result<Event, StoreError> {
    Ok(Event {
        id: parsed("event id", &row.id)?,
        seq: row.seq,
        kind: row.kind,
        at: Timestamp::from_millis(row.at),
        actor: ActorRef::from_stored(&row.actor),
        on_behalf_of: row.on_behalf_of,
        subject: ActorRef::from_stored(&row.subject),
        organization_id: row.organization_id,
        cause: row.cause,
        request_id: row.request_id,
        address: row.address,
        data: serde_json::from_str(&row.data).map_err(|error| StoreError::Corrupt(format!("event data: {error}")))?,
        prev_hash: row.prev_hash,
    })
}
