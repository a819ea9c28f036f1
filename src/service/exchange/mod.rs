//! The exchange of an API key for a signed token.

pub mod counts;

use serde::Serialize;

use crate::{
    crypto::{random, token::Token},
    domain::{
        access::{access_record::AuthorizationDetail, audience::Identifier, permission::PermissionSet},
        exchange::{
            claims::Claims,
            grant::{self, Grant, requested_targets},
            key_context::{CredentialReplacement, ExchangeParameters, KeyContext},
            refusal::{DenyReason, RemovedPermission, ScopeError},
            usage::RateLimitWindow,
        },
    },
    service::{
        Error, Services,
        credentials::{
            api_key::{VerifiedCredential, verify_api_key},
            error::AuthError,
            rate_limit,
            verify::PresentedCredential,
        },
        status_lists,
    },
    store::LookupDetail,
};

/// An issued token and its claims.
#[derive(Debug)]
pub struct IssuedToken {
    pub token: Token,
    pub claims: Claims,
    /// State of the key's rate limit, if it has one.
    pub window: Option<RateLimitWindow>,
    /// Set if a rotation has replaced the presented credential.
    pub replaced: Option<CredentialReplacement>,
}

/// Exchanges a key for a token.
pub async fn exchange(
    services: &Services,
    presented: PresentedCredential<'_>,
    request: &ExchangeParameters,
) -> Result<IssuedToken, AuthError> {
    issue_token(services, presented, request, |context| grant::decide(context, request, &services.settings.limits))
        .await
}

/// Like `exchange`, with a decision other than `grant::decide`.
pub(super) async fn issue_token(
    services: &Services,
    presented: PresentedCredential<'_>,
    request: &ExchangeParameters,
    decide: impl FnOnce(&KeyContext) -> Result<Grant, DenyReason>,
) -> Result<IssuedToken, AuthError> {
    let verified = verify_api_key(services, presented, request, LookupDetail::Context, async |context| {
        let grant = decide(context)?;
        let window = rate_limit::count_exchange(services, &context.key).await?;
        Ok((grant, window))
    });
    let issued = async {
        let VerifiedCredential { decision: (mut grant, window), context, .. } = verified.await?;
        let (snapshot, algorithm) = (services.keys.snapshot_at(context.now).await, grant.token_profile.algorithm);
        let signer = snapshot.signer(algorithm, services.settings.signing_keys.algorithm, context.now)?;
        let jti = random::generate_token_id(&services.entropy)?;
        grant.status = status_lists::assign_token_index(services, &grant, &jti).await?;
        services.live_tokens.count_token(&signer.jwk().kid, grant.expires_at);
        let typ = grant.token_profile.typ.clone();
        let claims = grant.into_claims(services.issuer(), jti);
        let token = signer.sign_token(&typ, &claims).await?;
        Ok(IssuedToken { token, claims, window, replaced: context.key.replacement() })
    };
    issued.await.inspect_err(|error| {
        if let AuthError::Failed(Error::Unavailable(cause)) = error
            && let Some(reason) = cause.signing_refusal()
        {
            services.metrics.record_signing_refusal(reason);
        }
    })
}

/// The result that an exchange would have.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Explanation {
    /// Whether the exchange would return a token.
    pub granted: bool,
    pub audience: Vec<Identifier>,
    /// Permissions that pass every rule.
    pub scope: PermissionSet,
    /// Permissions that do not pass every rule.
    pub removed: Vec<RemovedPermission>,
    /// Permissions of the scope with the resources they apply to, as defined by access records.
    /// Absent if no access record applies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<AuthorizationDetail>,
    /// Lifetime of the token in seconds. Null if the exchange would not return a token.
    pub expires_in: Option<i64>,
    /// The error code that the exchange would return. Null if it would return a token.
    pub error: Option<&'static str>,
    /// Why the audiences are not accepted. Null if they are not the cause of the error.
    #[schema(pattern = "^(too_many|unknown|shape|claims|access)$")]
    pub reason: Option<&'static str>,
}

/// Returns the expected outcome of an exchange with the reasons, and whether a rotation has
/// replaced the presented credential. Signs nothing.
///
/// A key that is not accepted yields the same error as the exchange. Refusals of the scope or
/// target are part of the explanation and not errors.
pub async fn explain(
    services: &Services,
    presented: PresentedCredential<'_>,
    request: &ExchangeParameters,
) -> Result<(Explanation, Option<CredentialReplacement>), AuthError> {
    let limits = &services.settings.limits;
    let audience = requested_targets(request, limits).into_iter().cloned().collect();
    let mut replaced = None;
    let verified = verify_api_key(services, presented, request, LookupDetail::Context, async |context| {
        replaced = context.key.replacement();
        Ok((grant::explain(context, request, limits)?, grant::decide(context, request, limits)))
    })
    .await;
    let mut explanation = Explanation { audience, ..Explanation::default() };
    match verified.map(|verified| verified.decision) {
        Ok((evaluation, decision)) => {
            explanation.granted = decision.is_ok();
            explanation.scope = evaluation.granted;
            explanation.removed = evaluation.removed;
            explanation.authorization_details = evaluation.authorization_details;
            explanation.expires_in = decision.as_ref().ok().map(Grant::expires_in);
            explanation.error = decision.is_err().then_some("invalid_scope");
        }
        Err(AuthError::Target(fault)) => {
            explanation.error = Some("invalid_target");
            explanation.reason = Some(fault.as_str());
        }
        Err(AuthError::Scope(ScopeError::Malformed)) => explanation.error = Some("invalid_scope"),
        Err(error) => return Err(error),
    }
    Ok((explanation, replaced))
}
