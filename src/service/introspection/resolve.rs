//! Verification of API keys and tokens that a service has received. Every fault yields the same
//! result after the same time, as at the exchange.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::{
    domain::{
        access::{audience::Identifier, token_profile::TokenTypeHeader},
        credentials::error::CredentialError,
        exchange::{
            claims::Claims,
            facts::{KeyContext, Request},
            refusal::{DenyReason, TargetError},
            validation::CredentialBounds,
        },
    },
    service::{
        Services,
        credentials::{
            brute_force::Source,
            caller::has_token_format,
            error::AuthError,
            token,
            verify::{
                PresentedCredential, Ways, judge_with, metric_result, refused, require_trusted, wait_for_deadline,
            },
        },
    },
    telemetry::labels::{Form, Result as Outcome},
};

/// A key or token that is accepted.
#[derive(Debug)]
pub(crate) struct AcceptedCredential<T, X> {
    pub decision: T,
    pub facts: KeyContext,
    /// Additional data of the lookup.
    pub more: X,
    /// Present for a token.
    pub claims: Option<Claims>,
}

/// Applies `rule` to a key or token that a service has received. Returns `None` if it is not
/// accepted, regardless of the reason. `value` may begin with `Bearer`. `audiences` are those of
/// the service, if they are known: a token must be for one of them. Failures do not count against
/// the service, because third parties could exhaust its budget and lock it out.
pub(crate) async fn verify_presented_credential<T, X: Send + 'static>(
    services: &Services,
    value: &str,
    audiences: Option<&BTreeSet<Identifier>>,
    ways: Ways<X>,
    rule: impl FnOnce(&KeyContext, &CredentialBounds) -> Result<T, DenyReason>,
) -> Result<Option<AcceptedCredential<T, X>>, AuthError> {
    let started = Instant::now();
    require_trusted(services)?;
    let value = strip_bearer_scheme(value);
    let judged = if has_token_format(value) {
        verify_presented_token(services, value, audiences, started, ways, rule).await
    } else {
        verify_presented_key(services, value, audiences, ways, rule).await
    };
    match judged {
        Ok(judged) => Ok(Some(judged)),
        Err(AuthError::Key) => Ok(None),
        // A valid key or token for another audience looks like any other refusal, including its
        // timing.
        Err(AuthError::Target(_) | AuthError::Scope(_)) => {
            wait_for_deadline(services, started).await;
            Ok(None)
        }
        Err(
            denied @ (AuthError::OnBehalfOf(_)
            | AuthError::Throttled(_)
            | AuthError::Limited(_)
            | AuthError::Unavailable(_)
            | AuthError::Restored
            | AuthError::Internal(_)),
        ) => Err(denied),
    }
}

/// Returns the key or token without the scheme, which is not case-sensitive (RFC 6750 §2.1).
fn strip_bearer_scheme(value: &str) -> &str {
    let value = value.trim_matches(' ');
    match value.split_once(' ') {
        Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => credential.trim_matches(' '),
        Some(_) | None => value,
    }
}

async fn verify_presented_key<T, X: Send + 'static>(
    services: &Services,
    key: &str,
    audiences: Option<&BTreeSet<Identifier>>,
    ways: Ways<X>,
    rule: impl FnOnce(&KeyContext, &CredentialBounds) -> Result<T, DenyReason>,
) -> Result<AcceptedCredential<T, X>, AuthError> {
    let bounds = CredentialBounds { scope: None, audiences: audiences.cloned().unwrap_or_default() };
    let request = Request { targets: bounds.audiences.clone(), ..Request::default() };
    let attempt = PresentedCredential { key, source: Source::UNKNOWN, form: Form::Validation };
    let (decision, facts, more) = judge_with(services, attempt, &request, ways, |facts| rule(facts, &bounds)).await?;
    Ok(AcceptedCredential { decision, facts, more, claims: None })
}

async fn verify_presented_token<T, X: Send + 'static>(
    services: &Services,
    token: &str,
    audiences: Option<&BTreeSet<Identifier>>,
    started: Instant,
    ways: Ways<X>,
    rule: impl FnOnce(&KeyContext, &CredentialBounds) -> Result<T, DenyReason>,
) -> Result<AcceptedCredential<T, X>, AuthError> {
    let (outcome, result) = match verify_token(services, token, audiences, ways, rule).await {
        Ok(judged) => (Outcome::Granted, Ok(judged)),
        Err((outcome, denied)) => (outcome, Err(denied)),
    };
    if matches!(result, Err(AuthError::Key)) {
        wait_for_deadline(services, started).await;
    }
    services.metrics.record_exchange(Form::Validation, outcome, started.elapsed());
    result
}

/// A token that is in force is judged by the current state of its key. Of its own claims only the
/// audience and the scope limit it further. A signature cannot be guessed, so the brute-force
/// limiter does not count failures.
async fn verify_token<T, X: Send + 'static>(
    services: &Services,
    token: &str,
    audiences: Option<&BTreeSet<Identifier>>,
    ways: Ways<X>,
    rule: impl FnOnce(&KeyContext, &CredentialBounds) -> Result<T, DenyReason>,
) -> Result<AcceptedCredential<T, X>, (Outcome, AuthError)> {
    let fault = |fault: CredentialError| refused(Form::Validation, None, fault);
    let verified = services.keys.view().verify_any(token, services.issuer());
    let (typ, claims) = verified.ok_or_else(|| fault(CredentialError::Malformed))?;
    let elsewhere = || (Outcome::Target, AuthError::Target(TargetError::NotAllowed));
    let bounds = token_bounds(services, &claims, audiences).ok_or_else(elsewhere)?;

    let found = token::found(services, &claims, &bounds.audiences, ways.look).await;
    let (facts, more) = found.map_err(|denied| (metric_result(&denied), denied))?.map_err(fault)?;
    if typ != TokenTypeHeader::ACCESS_TOKEN && !facts.audiences.iter().any(|audience| audience.token_profile.typ == typ)
    {
        return Err(fault(CredentialError::Malformed));
    }
    match rule(&facts, &bounds) {
        Ok(decision) => {
            services.last_used.note(
                &facts.key.id,
                facts.key.credential_id,
                facts.now,
                Form::Validation.counts_as_use(),
            );
            Ok(AcceptedCredential { decision, facts, more, claims: Some(claims) })
        }
        Err(DenyReason::Key(found)) => Err(fault(found)),
        Err(DenyReason::Scope(found)) => Err((Outcome::Scope, AuthError::Scope(found))),
        Err(DenyReason::Target(found)) => Err((Outcome::Target, AuthError::Target(found))),
    }
}

/// Returns the limits from the claims of a token, or `None` if it is for none of the requested
/// audiences. A token for the management audience is accepted only if this audience is requested by
/// name, because no service of a product needs such a token.
fn token_bounds(
    services: &Services,
    claims: &Claims,
    asked: Option<&BTreeSet<Identifier>>,
) -> Option<CredentialBounds> {
    let management = &services.settings.management_audience;
    let audiences: BTreeSet<_> = match asked {
        Some(asked) => asked.iter().filter(|asked| claims.aud.contains(asked.as_str())).cloned().collect(),
        None => claims.aud.all().iter().cloned().collect(),
    };
    let is_named = asked.is_some_and(|asked| asked.contains(management));
    if audiences.is_empty() || (claims.aud.contains(management.as_str()) && !is_named) {
        return None;
    }
    let scope = claims.scope.iter().flat_map(|scope| scope.split_ascii_whitespace()).map(str::parse);
    let scp = claims.scp.iter().flatten().map(|name| name.parse());
    Some(CredentialBounds { scope: Some(scope.chain(scp).collect::<Result<_, _>>().ok()?), audiences })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_may_stand_before_the_key() {
        for text in ["key", "Bearer key", "bearer key", " BEARER  key "] {
            assert_eq!(strip_bearer_scheme(text), "key", "{text:?}");
        }
        for text in ["Basic key", "Bearerkey", "a key"] {
            assert_eq!(strip_bearer_scheme(text), text);
        }
    }
}
