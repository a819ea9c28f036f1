//! Status of presented tokens: the key of a token, and whether the token ended early. Both `/v1`
//! and the endpoints for services use this module, so that a revoked token is refused immediately
//! (invariant 2).

use std::collections::BTreeSet;

use crate::{
    domain::{
        access::audience::Identifier,
        credentials::error::CredentialError,
        exchange::{claims::Claims, facts::KeyContext},
    },
    service::{
        Services,
        credentials::{error::AuthError, verify::Look},
    },
    store::{
        StoreError,
        credentials::{
            key_context::{KeyRecord, KeySelector},
            revoked_tokens,
        },
    },
};

/// Returns the facts about the key of a token whose signature is verified, with the additional
/// data, or the reason why the token is not in force. `grant` decides whether the key is in force.
pub(crate) async fn found<X: Send + 'static>(
    services: &Services,
    claims: &Claims,
    targets: &BTreeSet<Identifier>,
    look: Look<X>,
) -> Result<Result<(KeyContext, X), CredentialError>, AuthError> {
    let (claims, targets) = (claims.clone(), targets.clone());
    let read = move |connection: &mut _| {
        let wanted = KeySelector::Key(claims.key_id.clone());
        let Some((KeyRecord { facts, .. }, more)) = look(connection, &wanted, &targets)? else {
            return Ok(Err(CredentialError::Unknown));
        };
        let known = revoked_tokens::read_token_state(connection, &claims, facts.now)?;
        Ok(claims.check_in_force(facts.now, &known).map(|()| (facts, more)))
    };
    Ok(services.store.read::<_, StoreError>(read).await?)
}
