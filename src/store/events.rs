//! The audit log. Events are appended by `change` only and are never modified.

use std::collections::BTreeSet;

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable, SelectableHelper};
use serde::Serialize;

use crate::{
    domain::{
        common::{page::Page, time::Timestamp},
        events::{ActorRef, Event, EventFilter, EventOrder, EventType},
    },
    store::{
        columns::parsed,
        dialect::bulk::{self, BulkTable},
        error::StoreError,
        pool::Conn,
        schema::{event_chain_head, events},
        transaction::Tx,
    },
};

#[derive(Queryable, Selectable, Serialize)]
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

/// Fewer events than this are inserted one by one, because a prepared statement for one row costs
/// less than one statement for all rows.
const BULK_INSERT_THRESHOLD: usize = 16;
/// The maximum number of events in one statement.
const MAX_BULK_INSERT: usize = 1000;

const BULK_TABLE: BulkTable = BulkTable {
    table: "events",
    columns: &[
        ("seq", "BIGINT"),
        ("id", "TEXT"),
        ("kind", "TEXT"),
        ("at", "BIGINT"),
        ("actor", "TEXT"),
        ("on_behalf_of", "TEXT"),
        ("subject", "TEXT"),
        ("organization_id", "TEXT"),
        ("cause", "TEXT"),
        ("request_id", "TEXT"),
        ("address", "TEXT"),
        ("data", "TEXT"),
        ("prev_hash", "TEXT"),
    ],
    key: 1,
    on_conflict: "",
};

pub(super) fn insert(tx: &mut Tx<'_>, events: &[Event]) -> Result<(), StoreError> {
    if events.len() < BULK_INSERT_THRESHOLD {
        return events.iter().try_for_each(|event| insert_one(tx, row(event)?));
    }
    for some in events.chunks(MAX_BULK_INSERT) {
        let rows = some.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        bulk::upsert_rows(tx, &BULK_TABLE, &rows)?;
    }
    Ok(())
}

fn insert_one(tx: &mut Tx<'_>, row: Row) -> Result<(), StoreError> {
    diesel::insert_into(events::table)
        .values((
            events::seq.eq(row.seq),
            events::id.eq(row.id),
            events::kind.eq(row.kind),
            events::at.eq(row.at),
            events::actor.eq(row.actor),
            events::on_behalf_of.eq(row.on_behalf_of),
            events::subject.eq(row.subject),
            events::organization_id.eq(row.organization_id),
            events::cause.eq(row.cause),
            events::request_id.eq(row.request_id),
            events::address.eq(row.address),
            events::data.eq(row.data),
            events::prev_hash.eq(row.prev_hash),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

fn row(event: &Event) -> Result<Row, StoreError> {
    Ok(Row {
        seq: event.seq,
        id: event.id.to_string(),
        kind: event.kind.clone(),
        at: event.at.millis(),
        actor: event.actor.to_stored(),
        on_behalf_of: event.on_behalf_of.clone(),
        subject: event.subject.to_stored(),
        organization_id: event.organization_id.clone(),
        cause: event.cause.clone(),
        request_id: event.request_id.clone(),
        address: event.address.clone(),
        data: serde_json::to_string(&event.data).map_err(|error| StoreError::InvalidData(error.to_string()))?,
        prev_hash: event.prev_hash.clone(),
    })
}

/// Returns the chain head: the number and the hash of the last event.
pub fn read_chain_head(connection: &mut Conn) -> Result<(i64, String), StoreError> {
    Ok(event_chain_head::table.find(1).select((event_chain_head::seq, event_chain_head::hash)).first(connection)?)
}

/// Returns the events that follow number `after` in the order of `filter`. `next` is the number of
/// the last event of the page.
pub fn list(
    connection: &mut Conn,
    filter: &EventFilter,
    after: Option<i64>,
    limit: i64,
) -> Result<Page<Event>, StoreError> {
    let query = events::table.select(Row::as_select()).into_boxed();
    let mut query = match filter.order {
        EventOrder::OldestFirst => query.filter(events::seq.gt(after.unwrap_or(0))).order(events::seq.asc()),
        EventOrder::NewestFirst => query.filter(events::seq.lt(after.unwrap_or(i64::MAX))).order(events::seq.desc()),
    };
    if !filter.event_types.is_empty() {
        query = query.filter(events::kind.eq_any(filter.event_types.clone()));
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
    let rows: Vec<Row> = query.limit(limit + 1).load(connection)?;
    let found = rows.into_iter().map(event).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::from_rows(found, limit, |event| event.seq.to_string()))
}

/// Finds an event by its number.
pub fn find(connection: &mut Conn, seq: i64) -> Result<Option<Event>, StoreError> {
    let row: Option<Row> = events::table.find(seq).select(Row::as_select()).first(connection).optional()?;
    row.map(event).transpose()
}

/// The values of the column that match a filter. A bare id is searched under every type, so that
/// the index can be used.
fn column_values_of_filter(asked: &str) -> Vec<String> {
    let kinds: BTreeSet<_> = EventType::ALL.iter().map(|kind| kind.subject_type()).collect();
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
        data: serde_json::from_str(&row.data)
            .map_err(|error| StoreError::InvalidData(format!("event data: {error}")))?,
        prev_hash: row.prev_hash,
    })
}
