//! Authorization of exchanges: `decide` evaluates a key context and a request, and grants or
//! refuses. All functions are pure. Explain, validation and the management API apply the same
//! rules, so that their answers cannot contradict each other.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::domain::{
    access::{
        access_record::AuthorizationDetail,
        audience::{Audience, Identifier},
        permission::PermissionSet,
        token_profile::{AudienceClaimFormat, ScopeClaimFormat, StatusSubject, TokenProfile},
    },
    common::{
        derived_id::CredentialId,
        id::{KeyId, OrganizationId},
        time::Span,
    },
    credentials::error::CredentialError,
    exchange::{
        claims::{AudienceClaim, Claims, StatusClaim, Subject},
        key_context::{ExchangeParameters, KeyContext, Limits},
        refusal::{DenyReason, ScopeError, ScopeEvaluation, TargetError},
        scope::{apply_access_records, evaluate_scope},
    },
    status_lists::StatusListIndex,
};

/// Maximum number of targets in one request. Legitimate clients need no more.
pub const MAX_TARGETS: usize = 8;

/// Content of the token to sign. A confirmation claim (`cnf`, RFC 7800) is not supported yet and
/// belongs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub key: KeyId,
    pub credential_id: CredentialId,
    pub subject: Subject,
    pub organization: Option<OrganizationId>,
    pub audience: AudienceClaim,
    /// The granted permissions. The token of a record-bound grant does not contain them: its
    /// `authorization_details` state to which resources they apply.
    pub scope: PermissionSet,
    pub record_bound: bool,
    /// Seconds since 1970-01-01T00:00:00Z, as is `expires_at`.
    pub issued_at: i64,
    pub expires_at: i64,
    /// Profile of the token.
    pub token_profile: TokenProfile,
    /// The `authorization_details` of the token: which permissions of the scope apply to which
    /// resources, according to the access records. `None` if no access record applies and the token
    /// is not record-bound.
    pub authorization_details: Option<Vec<AuthorizationDetail>>,
    /// Claims from metadata, as mapped by the audience.
    pub mapped_claims: Map<String, Value>,
    /// Status list index of the token: that of the credential, until the token is assigned its own.
    pub status: Option<StatusListIndex>,
    /// `StatusSubject::Token` if an audience requires a status list index for each token.
    pub status_subject: StatusSubject,
}

impl Grant {
    pub fn expires_in(&self) -> i64 {
        self.expires_at - self.issued_at
    }

    /// Returns the `client_id` claim: the id of the service client, or of the key for other
    /// subjects.
    pub fn client_id(&self) -> &str {
        self.subject.client_id(&self.key)
    }

    /// Returns the scope of the token, or `None` if the token has none.
    pub fn token_scope(&self) -> Option<&PermissionSet> {
        Some(&self.scope).filter(|scope| !scope.is_empty() && !self.record_bound)
    }

    /// Returns the claims of the token with the id `jti`.
    pub fn claims<'a>(&'a self, issuer: &'a str, jti: &'a str) -> Claims<'a> {
        let (scope, scp) = match (self.token_scope(), self.token_profile.scope_claim) {
            (None, _) => (None, None),
            (Some(scope), ScopeClaimFormat::Scope) => (Some(scope.to_string()), None),
            (Some(scope), ScopeClaimFormat::Scp) => {
                (None, Some(scope.iter().map(|name| Cow::Borrowed(name.as_str())).collect()))
            }
        };
        Claims {
            iss: issuer.into(),
            sub: self.subject.id(),
            sub_type: self.subject.kind().into(),
            aud: Cow::Borrowed(&self.audience),
            exp: self.expires_at,
            iat: self.issued_at,
            jti: jti.into(),
            client_id: self.client_id().into(),
            scope,
            scp,
            key_id: self.key.clone(),
            org_id: self.organization.as_ref().map(Cow::Borrowed),
            authorization_details: self.authorization_details.as_deref().map(Cow::Borrowed),
            status: self.status.as_ref().map(|place| StatusClaim::new(issuer, place)),
            mapped_claims: Cow::Borrowed(&self.mapped_claims),
        }
    }
}

/// Decides an exchange. The caller must have verified the secret of the key: this function has no
/// access to secrets.
///
/// If several checks fail, the first one in this order is returned: state of the key, `client_id`,
/// target, scope, a token that would expire in the second in which it is issued, and lifetime.
pub fn decide(context: &KeyContext, request: &ExchangeParameters, limits: &Limits) -> Result<Grant, DenyReason> {
    let owner = context.key.check_in_force(context.now, limits).map_err(DenyReason::Credential)?;
    if request.client_id.as_deref().is_some_and(|id| !context.key.accepts_client_id(id)) {
        return Err(DenyReason::Credential(CredentialError::ClientIdMismatch));
    }
    let audiences = resolve_targets(context, request, limits).map_err(DenyReason::Target)?;
    let (token_profile, mapped_claims) = token_profile(context, &audiences, limits).map_err(DenyReason::Target)?;
    let evaluation = evaluate_scope(&context.key, &owner, &audiences, request.scope.as_ref());
    let evaluation = apply_access_records(evaluation, &context.key, &audiences, &mapped_claims, limits)
        .map_err(DenyReason::Target)?;
    if request.scope.is_some() && !evaluation.removed.is_empty() {
        return Err(DenyReason::Scope(ScopeError::ExceedsGrantable(evaluation.removed)));
    }
    let may_be_empty = evaluation.is_emptied_by_records() || context.key.permissions.is_empty();
    if evaluation.granted.is_empty() && !(may_be_empty && request.scope.is_none()) {
        return Err(DenyReason::Scope(ScopeError::Empty(evaluation.removed)));
    }

    let issued_at = context.now.seconds();
    let expires_at = token_expiration(context, &audiences, request.requested_ttl, limits)?;
    Ok(Grant {
        key: context.key.id.clone(),
        credential_id: context.key.credential_id,
        subject: context.key.subject(),
        organization: context.key.ownership.owner_scope.organization().cloned(),
        audience: build_audience_claim(&audiences, token_profile.aud_claim),
        scope: evaluation.granted,
        record_bound: evaluation.record_bound,
        authorization_details: evaluation.authorization_details,
        issued_at,
        expires_at,
        token_profile,
        mapped_claims,
        status: context.key.status.clone(),
        status_subject: status_subject(&audiences),
    })
}

/// Returns `StatusSubject::Token` if one audience requires it: a token with its own status also
/// becomes invalid with its credential, as the other audiences expect.
fn status_subject(audiences: &[&Audience]) -> StatusSubject {
    let requires_own = |audience: &&Audience| audience.token_profile.status == StatusSubject::Token;
    if audiences.iter().any(requires_own) { StatusSubject::Token } else { StatusSubject::Credential }
}

/// Evaluates the requested scope by the rules of `decide`, without the check of `client_id`, and
/// reports every permission with the rule that removed it. Fails only if the key or the target is
/// refused: there is no scope to report then.
pub fn explain(
    context: &KeyContext,
    request: &ExchangeParameters,
    limits: &Limits,
) -> Result<ScopeEvaluation, DenyReason> {
    let owner = context.key.check_in_force(context.now, limits).map_err(DenyReason::Credential)?;
    let audiences = resolve_targets(context, request, limits).map_err(DenyReason::Target)?;
    let (_, mapped_claims) = token_profile(context, &audiences, limits).map_err(DenyReason::Target)?;
    let evaluation = evaluate_scope(&context.key, &owner, &audiences, request.scope.as_ref());
    apply_access_records(evaluation, &context.key, &audiences, &mapped_claims, limits).map_err(DenyReason::Target)
}

/// Returns the audiences that a request names, or the default audience if it names none.
pub fn requested_targets<'a>(request: &'a ExchangeParameters, limits: &'a Limits) -> Vec<&'a Identifier> {
    if request.targets.is_empty() { vec![&limits.default_audience] } else { request.targets.iter().collect() }
}

fn resolve_targets<'a>(
    context: &'a KeyContext,
    request: &'a ExchangeParameters,
    limits: &'a Limits,
) -> Result<Vec<&'a Audience>, TargetError> {
    let targets = requested_targets(request, limits);
    if targets.len() > MAX_TARGETS {
        return Err(TargetError::TooMany);
    }
    targets
        .into_iter()
        .map(|identifier| {
            if context.key.audiences.as_ref().is_some_and(|allowed| !allowed.contains(identifier)) {
                return Err(TargetError::NotAllowed);
            }
            context.audiences.iter().find(|audience| audience.identifier == *identifier).ok_or(TargetError::Unknown)
        })
        .collect()
}

/// Returns the common token profile of the audiences, and the mapped claims.
fn token_profile(
    context: &KeyContext,
    audiences: &[&Audience],
    limits: &Limits,
) -> Result<(TokenProfile, Map<String, Value>), TargetError> {
    let Some((first, others)) = audiences.split_first() else { return Err(TargetError::Unknown) };
    if !others.iter().all(|other| first.token_profile.is_compatible_with(&other.token_profile, limits.algorithm)) {
        return Err(TargetError::ProfileMismatch);
    }
    let mapped_claims = first.token_profile.claims.collect(&context.sources).map_err(|_| TargetError::Claims)?;
    Ok((first.token_profile.clone(), mapped_claims))
}

/// Returns the expiration time of the token in seconds since 1970-01-01T00:00:00Z: no later than
/// that of the key and of its credential.
fn token_expiration(
    context: &KeyContext,
    audiences: &[&Audience],
    requested: Option<Span>,
    limits: &Limits,
) -> Result<i64, DenyReason> {
    let issued_at = context.now.seconds();
    let ends = [context.key.lifecycle.expires_at, context.key.credential_expires_at];
    let left = ends.into_iter().flatten().min().map(|end| end.seconds().saturating_sub(issued_at));
    if left.is_some_and(|left| left <= 0) {
        // The token would expire in the second in which it is issued: token times are whole
        // seconds.
        return Err(DenyReason::Credential(CredentialError::Expired));
    }
    let left = left.and_then(|left| u64::try_from(left).ok()).map(Span::from_secs);
    let ttl = token_ttl(context, audiences, requested, left, limits).map_err(DenyReason::Lifetime)?;
    Ok(issued_at.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)))
}

/// Returns the lifetime of the token: the requested one, or the default. No lifetime exceeds that
/// of an audience, of the deployment or of the key, or the time that is left for the key and its
/// credential. A longer request is refused with the longest lifetime that would be granted.
fn token_ttl(
    context: &KeyContext,
    audiences: &[&Audience],
    requested: Option<Span>,
    left: Option<Span>,
    limits: &Limits,
) -> Result<Span, Span> {
    let ceilings = [Some(limits.max_ttl), context.key.max_token_ttl, left].into_iter().flatten();
    let longest = audiences.iter().filter_map(|audience| audience.token_ttl).chain(ceilings).min();
    let longest = longest.unwrap_or(limits.max_ttl);
    match requested {
        Some(requested) if requested > longest => Err(longest),
        Some(requested) => Ok(requested),
        None if audiences.iter().any(|audience| audience.token_ttl.is_none()) => Ok(longest.min(limits.default_ttl)),
        None => Ok(longest),
    }
}

fn build_audience_claim(audiences: &[&Audience], form: AudienceClaimFormat) -> AudienceClaim {
    match audiences {
        [one] if form == AudienceClaimFormat::String => AudienceClaim::One(one.identifier.clone()),
        several => AudienceClaim::Multiple(several.iter().map(|audience| audience.identifier.clone()).collect()),
    }
}
