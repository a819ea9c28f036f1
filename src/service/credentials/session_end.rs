//! Ends portal sessions before they expire.

use std::mem;

use crate::{
    domain::{
        access::policy::SESSIONS,
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
            .change(caller, move |tx, _| {
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
