//! Emergency revocation of a signing key. The successor may sign before every verifier has its
//! public key, a deliberate exception to invariant K1. The response states until when verifiers may
//! accept tokens of the revoked key, and never claims an immediate effect (invariant K7).

use crate::{
    domain::{
        common::derived_id::SigningKeyId,
        signing::{SigningKeyState, rotation::RevocationBounds},
    },
    service::{
        Error, Services,
        caller::Caller,
        signing::{
            loaded::{Listed, Looked},
            rotation::{lock_and_load, settle},
            steps::{Press, activate, advance},
        },
    },
    store::{self, Conn, Outcome, StoreError, signing::signing_keys::StoredSigningKey},
};

/// The revocation and its consequences.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Revocation {
    pub revoked: Listed,
    /// The key that signs in its place; absent if the revoked key was not signing.
    pub activated: Option<Listed>,
    #[serde(flatten)]
    pub bounds: RevocationBounds,
}

/// Removes a key from the JWKS and destroys its private key. If it was signing, another key signs
/// at once.
pub async fn revoke(services: &Services, caller: &Caller, kid: SigningKeyId) -> Result<Revocation, Error> {
    // From the database: the snapshot in memory omits keys that it cannot parse.
    let wanted = kid.clone();
    let find = move |connection: &mut Conn| {
        let found =
            store::signing::signing_keys::list(connection, true)?.into_iter().find(|key| key.info.kid == wanted);
        Ok::<_, StoreError>(found.map(|key| key.info.algorithm))
    };
    let algorithm = services.store.read(find).await?;
    // `press` publishes the key that follows the successor; `spare` publishes a successor if there
    // is no usable next key.
    let mut press = Press::generate_for(services, algorithm).await?;
    let mut spare = Press::generate_for(services, algorithm).await?;
    let settings = services.settings.clone();
    let revoked = services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let (now, looked) = lock_and_load(tx, &settings)?;
            let key = looked.keys.iter().find(|key| key.kid == kid).ok_or(Error::NotFound("signing key"))?;
            if !key.state.is_published() {
                return Err(Error::Conflict(format!("the key {kid} is not published any more, and signs nothing")));
            }
            let (signed, mut events) = (key.state == SigningKeyState::Active, Vec::new());
            advance(tx, key, SigningKeyState::Revoked, now, &mut events)?;
            let mut without = Looked::at(tx, &settings, now)?;
            let successor = if signed {
                let is_next = |other: &StoredSigningKey| {
                    other.info.state == SigningKeyState::Next && other.info.algorithm == key.algorithm
                };
                let next = match store::signing::signing_keys::list(tx, true)?.into_iter().find(is_next) {
                    Some(next) if spare.can_sign_with(&next) => next.info,
                    found => {
                        // A key that cannot sign must not become the signing key.
                        if let Some(next) = found {
                            advance(tx, &next.info, SigningKeyState::Removed, now, &mut events)?;
                        }
                        spare.publish(tx, key.algorithm, now, &mut events)?.ok_or_else(|| {
                            Error::Unavailable("the signing keys were moved just now; try again".to_owned())
                        })?
                    }
                };
                without = Looked::at(tx, &settings, now)?;
                activate(tx, &without, &next, now, &mut events)?;
                without = Looked::at(tx, &settings, now)?;
                Some(next)
            } else {
                None
            };
            let has_next = crate::service::signing::rotation::has_next(&without, key.algorithm);
            if !has_next && looked.rules.requires_algorithm(key.algorithm) {
                press.publish(tx, key.algorithm, now, &mut events)?;
            }
            let published = successor.as_ref().map_or(key.published_at, |next| next.published_at);
            let after = Looked::at(tx, &settings, now)?;
            let live = store::signing::live_tokens::count_unexpired(tx, now)?;
            let listed = |kid: &SigningKeyId| {
                after.keys.iter().find(|key| key.kid == *kid).map(|key| after.view_key(key, now, &live))
            };
            let revoked = Revocation {
                revoked: listed(&kid).ok_or(Error::NotFound("signing key"))?,
                activated: successor.and_then(|next| listed(&next.kid)),
                bounds: looked.rules.timing.revocation_bounds(key, now, published),
            };
            Ok(Outcome::events(revoked, events))
        })
        .await?;
    settle(services).await;
    Ok(revoked)
}
