//! The audit log. Events are appended by `change` only and are never modified.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::{
    domain::{
        common::page::Page,
        event_filter::{EventFilter, EventOrder},
        events::{Event, EventType},
    },
    store::{
        column_types::Json,
        dialect::bulk::{self, BulkTable},
        prelude::*,
        schema::{event_chain_head, events},
    },
};

selectable!(events => Event {
    id, seq, kind, at, actor, on_behalf_of, subject, organization_id, cause, request_id, address,
    data as Json<Map<String, Value>>, prev_hash,
});

/// Fewer events than this are inserted one by one, because a prepared statement for one row costs
/// less than one statement for all rows.
const BULK_INSERT_THRESHOLD: usize = 16;
/// The maximum number of events in one statement.
const MAX_BULK_INSERT: usize = 1000;

const BULK_TABLE: BulkTable = BulkTable {
    table: "events",
    read_from: "events",
    columns: &[
        "seq",
        "id",
        "kind",
        "at",
        "actor",
        "on_behalf_of",
        "subject",
        "organization_id",
        "cause",
        "request_id",
        "address",
        "data",
        "prev_hash",
    ],
    key: 1,
    on_conflict: "",
};

pub(super) fn insert(tx: &mut Tx<'_>, events: &[Event]) -> Result<(), StoreError> {
    if events.len() < BULK_INSERT_THRESHOLD {
        return events.iter().try_for_each(|event| insert_one(tx, event));
    }
    for some in events.chunks(MAX_BULK_INSERT) {
        let rows: Vec<_> = some.iter().map(bulk_row).collect();
        bulk::upsert_rows(tx, &BULK_TABLE, &rows)?;
    }
    Ok(())
}

fn insert_one(tx: &mut Tx<'_>, event: &Event) -> Result<(), StoreError> {
    diesel::insert_into(events::table)
        .values(values!(events, event =>
            seq, id, kind, at, actor, on_behalf_of, subject, organization_id, cause, request_id, address,
            data = Value::Object(event.data.clone()).to_string(), prev_hash,
        ))
        .execute_in(tx)
}

fn bulk_row(event: &Event) -> Value {
    json!({
        "seq": event.seq,
        "id": event.id,
        "kind": event.kind,
        "at": event.at.millis(),
        "actor": event.actor.to_stored(),
        "on_behalf_of": event.on_behalf_of,
        "subject": event.subject.to_stored(),
        "organization_id": event.organization_id,
        "cause": event.cause,
        "request_id": event.request_id,
        "address": event.address,
        "data": Value::Object(event.data.clone()).to_string(),
        "prev_hash": event.prev_hash,
    })
}

/// Returns the chain head: the number and the hash of the last event.
pub fn read_chain_head(connection: &mut Conn) -> Result<(i64, String), StoreError> {
    event_chain_head::table.find(1).select((event_chain_head::seq, event_chain_head::hash)).load_one(connection)
}

/// Returns the events that follow number `after` in the order of `filter`. `next` is the number of
/// the last event of the page.
pub fn list(
    connection: &mut Conn,
    filter: &EventFilter,
    after: Option<i64>,
    limit: i64,
) -> Result<Page<Event>, StoreError> {
    let query = events::table.select(Event::as_select()).into_boxed();
    let mut query = match filter.order {
        EventOrder::OldestFirst => query.filter(events::seq.gt(after.unwrap_or(0))).order(events::seq.asc()),
        EventOrder::NewestFirst => query.filter(events::seq.lt(after.unwrap_or(i64::MAX))).order(events::seq.desc()),
    };
    if !filter.event_types.is_empty() {
        query = query.filter(events::kind.eq_any(filter.event_types.iter().map(|kind| kind.as_str())));
    }
    if let Some(actor) = &filter.actor {
        query = query.filter(events::actor.eq_any(column_values_of_filter(actor)));
    }
    if let Some(subject) = &filter.subject {
        query = query.filter(events::subject.eq_any(column_values_of_filter(subject)));
    }
    if let Some(organization) = &filter.organization {
        query = query.filter(events::organization_id.eq(organization.clone()));
    }
    let found = query.limit(limit + 1).load_all(connection)?;
    Ok(Page::from_rows(found, limit, |event: &Event| event.seq.to_string()))
}

/// Finds an event by its number.
pub fn find(connection: &mut Conn, seq: i64) -> Result<Option<Event>, StoreError> {
    events::table.find(seq).select(Event::as_select()).load_first(connection)
}

/// The values of the column that match a filter. A bare id is searched under every type, so that
/// the index can be used.
fn column_values_of_filter(asked: &str) -> Vec<String> {
    let kinds: BTreeSet<_> = EventType::ALL.iter().map(|kind| kind.subject_type()).collect();
    kinds.into_iter().map(|kind| format!("{kind}:{asked}")).chain([asked.to_owned()]).collect()
}
