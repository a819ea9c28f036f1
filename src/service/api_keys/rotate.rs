//! Rotation with an overlap: the key keeps its id, and two credentials prove it during the grace.

use crate::{
    domain::{
        access::policy::ObjectRight,
        common::{
            id::KeyId,
            preconditions::{Preconditions, StoredObject},
            time::Span,
        },
        events::{Actor, EventType},
    },
    service::{
        Conflict, Error, Services,
        api_keys::{
            KeyFactory,
            limits::{require_grantable, require_within_caller_limits},
            lookup::{key_event, lock_key, require_not_revoked, save},
            types::{ApiKeyView, IssuedApiKey},
        },
        caller::Caller,
        common::{
            error::Rule,
            idempotency::{self, IdempotencyRequest, IdempotentOutcome},
        },
    },
    store::{self, NoEvent, Outcome},
};

/// The grace of a replaced credential, unless the request names another one.
pub const DEFAULT_GRACE: Span = Span::from_secs(24 * 3600);
/// The maximum grace of a replaced credential.
pub const MAX_GRACE: Span = Span::from_secs(90 * 24 * 3600);

/// A rotation of a key.
#[derive(Debug, Clone)]
pub struct Rotation {
    pub id: KeyId,
    /// How long the old credential remains valid.
    pub grace: Span,
    pub preconditions: Preconditions,
}

/// Gives a key a new credential. The old one remains valid until the grace ends, so that clients
/// can switch without an interruption. While an earlier rotation is in its grace, only a grace of
/// zero is accepted. The caller must hold all permissions of the key, because the response contains
/// the new value.
pub async fn rotate(
    services: &Services,
    caller: &Caller,
    Rotation { id, grace, preconditions }: Rotation,
    once: Option<IdempotencyRequest>,
) -> Result<IdempotentOutcome<IssuedApiKey, ApiKeyView>, Error> {
    if grace > MAX_GRACE {
        return Err(Error::invalid("grace", format!("must be at most {MAX_GRACE}")));
    }
    let (factory, settings) = (KeyFactory::of(services), services.settings.clone());
    services
        .change(caller, move |tx, caller| {
            if let Some(id) = idempotency::earlier(tx, once.as_ref())? {
                return Ok(Outcome::without_event(
                    IdempotentOutcome::Existing(factory.load(tx, caller, &id.parse()?)?),
                    NoEvent::AlreadyRecorded,
                ));
            }
            let mut key = lock_key(tx, caller, &id, ObjectRight::Change)?;
            preconditions.check(StoredObject::Version(key.version))?;
            require_not_revoked(&key, &settings)?;
            require_grantable(&key, &caller.holdings)?;
            require_within_caller_limits(tx, &settings, caller, &key)?;
            let ending = key.credentials.iter().filter_map(|credential| credential.expires_at).max();
            if let Some(end) = ending.filter(|_| grace > Span::ZERO) {
                return Err(Error::Conflict(Conflict::RotationInProgress(end)));
            }
            if ending.is_some() && caller.origin.actor == Actor::Key(key.id.clone()) {
                // The request may be authenticated by the old value, which may have leaked.
                return Err(Error::NotAllowed(Rule::OwnRotation));
            }
            let end = tx.now().plus(grace);
            // In id order, in which earlier versions lock credentials when they write last-used
            // times.
            key.credentials.sort_by_key(|one| one.id);
            for old in &mut key.credentials {
                store::api_keys::credentials::set_credential_expiration(tx, &key.id, &old.id, Some(end))?;
                old.expires_at = Some(end);
            }
            let (new, value) = factory.generate_credential(tx)?;
            store::api_keys::credentials::insert_credential(tx, &key.id, &new)?;
            if grace == Span::ZERO {
                key.credentials.clear();
            }
            key.credentials.insert(0, new.credential);
            save(tx, &mut key)?;
            let event = key_event(EventType::ApiKeyRotated, &key).with_data("old_credential_ends_at", end.to_string());
            idempotency::record_object(tx, once.as_ref(), key.id.as_str())?;
            let issued = IssuedApiKey { api_key: ApiKeyView::new(key, tx.now(), &settings), value };
            Ok(Outcome::event(IdempotentOutcome::New(issued), event))
        })
        .await
}

/// Cancels a rotation during its grace: the old credential no longer expires, and the new one ends
/// at once. The caller must hold all permissions of the key, because a credential that was about to
/// end remains valid. The new credential may be in the hands of a thief who rotated the key, so its
/// end is not counted as a change.
pub async fn cancel(
    services: &Services,
    caller: &Caller,
    id: KeyId,
    preconditions: Preconditions,
) -> Result<ApiKeyView, Error> {
    let settings = services.settings.clone();
    services
        .end_access(caller, move |tx, caller| {
            let mut key = lock_key(tx, caller, &id, ObjectRight::Change)?;
            preconditions.check(StoredObject::Version(key.version))?;
            require_not_revoked(&key, &settings)?;
            if caller.origin.actor == Actor::Key(key.id.clone()) {
                return Err(Error::NotAllowed(Rule::OwnRotation));
            }
            require_grantable(&key, &caller.holdings)?;
            let (old, new): (Vec<_>, Vec<_>) =
                key.credentials.iter().cloned().partition(|credential| credential.expires_at.is_some());
            let (mut old, new) = match (old.as_slice(), new.as_slice()) {
                ([], _) => return Err(Error::Conflict(Conflict::NotRotating)),
                ([old], [new]) => (old.clone(), new.clone()),
                _ => return Err(Error::Conflict(Conflict::SeveralOldValues)),
            };
            let mut ends = [(&old.id, None), (&new.id, Some(tx.now()))];
            // In id order, in which earlier versions lock credentials when they write last-used
            // times.
            ends.sort();
            for (credential, end) in ends {
                store::api_keys::credentials::set_credential_expiration(tx, &key.id, credential, end)?;
            }
            let event = key_event(EventType::ApiKeyRotationCancelled, &key).with_data("credential", old.id.as_str());
            old.expires_at = None;
            key.credentials = vec![old];
            save(tx, &mut key)?;
            Ok(Outcome::event(ApiKeyView::new(key, tx.now(), &settings), event))
        })
        .await
}
