//! The exchange of an API key for a signed token.

pub mod counts;
pub mod flushed_counts;

use serde::Serialize;

use crate::{
    crypto::{random, token::Token},
    domain::{
        access::{access_record::Detail, audience::Identifier, permission::PermissionSet},
        common::id::KeyId,
        exchange::{
            facts::{Facts, Replaced, Request},
            grant::{self, Grant, targets_asked},
            refusal::{Refusal, Removed, ScopeFault},
            usage::Window,
        },
    },
    service::{
        App,
        credentials::{
            error::Denied,
            verify::{Attempt, Granted, judge, judge_counted},
        },
        status_lists,
    },
};

/// An issued token and what it grants.
#[derive(Debug)]
pub struct Issued {
    pub token: Token,
    pub jti: String,
    /// The exchanged key.
    pub key: KeyId,
    /// Lifetime in seconds.
    pub expires_in: i64,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub expires_at: i64,
    pub scope: PermissionSet,
    /// State of the key's rate limit, if it has one.
    pub window: Option<Window>,
    /// Set if a rotation has replaced the presented credential.
    pub replaced: Option<Replaced>,
    /// The `authorization_details` of the token.
    pub access: Vec<Detail>,
}

/// Exchanges a key for a token.
pub async fn exchange(app: &App, attempt: Attempt<'_>, request: &Request) -> Result<Issued, Denied> {
    issue(app, attempt, request, |facts| grant::decide(facts, request, &app.settings.limits)).await
}

/// Like `exchange`, with a decision other than `grant::decide`.
pub(super) async fn issue(
    app: &App,
    attempt: Attempt<'_>,
    request: &Request,
    decide: impl FnOnce(&Facts) -> Result<Grant, Refusal>,
) -> Result<Issued, Denied> {
    let judged = judge_counted(app, attempt, request, decide);
    let Granted { mut grant, window, facts, .. } = judged.await?;
    let view = app.keys.view_at(facts.now, &app.store, &app.master).await;
    let minter = view.signer(grant.shape.algorithm, app.settings.algorithm, facts.now);
    let minter = minter.map_err(|why| {
        app.metrics.signing_refused(why.as_str());
        Denied::Unavailable(why.to_string())
    })?;
    let jti = random::token_id(&app.entropy).map_err(|error| Denied::Internal(error.to_string()))?;
    grant.status = status_lists::place_of_token(app, &grant, &jti).await?;
    let (expires_in, expires_at, scope) = (grant.expires_in(), grant.expires_at, grant.scope.clone());
    let (typ, access) = (grant.shape.typ.clone(), grant.access.clone());
    let claims = grant.into_claims(app.issuer(), jti);
    app.live_tokens.count(&minter.jwk().kid, expires_at);
    let token = minter.mint(&typ, &claims).await.map_err(|error| Denied::Internal(error.to_string()))?;
    let (jti, key, replaced) = (claims.jti, claims.key_id, facts.key.replaced());
    Ok(Issued { token, jti, key, expires_in, expires_at, scope, access, window, replaced })
}

/// The expected outcome of an exchange.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// Whether the exchange would issue a token.
    pub granted: bool,
    pub audience: Vec<Identifier>,
    /// The permissions that pass every rule.
    pub scope: PermissionSet,
    /// The permissions that do not pass, each with the first rule that removed it.
    pub removed: Vec<Removed>,
    /// The resources that permissions of the scope apply to, as far as access records specify them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<Detail>,
    /// Token lifetime in seconds. Absent if no token would be issued.
    pub expires_in: Option<i64>,
    /// The OAuth error code of the refusal: `invalid_scope` or `invalid_target`.
    pub error: Option<&'static str>,
    /// The cause of `invalid_target`: `malformed`, `too_many`, `unknown`, `shape`, `claims` or
    /// `access`.
    pub reason: Option<&'static str>,
}

/// Returns the expected outcome of an exchange with the reasons, and whether a rotation has
/// replaced the presented credential. Signs nothing.
///
/// A key that is not accepted yields the same error as the exchange. Refusals of the scope or
/// target are part of the explanation and not errors.
pub async fn explain(
    app: &App,
    attempt: Attempt<'_>,
    request: &Request,
) -> Result<(Explanation, Option<Replaced>), Denied> {
    let limits = &app.settings.limits;
    let audience: Vec<_> = targets_asked(request, limits).into_iter().cloned().collect();
    let mut replaced = None;
    let judged = judge(app, attempt, request, |facts| {
        replaced = facts.key.replaced();
        let report = grant::explain(facts, request, limits)?;
        Ok((report, grant::decide(facts, request, limits)))
    })
    .await;
    let explanation = match judged {
        Ok(((report, decision), _)) => Explanation {
            granted: decision.is_ok(),
            audience,
            scope: report.granted,
            removed: report.removed,
            authorization_details: report.access,
            expires_in: decision.as_ref().ok().map(grant::Grant::expires_in),
            error: decision.is_err().then_some("invalid_scope"),
            reason: None,
        },
        Err(Denied::Target(fault)) => refused(audience, "invalid_target", Some(fault.as_str())),
        Err(Denied::Scope(ScopeFault::Malformed)) => refused(audience, "invalid_scope", None),
        Err(denied) => return Err(denied),
    };
    Ok((explanation, replaced))
}

fn refused(audience: Vec<Identifier>, error: &'static str, reason: Option<&'static str>) -> Explanation {
    Explanation {
        granted: false,
        audience,
        scope: PermissionSet::default(),
        removed: Vec::new(),
        authorization_details: Vec::new(),
        expires_in: None,
        error: Some(error),
        reason,
    }
}
