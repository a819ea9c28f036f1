//! Selections of the audit log.

use serde::Deserialize;

use crate::domain::events::EventType;

/// Direction in which the audit log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum EventOrder {
    /// From the beginning, and on to the events that are appended.
    #[default]
    #[serde(rename = "oldest")]
    OldestFirst,
    /// From the end to the beginning.
    #[serde(rename = "newest")]
    NewestFirst,
}

/// Selection of events of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    pub order: EventOrder,
    pub event_types: Vec<EventType>,
    /// An id, `type:id`, or the type of an actor without an id: `cli` or `system`.
    pub actor: Option<String>,
    pub subject: Option<String>,
    pub organization: Option<String>,
}
