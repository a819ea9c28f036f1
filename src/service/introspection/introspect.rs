//! Introspection (RFC 7662) of API keys and tokens: whether they are in force, and what they grant
//! at the calling service. Every cause of inactivity yields the same response.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    crypto::token::Token,
    domain::{
        access::{resource::Resource, token_profile::TokenTypeHeader},
        exchange::{
            claims::Claims,
            effective_access::{effective_access, effective_access_at_any},
            introspection::{IntrospectionResponse, introspectable_audiences, key_response, token_response},
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
/// client, and to a resource if there is one.
pub async fn introspect(
    services: &Services,
    client: &AuthenticatedClient,
    token: &str,
    resource: Option<&Resource>,
) -> Result<IntrospectionResponse, AuthError> {
    let (limits, management) = (&services.settings.limits, &services.settings.management_audience);
    let audiences = introspectable_audiences(client.audiences.as_deref(), management);
    let verified = resolve_token(services, token, audiences.as_ref(), LookupDetail::Context, |context, bounds| {
        // A key must be in effect for one of the audiences of the client, even if there are none.
        let is_bounded_key = bounds.scope.is_none() && audiences.is_some();
        let access = if is_bounded_key {
            effective_access_at_any(context, bounds, limits)?
        } else {
            effective_access(context, bounds, limits)?
        };
        Ok(match resource {
            Some(resource) => access.on_resource(resource),
            None => access,
        })
    });
    Ok(verified.await?.map_or_else(IntrospectionResponse::default, |verified| match verified.claims {
        Some(claims) => {
            let mapped_claims = Cow::Owned(read_mapped_claims(token, &claims));
            token_response(Claims { mapped_claims, ..claims }, verified.decision)
        }
        None => key_response(&verified.context.key, verified.decision),
    }))
}

/// Returns the mapped claims of a verified token: those that Keyswap does not write itself. They
/// are read here alone, because no decision may depend on them.
fn read_mapped_claims(token: &str, claims: &Claims<'_>) -> Map<String, Value> {
    let payload = token.split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
    let all = payload.and_then(|payload| serde_json::from_slice::<Map<_, _>>(&payload).ok());
    let own = serde_json::to_value(claims).unwrap_or_default();
    all.unwrap_or_default().into_iter().filter(|(name, _)| own.get(name).is_none()).collect()
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
