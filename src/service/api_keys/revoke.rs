//! Revokes a key together with the keys that were created with it.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::policy::ObjectRight,
        common::{
            id::KeyId,
            preconditions::{Preconditions, StoredObject},
        },
        credentials::api_key::ApiKey,
    },
    service::{
        Conflict, Error, Services,
        access::{
            last_administrator,
            visibility::{OwnedObject, authorize, retain_visible},
        },
        api_keys::{
            lifecycle::{self, KeyTransition},
            lookup::lock_key_for_end,
            types::ApiKeyView,
        },
        caller::Caller,
    },
    store::{self, NoEvent, Outcome, Tx},
};

/// What a revocation includes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = Revocation)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// Whether to revoke the keys that were created with this key as well, also on behalf of users
    /// and in portal sessions, and those that were created with these keys.
    #[serde(default)]
    pub descendants: bool,
    /// Whether to return what would be revoked, and revoke nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// A key, and the descendants that were revoked with it or would be.
#[derive(Debug)]
pub struct RevokedKey {
    pub view: ApiKeyView,
    /// `None` if the request does not include descendants.
    pub descendants: Option<Descendants>,
}

/// Keys that were created with a key, directly or with such keys.
#[derive(Debug, Default)]
pub struct Descendants {
    pub keys: Vec<ApiKey>,
    /// Keys that are not revoked, because their rows were altered outside of Keyswap. They are
    /// refused everywhere.
    pub altered: Vec<KeyId>,
    /// Whether there are more than one request revokes.
    pub more: bool,
}

/// Maximum number of descendants of one request.
pub const MAX_DESCENDANTS: usize = 500;
/// The batch size in which descendants are read, and the maximum number of them. A caller sees only
/// those of its tenant. The rows are authenticated one by one, while the transaction holds locks.
const BATCH_SIZE: usize = 501;
const MAX_SEARCHED: i64 = 2_000;

/// The cause in the events of descendants.
const CAUSE: &str = "creator_revoked";

/// Revokes a key, and its descendants if requested. Descendants that the caller may not revoke do
/// not exist for it.
///
/// Each search and the revocation of what it found are one transaction. A request that was
/// authenticated before can create another key until a later search finds it, so the search is
/// repeated until it changes nothing. The key of the caller is revoked after all others: otherwise
/// the caller could not repeat an interrupted request.
pub async fn revoke(
    services: &Services,
    caller: &Caller,
    id: KeyId,
    revocation: Revocation,
    preconditions: Preconditions,
) -> Result<RevokedKey, Error> {
    if revocation == Revocation::default() {
        let view = lifecycle::step(services, caller, id, KeyTransition::Revoke, preconditions).await?;
        return Ok(RevokedKey { view, descendants: None });
    }
    let mut step = Step { id, revocation, preconditions, limit: MAX_DESCENDANTS, with_caller: revocation.dry_run };
    let mut all = Descendants::default();
    let view = loop {
        let done = step.run(services, caller).await?;
        step.limit -= done.found.keys.len();
        all.keys.extend(done.found.keys);
        (all.altered, all.more) = (done.found.altered, done.found.more);
        if revocation.dry_run || all.more || (done.is_unchanged && !done.caller_remains) {
            break done.view;
        }
        step.preconditions = Preconditions::default();
        step.with_caller |= done.is_unchanged;
    };
    Ok(RevokedKey { view, descendants: revocation.descendants.then_some(all) })
}

/// One transaction of a revocation.
#[derive(Debug, Clone)]
struct Step {
    id: KeyId,
    revocation: Revocation,
    preconditions: Preconditions,
    /// Maximum number of descendants.
    limit: usize,
    /// Whether the key of the caller is revoked as well.
    with_caller: bool,
}

/// What a transaction has revoked, or would revoke.
struct CompletedStep {
    view: ApiKeyView,
    found: Descendants,
    is_unchanged: bool,
    /// Whether the key of the caller is one of the keys and was left out.
    caller_remains: bool,
}

/// The locked keys of a transaction.
#[derive(Default)]
struct LockedKeys {
    root: Option<ApiKey>,
    descendants: Descendants,
    /// The key of the caller, if it is a descendant and is to be revoked last.
    caller: Option<ApiKey>,
}

impl Step {
    async fn run(&self, services: &Services, caller: &Caller) -> Result<CompletedStep, Error> {
        let (step, settings) = (self.clone(), services.settings.clone());
        services
            .end_access(caller, move |tx, caller| {
                // A key that does not exist for the caller is reported before any is locked.
                let now = tx.now();
                let found = store::api_keys::keys::find(tx, &step.id, now)?;
                step.authorize_root(tx, caller, found)?;
                let locked = step.lock_keys(tx, caller)?;
                let LockedKeys { root: Some(root), descendants: found, caller: own } = locked else {
                    return Err(Error::NotFound(ApiKey::KIND));
                };
                step.preconditions.check(StoredObject::Version(root.version))?;
                let ended: Vec<_> = found.keys.iter().chain(&own).chain([&root]).collect();
                last_administrator::require_administrator_without(tx, caller, &settings, &ended)?;
                let is_own_root = is_key_of(caller, &root.id) && !step.with_caller;
                let (mut after, mut events) = (root, Vec::new());
                if !step.revocation.dry_run {
                    if !is_own_root {
                        (after, events) = lifecycle::apply(tx, after, KeyTransition::Revoke, caller, &settings)?;
                    }
                    for key in &found.keys {
                        let (_, of_key) = lifecycle::apply(tx, key.clone(), KeyTransition::Revoke, caller, &settings)?;
                        events.extend(of_key.into_iter().map(|event| event.with_cause(CAUSE)));
                    }
                }
                let done = CompletedStep {
                    view: ApiKeyView::new(after, now, &settings),
                    found,
                    is_unchanged: events.is_empty(),
                    caller_remains: is_own_root || own.is_some(),
                };
                Ok(Outcome::events_unless(NoEvent::Unchanged, done, events))
            })
            .await
    }

    /// Locks the root and its descendants in the order of their ids, so that two revocations cannot
    /// deadlock.
    fn lock_keys(&self, tx: &mut Tx<'_>, caller: &Caller) -> Result<LockedKeys, Error> {
        let mut locked = LockedKeys::default();
        // One search: it follows all descendants, whatever part of them it returns.
        let ids = match self.revocation.descendants {
            true => store::api_keys::keys::find_descendants(tx, &self.id, MAX_SEARCHED)?,
            false => Vec::new(),
        };
        locked.descendants.more = i64::try_from(ids.len()).is_ok_and(|count| count >= MAX_SEARCHED);
        for batch in ids.chunks(BATCH_SIZE) {
            let now = tx.now();
            let batch = store::api_keys::keys::find_many(tx, batch, now)?;
            if self.lock_batch(tx, caller, batch, &mut locked)? {
                break;
            }
        }
        if locked.root.is_none() {
            locked.root = Some(self.lock_root(tx, caller)?);
        }
        let LockedKeys { descendants, caller: own, .. } = &mut locked;
        // Of more keys than the limit, that of the caller is the last one.
        descendants.more |= own.is_some() && descendants.keys.len() >= self.limit;
        Ok(locked)
    }

    /// Locks the keys of a batch, and the root if its id precedes one of them. Returns whether
    /// there are more keys than the limit.
    fn lock_batch(
        &self,
        tx: &mut Tx<'_>,
        caller: &Caller,
        batch: Vec<ApiKey>,
        locked: &mut LockedKeys,
    ) -> Result<bool, Error> {
        for ApiKey { id, .. } in retain_visible(tx, caller, batch)? {
            if id >= self.id && locked.root.is_none() {
                locked.root = Some(self.lock_root(tx, caller)?);
            }
            let key = match lock_key_for_end(tx, caller, &id) {
                Err(Error::Conflict(Conflict::RowAltered { .. })) => {
                    // They stay, so they must not take the place of those that can be revoked.
                    if locked.descendants.altered.len() < self.limit {
                        locked.descendants.altered.push(id);
                    }
                    None
                }
                key => key?.filter(|key| key.revoked_at.is_none() && key.id != self.id),
            };
            match key {
                None => {}
                Some(key) if is_key_of(caller, &key.id) && !self.with_caller => locked.caller = Some(key),
                Some(_) if locked.descendants.keys.len() >= self.limit => {
                    locked.descendants.more = true;
                    return Ok(true);
                }
                Some(key) => locked.descendants.keys.push(key),
            }
        }
        Ok(false)
    }

    fn lock_root(&self, tx: &mut Tx<'_>, caller: &Caller) -> Result<ApiKey, Error> {
        let found = store::api_keys::keys::find_for_revocation(tx, &self.id)?;
        self.authorize_root(tx, caller, found)
    }

    /// Returns the root if the caller may end it. A deleted key is revoked already, and its
    /// descendants can still be revoked.
    fn authorize_root(&self, tx: &mut Tx<'_>, caller: &Caller, found: Option<ApiKey>) -> Result<ApiKey, Error> {
        let found = found.filter(|key| self.revocation.descendants || key.archived_at.is_none());
        authorize(tx, caller, found, ObjectRight::End)
    }
}

/// Returns whether the caller presented this key, or acts in a portal session that it opened.
fn is_key_of(caller: &Caller, key: &KeyId) -> bool {
    caller.origin.actor.source_key() == Some(key)
}
