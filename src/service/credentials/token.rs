//! Presented tokens: the key of a token, and whether the token ended early. Both `/v1` and the
//! endpoints for services use this module, so that a revoked token is refused immediately
//! (invariant 2).

use std::collections::BTreeSet;

use crate::{
    domain::{
        access::audience::Identifier,
        credentials::error::CredentialError,
        exchange::{claims::Claims, key_context::KeyContext},
    },
    service::{Services, credentials::error::AuthError},
    store::{
        Conn, CredentialLookup, LookupDetail, StoreError,
        credentials::{
            key_context::{self, KeySelector},
            key_details::{self, CredentialQuery},
            revoked_tokens,
        },
    },
};

/// Returns whether a credential has the form of a Keyswap token: three parts separated by dots, the
/// first of which is a JSON object in base64url. An imported key may contain dots as well.
pub(crate) fn has_token_format(credential: &str) -> bool {
    credential.starts_with("eyJ") && credential.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Reads a key without looking up audiences.
pub(crate) async fn load_key(services: &Services, selector: KeySelector) -> Result<Option<KeyContext>, StoreError> {
    let load = move |connection: &mut Conn| key_context::load(connection, &selector, &BTreeSet::new());
    Ok(services.store.read(load).await?.map(|record| record.context))
}

/// Looks up the key of a token whose signature is verified. Returns `AuthError::Credential` if the
/// token itself is not in force. The module `grant` decides whether the key is in force.
pub(crate) async fn find_key_of_token(
    services: &Services,
    claims: &Claims,
    targets: BTreeSet<Identifier>,
    detail: LookupDetail,
) -> Result<CredentialLookup, AuthError> {
    let claims = claims.clone();
    let query = CredentialQuery { by: KeySelector::Key(claims.key_id.clone()), targets, detail };
    let found = services.store.read(move |connection| {
        let Some(found) = key_details::find(connection, &query)? else { return Ok(Err(CredentialError::Unknown)) };
        let now = found.record.context.now;
        let state = revoked_tokens::read_token_state(connection, &claims, now)?;
        Ok::<_, StoreError>(claims.check_in_force(now, &state).map(|()| found))
    });
    Ok(found.await??)
}
