//! API keys: making, changing, rotating and ending them. The value is in the answer to create and rotate, and nowhere else.

mod limits;
mod maker;

use crate::{
    domain::{
        api_key::{ApiKey, Owner, State},
        api_key_value::ApiKeyValue,
        audience::Identifier,
        event::{EventKind, NewEvent},
        id::KeyId,
        json::Metadata,
        name::DisplayName,
        page::{Page, PageRequest},
        permission::PermissionSet,
        time::{Span, Timestamp},
    },
    store::{self, Outcome, Tx, api_keys::KeyFilter},
};

use super::{
    App, Error,
    caller::Caller,
    idempotency::{self, Created, Idempotency},
    version::require_version,
};

use limits::{audience_faults, expiry_faults, permission_faults, require_held, ttl_faults, widens};

pub(super) use maker::Maker;

/// What `POST /v1/api-keys` says.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub name: DisplayName,
    pub owner: Owner,
    pub permissions: PermissionSet,
    pub audiences: Option<Vec<Identifier>>,
    pub metadata: Metadata,
    pub max_token_ttl: Option<Span>,
    pub expires_at: Option<Timestamp>,
}

/// What `PATCH /v1/api-keys/{id}` says; absent members stay as they are, `null` takes a limit away.
#[derive(Debug, Clone, Default)]
pub struct PatchKey {
    pub name: Option<DisplayName>,
    pub permissions: Option<PermissionSet>,
    pub audiences: Option<Option<Vec<Identifier>>>,
    pub metadata: Option<Metadata>,
    pub max_token_ttl: Option<Option<Span>>,
    pub expires_at: Option<Option<Timestamp>>,
}

/// A key as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub key: ApiKey,
    /// The database's clock, by which its state is told.
    pub now: Timestamp,
}

/// A key and the value that proves it, for the one answer that shows it.
#[derive(Debug)]
pub struct WithValue {
    pub shown: Shown,
    pub value: ApiKeyValue,
}

/// The longest a replaced credential may go on working.
pub const MAX_GRACE: Span = Span::from_secs(90 * 24 * 3600);

/// Makes a key.
///
/// # Errors
/// Every limit it would break, all of them at once.
pub async fn create(
    app: &App,
    caller: &Caller,
    new: NewKey,
    once: Option<Idempotency>,
) -> Result<Created<WithValue, Shown>, Error> {
    let maker = Maker::of(app);
    let holdings = caller.holdings.clone();
    app.store
        .change(caller.origin.clone(), move |tx| {
            if let Some(id) = idempotency::earlier(tx, once.as_ref())? {
                let key = found(tx, &id.parse()?)?;
                return Ok(Outcome::bookkeeping(Created::Replayed(Shown { key, now: tx.now() })));
            }
            let (made, event) = maker.make(tx, new, &holdings)?;
            idempotency::remember(tx, once.as_ref(), made.shown.key.id.as_str())?;
            Ok(Outcome::event(Created::New(made), event))
        })
        .await
}

/// # Errors
/// No such key.
pub async fn get(app: &App, id: KeyId) -> Result<Shown, Error> {
    app.store
        .read(move |connection| {
            let now = store::now(connection)?;
            let key = store::api_keys::find(connection, &id, now)?.ok_or(NOT_FOUND)?;
            Ok(Shown { key, now })
        })
        .await
}

/// # Errors
/// The database does not answer.
pub async fn list(app: &App, filter: KeyFilter, page: PageRequest) -> Result<Page<Shown>, Error> {
    app.store
        .read(move |connection| {
            let now = store::now(connection)?;
            let keys = store::api_keys::list(connection, &filter, &page, now)?;
            Ok(keys.map(|key| Shown { key, now }))
        })
        .await
}

/// Changes what is written on a key.
///
/// # Errors
/// No such key, a newer version of it, a revoked key, or limits it would break.
pub async fn patch(
    app: &App,
    caller: &Caller,
    id: KeyId,
    patch: PatchKey,
    if_version: Option<i64>,
) -> Result<Shown, Error> {
    let settings = app.settings.clone();
    let holdings = caller.holdings.clone();
    app.store
        .change(caller.origin.clone(), move |tx| {
            let mut key = found(tx, &id)?;
            require_version(key.version, if_version)?;
            refuse_revoked(&key)?;
            let before = key.clone();
            let mut faults = Vec::new();
            if let Some(permissions) = patch.permissions {
                let added = permissions.without(&key.permissions).cloned().collect();
                faults.extend(permission_faults(tx, &key.owner, &added, &holdings)?);
                key.permissions = permissions;
            }
            if let Some(audiences) = patch.audiences {
                faults.extend(audience_faults(tx, audiences.as_deref())?);
                key.audiences = audiences;
            }
            if let Some(expires_at) = patch.expires_at {
                faults.extend(expiry_faults(&settings, key.created_at, tx.now(), expires_at));
                key.life.expires_at = expires_at;
            }
            if let Some(max_token_ttl) = patch.max_token_ttl {
                faults.extend(ttl_faults(max_token_ttl));
                key.max_token_ttl = max_token_ttl;
            }
            key.name = patch.name.unwrap_or(key.name);
            key.metadata = patch.metadata.unwrap_or(key.metadata);
            if !faults.is_empty() {
                return Err(Error::Invalid(faults));
            }
            if widens(&before, &key) {
                require_held(&before, &holdings)?;
            }
            if key == before {
                return Ok(Outcome::bookkeeping(Shown { key, now: tx.now() }));
            }
            save(tx, &mut key)?;
            let event = NewEvent::new(EventKind::ApiKeyUpdated, &key.id)
                .with("changed", changed(&before, &key))
                .with("permissions", key.permissions.to_string());
            Ok(Outcome::event(Shown { key, now: tx.now() }, event))
        })
        .await
}

/// Gives a key a new credential. The old one works until the grace has passed, so that nothing stops while clients change over.
///
/// # Errors
/// No such key, a revoked one, one whose earlier rotation has not ended, or one with permissions that the caller does not hold:
/// the answer carries the value, and with it all the key can do.
pub async fn rotate(
    app: &App,
    caller: &Caller,
    id: KeyId,
    grace: Span,
    if_version: Option<i64>,
) -> Result<WithValue, Error> {
    if grace > MAX_GRACE {
        return Err(Error::invalid("grace", format!("may be {MAX_GRACE} at most")));
    }
    let maker = Maker::of(app);
    let holdings = caller.holdings.clone();
    app.store
        .change(caller.origin.clone(), move |tx| {
            let mut key = found(tx, &id)?;
            refuse_revoked(&key)?;
            require_version(key.version, if_version)?;
            require_held(&key, &holdings)?;
            let ending = key.credentials.iter().filter_map(|credential| credential.expires_at).max();
            if let Some(end) = ending.filter(|_| grace > Span::ZERO) {
                return Err(Error::Conflict(format!(
                    "the rotation before this one ends at {end}; wait for it, or rotate with a grace of \"0s\", which ends \
                     every older credential at once"
                )));
            }
            let end = tx.now().after(grace);
            // In the order of their ids, as the flush of last-used times locks them.
            key.credentials.sort_by(|one, other| one.id.cmp(&other.id));
            for old in &mut key.credentials {
                store::api_keys::end_credential(tx, &old.id, end)?;
                old.expires_at = Some(end);
            }
            let (new, value) = maker.credential(tx)?;
            store::api_keys::insert_credential(tx, &key.id, &new)?;
            if grace == Span::ZERO {
                key.credentials.clear();
            }
            key.credentials.insert(0, new.credential);
            save(tx, &mut key)?;
            let event = NewEvent::new(EventKind::ApiKeyRotated, &key.id).with("old_credential_ends_at", end.to_string());
            Ok(Outcome::event(WithValue { shown: Shown { key, now: tx.now() }, value }, event))
        })
        .await
}

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
    let holdings = caller.holdings.clone();
    app.store
        .change(caller.origin.clone(), move |tx| {
            let mut key = found(tx, &id)?;
            require_version(key.version, if_version)?;
            let before = key.life;
            let now = Some(tx.now());
            let kind = match step {
                Step::Suspend => {
                    refuse_revoked(&key)?;
                    key.life.suspended_at = before.suspended_at.or(now);
                    EventKind::ApiKeySuspended
                }
                Step::Resume => {
                    refuse_revoked(&key)?;
                    require_held(&key, &holdings)?;
                    key.life.suspended_at = None;
                    EventKind::ApiKeyResumed
                }
                Step::Revoke => {
                    key.life.revoked_at = before.revoked_at.or(now);
                    EventKind::ApiKeyRevoked
                }
                Step::Delete => {
                    key.life.revoked_at = before.revoked_at.or(now);
                    store::api_keys::hide(tx, &key.id)?;
                    EventKind::ApiKeyDeleted
                }
            };
            if key.life == before && step != Step::Delete {
                return Ok(Outcome::bookkeeping(Shown { key, now: tx.now() }));
            }
            save(tx, &mut key)?;
            let event = NewEvent::new(kind, &key.id);
            // A deleted key is a revoked one: whoever watches for revocations must see it.
            let revoked = step == Step::Delete && before.revoked_at.is_none();
            let first = revoked.then(|| NewEvent::new(EventKind::ApiKeyRevoked, &key.id));
            Ok(Outcome::events(Shown { key, now: tx.now() }, first.into_iter().chain([event]).collect()))
        })
        .await
}

const NOT_FOUND: Error = Error::NotFound("API key");

fn found(tx: &mut Tx<'_>, id: &KeyId) -> Result<ApiKey, Error> {
    store::api_keys::find_for_change(tx, id)?.ok_or(NOT_FOUND)
}

fn save(tx: &mut Tx<'_>, key: &mut ApiKey) -> Result<(), Error> {
    store::api_keys::update(tx, key)?;
    key.version += 1;
    Ok(())
}

fn refuse_revoked(key: &ApiKey) -> Result<(), Error> {
    if key.life.revoked_at.is_some() {
        return Err(Error::Conflict("the key is revoked, for good: make a new one".to_owned()));
    }
    Ok(())
}

/// The state of a key at the moment it was looked up.
impl Shown {
    pub fn state(&self) -> State {
        self.key.life.state(self.now)
    }
}

/// The names of the members that a patch changed.
fn changed(before: &ApiKey, after: &ApiKey) -> Vec<&'static str> {
    let members = [
        ("name", before.name != after.name),
        ("permissions", before.permissions != after.permissions),
        ("audiences", before.audiences != after.audiences),
        ("metadata", before.metadata != after.metadata),
        ("max_token_ttl", before.max_token_ttl != after.max_token_ttl),
        ("expires_at", before.life.expires_at != after.life.expires_at),
    ];
    members.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}
