//! Ends portal sessions before they expire.

use std::{collections::BTreeMap, mem};

use crate::{
    domain::{
        access::{owner::OwnerScope, policy::SESSIONS},
        common::{
            derived_id::PortalSessionId,
            id::UserId,
            page::PageRequest,
            preconditions::{Preconditions, StoredObject},
        },
        events::{EventType, NewEvent},
        portal::session::{PortalSession, PortalSessionFilter},
    },
    service::{Error, Services, caller::Caller},
    store::{self, NoEvent, Outcome, StoreError, Tx, portal::sessions},
};

/// The sessions to end.
#[derive(Debug, Clone)]
pub enum EndedSessions {
    /// One session, and those that depend on it: its code, and the page session that the code
    /// opened.
    One(PortalSessionId),
    /// The sessions that match all filters, of which at least one is required.
    Matching(PortalSessionFilter),
}

/// Number of sessions that one transaction ends, and number of transactions of one request.
const BATCH_SIZE: i64 = 500;
const MAX_BATCHES: usize = 20;

/// Ends sessions, each with an event, and returns their number. No call that begins after the
/// function returns succeeds in one of them (invariant 2).
///
/// A session has no version. The preconditions are evaluated in the first transaction.
pub async fn end(
    services: &Services,
    caller: &Caller,
    which: EndedSessions,
    mut preconditions: Preconditions,
) -> Result<usize, Error> {
    if !caller.authority.may_manage_portal_sessions() {
        return Err(Error::Forbidden(SESSIONS));
    }
    if matches!(&which, EndedSessions::Matching(filter) if *filter == PortalSessionFilter::default()) {
        return Err(Error::invalid("user", "one of the filters user, organization and opened_by is required"));
    }
    let is_one = matches!(which, EndedSessions::One(_));
    let mut ended = 0;
    for _ in 0..MAX_BATCHES {
        let (which, preconditions) = (which.clone(), mem::take(&mut preconditions));
        let (found, deleted) = services
            .end_access(caller, move |tx, _| {
                let sessions = find_batch(tx, &which)?;
                if !(is_one && sessions.is_empty()) {
                    preconditions.check(StoredObject::Unversioned)?;
                }
                let events = sessions.iter().filter_map(|session| delete(tx, session).transpose());
                let events = events.collect::<Result<Vec<_>, _>>()?;
                Ok(Outcome::events_unless(NoEvent::Unchanged, (sessions.len(), events.len()), events))
            })
            .await?;
        ended += deleted;
        // A code that is exchanged at this moment is deleted by the other transaction. The next
        // batch finds the page session that replaces it, so the last batch must be empty.
        if found == 0 {
            break;
        }
    }
    if is_one && ended == 0 { Err(Error::NotFound("portal session")) } else { Ok(ended) }
}

fn find_batch(tx: &mut Tx<'_>, which: &EndedSessions) -> Result<Vec<PortalSession>, StoreError> {
    let now = tx.now();
    match which {
        EndedSessions::One(id) => sessions::find_with_children(tx, id, now),
        EndedSessions::Matching(filter) => {
            let page = PageRequest { limit: BATCH_SIZE, cursor: None };
            Ok(sessions::list(tx, filter, &page, now)?.data)
        }
    }
}

/// The cause in the events of sessions that were ended because the user has too many.
const LIMIT_CAUSE: &str = "limit_reached";

/// Maximum number of sessions that the opening of one ends. There are more than one only after the
/// limit was lowered.
const MAX_REPLACED: u32 = 20;

/// Ends the oldest sessions of a user in one tenant scope, so that one more can be opened within
/// the limit. The user is locked.
///
/// A product commonly opens a session for each view of a page, and the user cannot close them.
/// Refusing a further one would lock the user out until some expire, whereas the oldest of many is
/// most likely that of a page that was left. A page whose session ended asks its product for
/// another one.
pub(crate) fn end_oldest(tx: &mut Tx<'_>, owner_scope: &OwnerScope, limit: u32) -> Result<Vec<NewEvent>, StoreError> {
    let (Some(owner), 1..) = (owner_scope.generation_id(), limit) else { return Ok(Vec::new()) };
    let now = tx.now();
    let remaining = limit - 1;
    let newest = sessions::find_newest(tx, owner, i64::from(remaining) + i64::from(MAX_REPLACED), now)?;
    let oldest = newest.get(usize::try_from(remaining).unwrap_or(usize::MAX)..).unwrap_or_default();
    let mut events = Vec::new();
    // A code that is exchanged at this moment locks its session. Once the deletion of that session
    // has waited for it, the second search finds the page session that replaces the code.
    for _ in 0..2 {
        let mut found = BTreeMap::new();
        for id in oldest {
            let with_children = sessions::find_with_children(tx, id, now)?;
            found.extend(with_children.into_iter().map(|session| (session.id.clone(), session)));
        }
        // In the order of their ids, in which other changes lock sessions.
        for session in found.values() {
            events.extend(delete(tx, session)?);
        }
    }
    Ok(events.into_iter().map(|event| event.with_cause(LIMIT_CAUSE)).collect())
}

/// Deletes a session and returns its event, or `None` if it has already ended.
pub(crate) fn delete(tx: &mut Tx<'_>, session: &PortalSession) -> Result<Option<NewEvent>, StoreError> {
    let event = || {
        NewEvent::new(EventType::PortalSessionEnded, &session.id)
            .with_organization(session.owner_scope.organization())
            .with_data("user", session.owner_scope.user().map_or("", UserId::as_str))
            .with_data("kind", session.kind.as_str())
    };
    Ok(store::portal::sessions::delete(tx, &session.id)?.then(event))
}
