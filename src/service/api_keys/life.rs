//! The life of a key by hand: suspended, resumed, revoked, deleted.

use crate::{
    domain::{event::EventKind, id::KeyId, policy::Rights},
    service::{App, Error, administrators, caller::Caller, version::require_version},
    store::{self, Outcome},
};

use super::{Shown, found, is_gone, key_event, limits::require_held, refuse_revoked, save};

/// The ways in which a key's life changes by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Suspend,
    Resume,
    Revoke,
    /// Revoke, and take it out of sight.
    Delete,
}

/// Takes a step in a key's life. When this has returned, no exchange that begins later sees the state before (design rule 2).
/// A step that is taken already changes nothing.
///
/// # Errors
/// No such key, or a revoked one that should be suspended or resumed.
pub async fn step(app: &App, caller: &Caller, id: KeyId, step: Step, if_version: Option<i64>) -> Result<Shown, Error> {
    let settings = app.settings.clone();
    let caller = caller.clone();
    app.store
        .change(caller.origin.clone(), move |tx| {
            let right = if step == Step::Resume { |rights: Rights| rights.change } else { |rights: Rights| rights.end };
            let mut key = found(tx, &caller, &id, right)?;
            require_version(key.version, if_version)?;
            let whole = key.clone();
            let before = key.life;
            let now = Some(tx.now());
            // A key that went with its owner is revoked, and an event has said so.
            let is_told = is_gone(&key, &settings) && store::departures::is_told(tx, &id)?;
            let kind = match step {
                Step::Suspend => {
                    refuse_revoked(&key, &settings)?;
                    key.life.suspended_at = before.suspended_at.or(now);
                    EventKind::ApiKeySuspended
                }
                Step::Resume => {
                    refuse_revoked(&key, &settings)?;
                    require_held(&key, &caller.holdings)?;
                    key.life.suspended_at = None;
                    EventKind::ApiKeyResumed
                }
                Step::Revoke if is_told => return Ok(Outcome::bookkeeping(Shown::new(key, tx.now(), &settings))),
                Step::Revoke => {
                    key.life.revoked_at = before.revoked_at.or(now);
                    EventKind::ApiKeyRevoked
                }
                Step::Delete => {
                    key.life.revoked_at = before.revoked_at.or(now);
                    key.archived_at = now;
                    EventKind::ApiKeyDeleted
                }
            };
            if key.life == before && step != Step::Delete {
                return Ok(Outcome::bookkeeping(Shown::new(key, tx.now(), &settings)));
            }
            save(tx, &mut key)?;
            administrators::require_one(tx, &whole, &settings)?;
            let event = key_event(kind, &key);
            // A deleted key is a revoked one: whoever watches for revocations must see it.
            let revoked = step == Step::Delete && before.revoked_at.is_none() && !is_told;
            let first = revoked.then(|| key_event(EventKind::ApiKeyRevoked, &key));
            Ok(Outcome::events(Shown::new(key, tx.now(), &settings), first.into_iter().chain([event]).collect()))
        })
        .await
}
