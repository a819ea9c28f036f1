//! The exchange of an API key for a signed token.

pub mod counts;
pub mod large_tokens;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    crypto::{random, token::Token},
    domain::{
        access::{access_record::AuthorizationDetail, audience::Identifier, permission::PermissionSet},
        common::time::Timestamp,
        exchange::{
            claims::Claims,
            grant::{self, Grant, requested_targets},
            key_context::{CredentialEnd, ExchangeParameters, KeyContext},
            presented_token::issue_time,
            refusal::{DenyReason, RemovedPermission, ScopeError, TargetError},
            token_size::{LARGE_TOKEN_SIZE, LargestPart},
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
    store::{self, Conn, LookupDetail},
    telemetry::labels::LargeTokenResult,
};

/// An issued token and its content.
#[derive(Debug)]
pub struct IssuedToken {
    pub token: Token,
    pub grant: Grant,
    pub jti: String,
    /// State of the key's rate limit, if it has one.
    pub window: Option<RateLimitWindow>,
    /// When the presented credential stops working.
    pub credential_end: CredentialEnd,
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
    verify_and_sign(services, presented, request, decide).await.inspect_err(|error| {
        if let AuthError::Scope(ScopeError::TokenTooLarge(_)) = error {
            services.metrics.record_large_token(LargeTokenResult::Refused);
        }
        if let AuthError::Failed(Error::Unavailable(cause)) = error
            && let Some(reason) = cause.signing_refusal()
        {
            services.metrics.record_signing_refusal(reason);
        }
    })
}

async fn verify_and_sign(
    services: &Services,
    presented: PresentedCredential<'_>,
    request: &ExchangeParameters,
    decide: impl FnOnce(&KeyContext) -> Result<Grant, DenyReason>,
) -> Result<IssuedToken, AuthError> {
    let verified = verify_api_key(services, presented, request, LookupDetail::Context, async |context| {
        let grant = decide(context)?;
        grant.check_token_size(&services.settings.limits)?;
        let window = rate_limit::count_exchange(services, &context.key, context.now).await?;
        Ok((grant, window))
    });
    let VerifiedCredential { decision: (mut grant, window), context, .. } = verified.await?;
    let (snapshot, algorithm) = (services.keys.snapshot_at(context.now).await, grant.token_profile.algorithm);
    let signer = snapshot.signer(algorithm, services.settings.signing_keys.algorithm, context.now)?;
    let jti = random::generate_token_id(&services.entropy)?;
    grant.status = status_lists::assign_token_index(services, &grant, &jti).await?;
    services.live_tokens.count_token(&signer.jwk().kid, grant.expires_at);
    let activated_at = snapshot.find_published(&signer.jwk().kid).and_then(|key| key.activated_at);
    if let Some(activated_at) = activated_at {
        grant.issued_at = issue_time(grant.issued_at, activated_at);
    }
    let claims = grant.claims(services.issuer(), &jti);
    let token = signer.sign_token(&grant.token_profile.typ, &claims).await?;
    if token.expose().len() > LARGE_TOKEN_SIZE {
        report_large_token(services, &token, &claims, context.now);
    }
    Ok(IssuedToken { token, grant, jti, window, credential_end: context.key.credential_end() })
}

/// Counts a token that some servers refuse, and logs it once per key and hour.
fn report_large_token(services: &Services, token: &Token, claims: &Claims<'_>, now: Timestamp) {
    services.metrics.record_large_token(LargeTokenResult::Issued);
    if services.logged_large_tokens.should_log(&claims.key_id, now) {
        let (bytes, LargestPart { name: largest_part, remedy }) = (token.expose().len(), claims.largest_part());
        tracing::warn!(
            key = %claims.key_id,
            bytes,
            largest_part,
            remedy,
            "issued a token of more than {LARGE_TOKEN_SIZE} bytes, which some servers refuse in a header"
        );
    }
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
    /// Whether the token would have `authorization_details` instead of a scope.
    pub record_bound: bool,
    /// Permissions of the scope with the resources they apply to, as defined by access records.
    /// Absent if no access record applies and the token would not be record-bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub authorization_details: Option<Vec<AuthorizationDetail>>,
    /// Lifetime of the token in seconds. Null if the exchange would not return a token.
    pub expires_in: Option<i64>,
    /// The error code that the exchange would return. Null if it would return a token.
    pub error: Option<&'static str>,
    /// Why the audiences are not accepted, `lifetime` if `expires_in` is too long, or `token_size`
    /// if the token would be larger than `tokens.max_size`. Null if the error has another cause.
    #[schema(pattern = "^(too_many|unknown|token_profile|claims|access|lifetime|token_size)$")]
    pub reason: Option<&'static str>,
    /// Audiences that the key may use and whose identifiers differ from a refused one only in case,
    /// a default port, dot segments or slashes at the end.
    pub similar_audiences: Vec<Identifier>,
}

/// Returns the expected outcome of an exchange with the reasons, and when the presented credential
/// stops working. Signs nothing.
///
/// A key that is not accepted yields the same error as the exchange. Refusals of the scope or
/// target are part of the explanation and not errors.
pub async fn explain(
    services: &Services,
    presented: PresentedCredential<'_>,
    request: &ExchangeParameters,
) -> Result<(Explanation, CredentialEnd), AuthError> {
    let limits = &services.settings.limits;
    let audience = requested_targets(request, limits).into_iter().cloned().collect();
    let mut credential_end = CredentialEnd::default();
    let mut key_audiences = None;
    let verified = verify_api_key(services, presented, request, LookupDetail::Context, async |context| {
        credential_end = context.key.credential_end();
        key_audiences = context.key.audiences.clone();
        let decision = grant::decide(context, request, limits);
        let decision = decision.and_then(|grant| grant.check_token_size(limits).map(|()| grant));
        Ok((grant::explain(context, request, limits)?, decision))
    })
    .await;
    let mut explanation = Explanation { audience, ..Explanation::default() };
    match verified.map(|verified| verified.decision) {
        Ok((evaluation, decision)) => {
            explanation.granted = decision.is_ok();
            explanation.scope = evaluation.granted;
            explanation.removed = evaluation.removed;
            explanation.record_bound = evaluation.record_bound;
            explanation.authorization_details = evaluation.authorization_details;
            explanation.expires_in = decision.as_ref().ok().map(Grant::expires_in);
            (explanation.error, explanation.reason) = match decision {
                Ok(_) => (None, None),
                Err(DenyReason::Lifetime(_)) => (Some("invalid"), Some("lifetime")),
                Err(DenyReason::Scope(ScopeError::TokenTooLarge(_))) => (Some("invalid_scope"), Some("token_size")),
                Err(_) => (Some("invalid_scope"), None),
            };
        }
        Err(AuthError::Target(fault)) => {
            explanation.error = Some("invalid_target");
            explanation.reason = Some(fault.as_str());
            if matches!(fault, TargetError::Unknown | TargetError::NotAllowed) {
                explanation.similar_audiences =
                    find_similar_audiences(services, &explanation.audience, key_audiences).await?;
            }
        }
        Err(AuthError::Scope(ScopeError::Malformed)) => explanation.error = Some("invalid_scope"),
        Err(error) => return Err(error),
    }
    Ok((explanation, credential_end))
}

/// Returns the audiences that were probably meant by `requested`, and which the key may use: others
/// are not disclosed.
async fn find_similar_audiences(
    services: &Services,
    requested: &[Identifier],
    key_audiences: Option<Vec<Identifier>>,
) -> Result<Vec<Identifier>, Error> {
    let requested: BTreeSet<_> = requested.iter().cloned().collect();
    let find = {
        let requested = requested.clone();
        move |connection: &mut Conn| store::access::audiences::find_similar(connection, &requested)
    };
    let similar = services.store.read(find).await?.into_iter().map(|audience| audience.identifier);
    let may_use = |identifier: &Identifier| key_audiences.as_ref().is_none_or(|allowed| allowed.contains(identifier));
    Ok(similar.filter(|identifier| !requested.contains(identifier) && may_use(identifier)).collect())
}
