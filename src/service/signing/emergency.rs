//! Emergency revocation of a signing key. The successor may sign before every verifier has its
//! public key, a deliberate exception to invariant K1. The response states until when verifiers may
//! accept tokens of the revoked key, and never claims an immediate effect (invariant K7).

use crate::{
    domain::{
        common::derived_id::SigningKeyId,
        signing::{SigningKeyState, rotation::RevocationBounds},
    },
    service::{
        Conflict, Error, Services,
        caller::Caller,
        signing::{
            key_change::{self, KeyChange},
            key_publisher::KeyPublisher,
            key_snapshot::is_usable_for_signing,
            rotation::confirm_publication,
            rotation_state::SigningKeyItem,
        },
    },
    store::signing::{manifest, stored_keys},
};

/// The result of an emergency revocation, with its worst-case consequences.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
#[schema(as = RevokedSigningKey)]
pub struct Revocation {
    pub revoked: SigningKeyItem,
    /// The key that signs instead. Null if the revoked key was not signing.
    pub activated: Option<SigningKeyItem>,
    #[serde(flatten)]
    #[schema(inline)]
    pub bounds: RevocationBounds,
}

/// Removes a key from the JWKS and destroys its private key. If it was signing, another key signs
/// at once.
pub async fn revoke(services: &Services, caller: &Caller, kid: SigningKeyId) -> Result<Revocation, Error> {
    // From the database: the snapshot in memory omits keys that it cannot parse.
    let published = services.store.read(stored_keys::list_rows).await?;
    let algorithm = published.into_iter().find(|key| key.info.kid == kid).map(|key| key.info.algorithm);
    // One key follows the successor. The other is the successor if there is no usable next key.
    let mut publisher = KeyPublisher::generate(services, algorithm.into_iter().chain(algorithm)).await?;
    let revoked = key_change::run(services, caller, None, move |change| revoke_key(change, &kid, &mut publisher));
    let revoked = revoked.await?;
    confirm_publication(services).await;
    Ok(revoked)
}

fn revoke_key(
    change: &mut KeyChange<'_, '_>,
    kid: &SigningKeyId,
    publisher: &mut KeyPublisher,
) -> Result<Revocation, Error> {
    let key = change.state.find(kid).ok_or(Error::NotFound("signing key"))?.clone();
    if !key.state.is_published() {
        return Err(Conflict::SigningKeyNotPublished(kid.clone()).into());
    }
    change.transition(&key, SigningKeyState::Revoked)?;
    let mut successor = None;
    if key.state == SigningKeyState::Active {
        let mut stored = manifest::list_for_change(change.tx)?.into_iter();
        let next = stored.find(|next| next.info.state == SigningKeyState::Next && next.info.algorithm == key.algorithm);
        let next = match next {
            Some(next) if is_usable_for_signing(&publisher.master_keys, &next) => next.info,
            Some(_) | None => change.replace_next(publisher, key.algorithm)?,
        };
        // Without the revoked key, which was active.
        change.reload()?;
        change.activate(&next)?;
        successor = Some(next);
    }
    change.reload()?;
    let has_next = change.state.find_in_state(key.algorithm, SigningKeyState::Next).is_some();
    if !has_next && change.state.rules.requires_algorithm(key.algorithm) {
        change.publish(publisher, key.algorithm)?;
        change.reload()?;
    }
    let state = &change.state;
    let describe = |kid: &SigningKeyId| state.find(kid).map(|key| state.describe(key));
    let successor_published = successor.as_ref().map_or(key.published_at, |next| next.published_at);
    Ok(Revocation {
        revoked: describe(kid).ok_or(Error::NotFound("signing key"))?,
        activated: successor.and_then(|next| describe(&next.kid)),
        bounds: state.rules.timing.revocation_bounds(&key, state.now, successor_published),
    })
}
