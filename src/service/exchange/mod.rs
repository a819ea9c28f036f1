//! The exchange of an API key for a signed token.

pub mod counts;
pub mod flushed_counts;

use serde::Serialize;

use crate::{
    crypto::{random, token::Token},
    domain::{
        access::{access_record::AuthorizationDetail, audience::Identifier, permission::PermissionSet},
        common::id::KeyId,
        exchange::{
            facts::{CredentialReplacement, KeyContext, Request},
            grant::{self, Grant, requested_targets},
            refusal::{DenyReason, RemovedPermission, ScopeError},
            usage::RateLimitWindow,
        },
    },
    service::{
        Services,
        credentials::{
            error::AuthError,
            verify::{PresentedCredential, VerifiedGrant, judge, judge_counted},
        },
        status_lists,
    },
};

/// An issued token and what it grants.
#[derive(Debug)]
pub struct IssuedToken {
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
    pub window: Option<RateLimitWindow>,
    /// Set if a rotation has replaced the presented credential.
    pub replaced: Option<CredentialReplacement>,
    /// The `authorization_details` of the token.
    pub access: Vec<AuthorizationDetail>,
}

/// Exchanges a key for a token.
pub async fn exchange(
    services: &Services,
    attempt: PresentedCredential<'_>,
    request: &Request,
) -> Result<IssuedToken, AuthError> {
    issue_token(services, attempt, request, |facts| grant::decide(facts, request, &services.settings.limits)).await
}

/// Like `exchange`, with a decision other than `grant::decide`.
pub(super) async fn issue_token(
    services: &Services,
    attempt: PresentedCredential<'_>,
    request: &Request,
    decide: impl FnOnce(&KeyContext) -> Result<Grant, DenyReason>,
) -> Result<IssuedToken, AuthError> {
    let judged = judge_counted(services, attempt, request, decide);
    let VerifiedGrant { mut grant, window, facts, .. } = judged.await?;
    let view = services.keys.snapshot_at(facts.now).await;
    let minter = view.signer(grant.token_profile.algorithm, services.settings.algorithm, facts.now);
    let minter = minter.map_err(|why| {
        services.metrics.record_signing_refusal(why.as_str());
        AuthError::Unavailable(why.to_string())
    })?;
    let jti = random::generate_token_id(&services.entropy).map_err(|error| AuthError::Internal(error.to_string()))?;
    grant.status = status_lists::assign_token_index(services, &grant, &jti).await?;
    let (expires_in, expires_at, scope) = (grant.expires_in(), grant.expires_at, grant.scope.clone());
    let (typ, access) = (grant.token_profile.typ.clone(), grant.authorization_details.clone());
    let claims = grant.into_claims(services.issuer(), jti);
    services.live_tokens.count(&minter.jwk().kid, expires_at);
    let token = minter.sign_token(&typ, &claims).await.map_err(|error| AuthError::Internal(error.to_string()))?;
    let (jti, key, replaced) = (claims.jti, claims.key_id, facts.key.replacement());
    Ok(IssuedToken { token, jti, key, expires_in, expires_at, scope, access, window, replaced })
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
    pub removed: Vec<RemovedPermission>,
    /// The resources that permissions of the scope apply to, as far as access records specify them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<AuthorizationDetail>,
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
    services: &Services,
    attempt: PresentedCredential<'_>,
    request: &Request,
) -> Result<(Explanation, Option<CredentialReplacement>), AuthError> {
    let limits = &services.settings.limits;
    let audience: Vec<_> = requested_targets(request, limits).into_iter().cloned().collect();
    let mut replaced = None;
    let judged = judge(services, attempt, request, |facts| {
        replaced = facts.key.replacement();
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
            authorization_details: report.authorization_details,
            expires_in: decision.as_ref().ok().map(grant::Grant::expires_in),
            error: decision.is_err().then_some("invalid_scope"),
            reason: None,
        },
        Err(AuthError::Target(fault)) => refused_explanation(audience, "invalid_target", Some(fault.as_str())),
        Err(AuthError::Scope(ScopeError::Malformed)) => refused_explanation(audience, "invalid_scope", None),
        Err(denied) => return Err(denied),
    };
    Ok((explanation, replaced))
}

fn refused_explanation(audience: Vec<Identifier>, error: &'static str, reason: Option<&'static str>) -> Explanation {
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
