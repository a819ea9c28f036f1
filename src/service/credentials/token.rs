//! Status of presented tokens: the key of a token, and whether the token ended early. Both `/v1`
//! and the endpoints for services use this module, so that a revoked token is refused immediately
//! (invariant 2).

use std::collections::BTreeSet;

use crate::{
    domain::{
        access::audience::Identifier,
        credentials::error::KeyFault,
        exchange::{claims::Claims, facts::Facts},
    },
    service::{
        App,
        credentials::{error::Denied, verify::Look},
    },
    store::{
        StoreError,
        credentials::{
            key_context::{Loaded, Wanted},
            revoked_tokens,
        },
    },
};

/// Returns the facts about the key of a token whose signature is verified, with the additional
/// data, or the reason why the token is not in force. `grant` decides whether the key is in force.
pub(crate) async fn found<X: Send + 'static>(
    app: &App,
    claims: &Claims,
    targets: &BTreeSet<Identifier>,
    look: Look<X>,
) -> Result<Result<(Facts, X), KeyFault>, Denied> {
    let (claims, targets) = (claims.clone(), targets.clone());
    let read = move |connection: &mut _| {
        let wanted = Wanted::Key(claims.key_id.clone());
        let Some((Loaded { facts, .. }, more)) = look(connection, &wanted, &targets)? else {
            return Ok(Err(KeyFault::Unknown));
        };
        let known = revoked_tokens::token_now(connection, &claims, facts.now)?;
        Ok(claims.in_force(facts.now, &known).map(|()| (facts, more)))
    };
    Ok(app.store.read::<_, StoreError>(read).await?)
}
