//! Objects with a version that are created, replaced and patched: one shape for the directory, the
//! catalog of permissions, roles, service clients and access records.

use crate::{
    domain::{
        common::{
            json::{Metadata, MetadataPatch},
            preconditions::{Preconditions, StoredObject},
        },
        events::NewEvent,
    },
    service::{Conflict, Error},
    store::{NoEvent, Outcome, StoreError, Tx},
};

/// An object of which each change increments the version and appends one event.
pub(crate) trait Entry: Clone + PartialEq {
    /// The name of its kind, for `Error::NotFound`.
    const KIND: &'static str;

    /// The event of its creation, or of the change from `before`.
    fn event(&self, before: Option<&Self>) -> NewEvent;
    fn version_mut(&mut self) -> &mut i64;
    fn insert(&self, tx: &mut Tx<'_>) -> Result<(), StoreError>;
    fn update(&self, tx: &mut Tx<'_>) -> Result<(), StoreError>;
}

/// Implements `Entry` with the functions of a module of the store, and an expression for the event.
macro_rules! entry {
    ($type:ident, $kind:literal, $($store:ident)::+, |$entry:ident, $before:ident| $event:expr) => {
        impl crate::service::common::entry::Entry for $type {
            const KIND: &'static str = $kind;

            fn event(&self, $before: Option<&Self>) -> NewEvent {
                let $entry = self;
                $event
            }

            fn version_mut(&mut self) -> &mut i64 {
                &mut self.version
            }

            fn insert(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
                $($store)::+::insert(tx, self)
            }

            fn update(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
                $($store)::+::update(tx, self)
            }
        }
    };
}
pub(crate) use entry;

/// Returns the entry if it exists.
pub(crate) fn require_found<T: Entry>(found: Option<T>) -> Result<T, Error> {
    found.ok_or(Error::NotFound(T::KIND))
}

/// Returns the locked entry if it exists and meets the preconditions of the request.
pub(crate) fn require_existing<T: Entry>(found: Option<T>, preconditions: &Preconditions) -> Result<T, Error> {
    let mut found = require_found(found)?;
    preconditions.check(StoredObject::Version(*found.version_mut()))?;
    Ok(found)
}

/// Returns metadata after a PATCH.
pub(crate) fn merge_metadata(field: &str, patch: Option<MetadataPatch>, before: &Metadata) -> Result<Metadata, Error> {
    let Some(patch) = patch else { return Ok(before.clone()) };
    patch.apply(before).map_err(|error| Error::invalid(field, error.to_string()))
}

/// The result of writing an entry, with its event.
#[derive(Debug)]
pub(crate) enum WriteResult<T> {
    Unchanged(T),
    Updated(T, NewEvent),
    Created(T, NewEvent),
}

impl<T: Entry> WriteResult<T> {
    /// The effect of writing `after` in place of `before`. An entry that equals the previous one
    /// changes nothing.
    pub(crate) fn of(before: Option<&T>, mut after: T) -> Self {
        if before == Some(&after) {
            return Self::Unchanged(after);
        }
        let event = after.event(before);
        if before.is_none() {
            return Self::Created(after, event);
        }
        *after.version_mut() += 1;
        Self::Updated(after, event)
    }

    /// Replaces the event, if there is one.
    pub(crate) fn map_event(self, map: impl FnOnce(NewEvent) -> NewEvent) -> Self {
        match self {
            Self::Unchanged(entry) => Self::Unchanged(entry),
            Self::Updated(entry, event) => Self::Updated(entry, map(event)),
            Self::Created(entry, event) => Self::Created(entry, map(event)),
        }
    }

    /// Writes the entry. The loser of two concurrent creations gets
    /// `Conflict::ChangedConcurrently`.
    pub(crate) fn write(self, tx: &mut Tx<'_>) -> Result<Self, Error> {
        match &self {
            Self::Unchanged(_) => {}
            Self::Updated(entry, _) => entry.update(tx)?,
            Self::Created(entry, event) => match entry.insert(tx) {
                Err(StoreError::Conflict(_)) => {
                    let object = format!("{} {}", T::KIND, event.subject_id);
                    return Err(Conflict::ChangedConcurrently(object).into());
                }
                written => written?,
            },
        }
        Ok(self)
    }

    /// Writes the entry, as the outcome of a transaction.
    pub(crate) fn write_outcome(self, tx: &mut Tx<'_>) -> Result<Outcome<T>, Error> {
        Ok(Outcome::from(self.write(tx)?).map(|(entry, _)| entry))
    }

    /// The entry, whether it is new, and its event if anything changed.
    pub(crate) fn into_parts(self) -> (T, bool, Option<NewEvent>) {
        match self {
            Self::Unchanged(entry) => (entry, false, None),
            Self::Updated(entry, event) => (entry, false, Some(event)),
            Self::Created(entry, event) => (entry, true, Some(event)),
        }
    }
}

impl<T: Entry> From<WriteResult<T>> for Outcome<(T, bool)> {
    fn from(effect: WriteResult<T>) -> Self {
        let (entry, is_new, event) = effect.into_parts();
        Self::events_unless(NoEvent::Unchanged, (entry, is_new), event.into_iter().collect())
    }
}
