//! Introspection (RFC 7662) of API keys and tokens: whether they are in force, and what they grant
//! at the calling service. Every cause of inactivity yields the same response.

use serde::Serialize;

use crate::{
    crypto::token::Token,
    domain::{
        access::token_profile::Typ,
        exchange::introspection::{Introspection, asks_for, in_effect, of_key, of_token},
    },
    service::{
        App,
        credentials::{caller::Client, error::Denied, verify::Ways},
        introspection::resolve::judge_shown,
    },
    store::credentials::key_context,
};

/// Returns the introspection response for a key or token, restricted to the audiences of the
/// client.
pub async fn introspect(app: &App, client: &Client, token: &str) -> Result<Introspection, Denied> {
    let (limits, management) = (&app.settings.limits, &app.settings.management_audience);
    let asks = asks_for(client.audiences.as_deref(), management);
    let judged = judge_shown(app, token, asks.as_ref(), Ways::alone(key_context::load_with_age), |facts, bounds| {
        in_effect(facts, bounds, asks.is_some(), limits)
    });
    Ok(judged.await?.map_or_else(Introspection::default, |judged| match judged.claims {
        Some(claims) => of_token(claims, &judged.facts.key, &judged.ruling),
        None => of_key(&judged.facts.key, judged.more, &judged.ruling),
    }))
}

/// Claims of a signed response (RFC 9701 §5). It has no `sub` and no `exp` at the top level, so
/// that it cannot be mistaken for a token.
#[derive(Serialize)]
struct Signed<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    token_introspection: &'a Introspection,
}

/// Returns the response as a JWT for the client, signed by the same keys as tokens.
pub async fn sign(app: &App, client: &Client, answer: &Introspection) -> Result<Token, Denied> {
    let iat = app.store.now().await?.seconds();
    let view = app.keys.view();
    let minter = view.signer_of_look(app.settings.algorithm).map_err(|why| Denied::Unavailable(why.to_string()))?;
    let claims = Signed { iss: app.issuer(), aud: &client.id, iat, token_introspection: answer };
    minter.mint(&Typ::INTROSPECTION, &claims).await.map_err(|error| Denied::Internal(error.to_string()))
}
