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
        credentials::{client::AuthenticatedClient, error::AuthError},
        introspection::resolve::resolve_token,
    },
    store::LookupDetail,
};

/// Returns the introspection response for a key or token, restricted to the audiences of the
/// client.
pub async fn introspect(
    services: &Services,
    client: &AuthenticatedClient,
    token: &str,
) -> Result<IntrospectionResponse, AuthError> {
    let (limits, management) = (&services.settings.limits, &services.settings.management_audience);
    let audiences = introspectable_audiences(client.audiences.as_deref(), management);
    let verified = resolve_token(services, token, audiences.as_ref(), LookupDetail::Context, |context, bounds| {
        effective_permissions(context, bounds, audiences.is_some(), limits)
    });
    Ok(verified.await?.map_or_else(IntrospectionResponse::default, |verified| match verified.claims {
        Some(claims) => token_response(claims, &verified.context.key, &verified.decision),
        None => key_response(&verified.context.key, &verified.decision),
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
pub async fn sign(
    services: &Services,
    client: &AuthenticatedClient,
    response: &IntrospectionResponse,
) -> Result<Token, AuthError> {
    let iat = services.store.now().await?.seconds();
    let view = services.keys.view();
    let signer = view.select_signer_at_refresh(services.settings.signing_keys.algorithm)?;
    let claims =
        SignedIntrospectionClaims { iss: services.issuer(), aud: &client.id, iat, token_introspection: response };
    Ok(signer.sign_token(&TokenTypeHeader::INTROSPECTION, &claims).await?)
}
