//! Introspection (RFC 7662) of API keys and tokens: whether they are in force, and what they grant
//! at the calling service. Every cause of inactivity yields the same response.

use serde::Serialize;

use crate::{
    crypto::token::Token,
    domain::{
        access::token_profile::TokenTypeHeader,
        exchange::introspection::{
            IntrospectionResponse, effective_permissions, introspectable_audiences, key_response, token_response,
        },
    },
    service::{
        Services,
        credentials::{caller::Client, error::AuthError, verify::Ways},
        introspection::resolve::verify_presented_credential,
    },
    store::credentials::key_context,
};

/// Returns the introspection response for a key or token, restricted to the audiences of the
/// client.
pub async fn introspect(services: &Services, client: &Client, token: &str) -> Result<IntrospectionResponse, AuthError> {
    let (limits, management) = (&services.settings.limits, &services.settings.management_audience);
    let asks = introspectable_audiences(client.audiences.as_deref(), management);
    let judged = verify_presented_credential(
        services,
        token,
        asks.as_ref(),
        Ways::alone(key_context::load_facts_with_creation_time),
        |facts, bounds| effective_permissions(facts, bounds, asks.is_some(), limits),
    );
    Ok(judged.await?.map_or_else(IntrospectionResponse::default, |judged| match judged.claims {
        Some(claims) => token_response(claims, &judged.facts.key, &judged.decision),
        None => key_response(&judged.facts.key, judged.more, &judged.decision),
    }))
}

/// Claims of a signed response (RFC 9701 §5). It has no `sub` and no `exp` at the top level, so
/// that it cannot be mistaken for a token.
#[derive(Serialize)]
struct SignedIntrospectionClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    token_introspection: &'a IntrospectionResponse,
}

/// Returns the response as a JWT for the client, signed by the same keys as tokens.
pub async fn sign(services: &Services, client: &Client, answer: &IntrospectionResponse) -> Result<Token, AuthError> {
    let iat = services.store.now().await?.seconds();
    let view = services.keys.view();
    let minter = view
        .select_signer_at_refresh(services.settings.algorithm)
        .map_err(|why| AuthError::Unavailable(why.to_string()))?;
    let claims =
        SignedIntrospectionClaims { iss: services.issuer(), aud: &client.id, iat, token_introspection: answer };
    minter
        .sign_token(&TokenTypeHeader::INTROSPECTION, &claims)
        .await
        .map_err(|error| AuthError::Internal(error.to_string()))
}
