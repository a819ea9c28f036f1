//! The versions of authenticated rows, which their events record: an older row that is put back is
//! authentic, but not the newest one.

use std::collections::BTreeMap;

use crate::{
    domain::events::{Event, EventType, NewEvent},
    store::{prelude::*, schema::events},
};

/// The events that record the version of their object, each of them always: an event without it
/// would hide the versions of earlier ones.
const VERSIONED_KINDS: [EventType; 16] = [
    EventType::ApiKeyCreated,
    EventType::ApiKeyUpdated,
    EventType::ApiKeyRotated,
    EventType::ApiKeyRotationCancelled,
    EventType::ApiKeySuspended,
    EventType::ApiKeyResumed,
    EventType::ApiKeyRevoked,
    EventType::ApiKeyDeleted,
    EventType::AudienceCreated,
    EventType::AudienceUpdated,
    EventType::AudienceDeleted,
    EventType::AccessRecordCreated,
    EventType::AccessRecordUpdated,
    EventType::AccessRecordDeleted,
    EventType::PortalSessionCreated,
    EventType::PortalSessionEnded,
];

/// Adds the versions to the events of a change.
pub(crate) fn record_versions(versions: &BTreeMap<String, i64>, events: &mut [NewEvent]) {
    for event in events {
        let version = versions.get(&format!("{}:{}", event.kind.subject_type(), event.subject_id));
        debug_assert!(version.is_some() || !VERSIONED_KINDS.contains(&event.kind), "{event:?} records no version");
        if let Some(version) = version {
            event.data.insert("version".to_owned(), (*version).into());
        }
    }
}

/// Returns the version of the object in the last event of each subject that has one.
pub fn last_versions(connection: &mut Conn, subjects: &[String]) -> Result<BTreeMap<String, i64>, StoreError> {
    let last: Vec<Option<i64>> = events::table
        .filter(events::subject.eq_any(subjects))
        .filter(events::kind.eq_any(VERSIONED_KINDS.map(EventType::as_str)))
        .group_by(events::subject)
        .select(diesel::dsl::max(events::seq))
        .load_all(connection)?;
    let last: Vec<i64> = last.into_iter().flatten().collect();
    let found: Vec<Event> =
        events::table.filter(events::seq.eq_any(last)).select(Event::as_select()).load_all(connection)?;
    let version = |event: Event| Some((event.subject.to_stored(), event.data.get("version")?.as_i64()?));
    Ok(found.into_iter().filter_map(version).collect())
}

/// Returns `StoreError::OlderVersion` if the last event of `subject` records a later version than
/// `version`, that of the row `id` of `table`.
pub(crate) fn require_newest_version(
    connection: &mut Conn,
    table: &'static str,
    id: &str,
    subject: String,
    version: i64,
) -> Result<(), StoreError> {
    match last_versions(connection, &[subject])?.values().next() {
        Some(recorded) if version < *recorded => Err(StoreError::OlderVersion { table, id: id.to_owned() }),
        Some(_) | None => Ok(()),
    }
}
