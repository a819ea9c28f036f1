//! Verification of API keys and tokens that a service has received. Every fault yields the same
//! result after the same time, as at the exchange.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::{
    domain::{
        access::{audience::Identifier, token_profile::Typ},
        credentials::error::KeyFault,
        exchange::{
            claims::Claims,
            facts::{Facts, Request},
            refusal::{Refusal, TargetFault},
            validation::Bounds,
        },
    },
    service::{
        App,
        credentials::{
            brute_force::Source,
            caller::is_token,
            error::Denied,
            token,
            verify::{Attempt, Ways, judge_with, outcome_of, refused, require_trusted, wait_for_tick},
        },
    },
    telemetry::labels::{Form, Result as Outcome},
};

/// A key or token that is accepted.
#[derive(Debug)]
pub(crate) struct Judged<T, X> {
    pub ruling: T,
    pub facts: Facts,
    /// Additional data of the lookup.
    pub more: X,
    /// Present for a token.
    pub claims: Option<Claims>,
}

/// Applies `rule` to a key or token that a service has received. Returns `None` if it is not
/// accepted, regardless of the reason. `value` may begin with `Bearer`. `audiences` are those of
/// the service, if they are known: a token must be for one of them. Failures do not count against
/// the service, because third parties could exhaust its budget and lock it out.
pub(crate) async fn judge_shown<T, X: Send + 'static>(
    app: &App,
    value: &str,
    audiences: Option<&BTreeSet<Identifier>>,
    ways: Ways<X>,
    rule: impl FnOnce(&Facts, &Bounds) -> Result<T, Refusal>,
) -> Result<Option<Judged<T, X>>, Denied> {
    let started = Instant::now();
    require_trusted(app)?;
    let value = bare(value);
    let judged = if is_token(value) {
        by_token(app, value, audiences, started, ways, rule).await
    } else {
        by_key(app, value, audiences, ways, rule).await
    };
    match judged {
        Ok(judged) => Ok(Some(judged)),
        Err(Denied::Key) => Ok(None),
        // A valid key or token for another audience looks like any other refusal, including its
        // timing.
        Err(Denied::Target(_) | Denied::Scope(_)) => {
            wait_for_tick(app, started).await;
            Ok(None)
        }
        Err(
            denied @ (Denied::OnBehalfOf(_)
            | Denied::Throttled(_)
            | Denied::Limited(_)
            | Denied::Unavailable(_)
            | Denied::Restored
            | Denied::Internal(_)),
        ) => Err(denied),
    }
}

/// Returns the key or token without the scheme, which is not case-sensitive (RFC 6750 §2.1).
fn bare(value: &str) -> &str {
    let value = value.trim_matches(' ');
    match value.split_once(' ') {
        Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => credential.trim_matches(' '),
        Some(_) | None => value,
    }
}

async fn by_key<T, X: Send + 'static>(
    app: &App,
    key: &str,
    audiences: Option<&BTreeSet<Identifier>>,
    ways: Ways<X>,
    rule: impl FnOnce(&Facts, &Bounds) -> Result<T, Refusal>,
) -> Result<Judged<T, X>, Denied> {
    let bounds = Bounds { scope: None, audiences: audiences.cloned().unwrap_or_default() };
    let request = Request { targets: bounds.audiences.clone(), ..Request::default() };
    let attempt = Attempt { key, source: Source::BEHIND_ANOTHER, form: Form::Validation };
    let (ruling, facts, more) = judge_with(app, attempt, &request, ways, |facts| rule(facts, &bounds)).await?;
    Ok(Judged { ruling, facts, more, claims: None })
}

async fn by_token<T, X: Send + 'static>(
    app: &App,
    token: &str,
    audiences: Option<&BTreeSet<Identifier>>,
    started: Instant,
    ways: Ways<X>,
    rule: impl FnOnce(&Facts, &Bounds) -> Result<T, Refusal>,
) -> Result<Judged<T, X>, Denied> {
    let (outcome, result) = match judged_token(app, token, audiences, ways, rule).await {
        Ok(judged) => (Outcome::Granted, Ok(judged)),
        Err((outcome, denied)) => (outcome, Err(denied)),
    };
    if matches!(result, Err(Denied::Key)) {
        wait_for_tick(app, started).await;
    }
    app.metrics.exchanged(Form::Validation, outcome, started.elapsed());
    result
}

/// A token that is in force is judged by the current state of its key. Of its own claims only the
/// audience and the scope limit it further. A signature cannot be guessed, so the brute-force
/// limiter does not count failures.
async fn judged_token<T, X: Send + 'static>(
    app: &App,
    token: &str,
    audiences: Option<&BTreeSet<Identifier>>,
    ways: Ways<X>,
    rule: impl FnOnce(&Facts, &Bounds) -> Result<T, Refusal>,
) -> Result<Judged<T, X>, (Outcome, Denied)> {
    let fault = |fault: KeyFault| refused(Form::Validation, None, fault);
    let verified = app.keys.view().verify_any(token, app.issuer());
    let (typ, claims) = verified.ok_or_else(|| fault(KeyFault::Malformed))?;
    let elsewhere = || (Outcome::Target, Denied::Target(TargetFault::NotAllowed));
    let bounds = bounds(app, &claims, audiences).ok_or_else(elsewhere)?;

    let found = token::found(app, &claims, &bounds.audiences, ways.look).await;
    let (facts, more) = found.map_err(|denied| (outcome_of(&denied), denied))?.map_err(fault)?;
    if typ != Typ::ACCESS_TOKEN && !facts.audiences.iter().any(|audience| audience.shape.typ == typ) {
        return Err(fault(KeyFault::Malformed));
    }
    match rule(&facts, &bounds) {
        Ok(ruling) => {
            app.last_used.note(&facts.key.id, facts.key.credential, facts.now, Form::Validation.is_use());
            Ok(Judged { ruling, facts, more, claims: Some(claims) })
        }
        Err(Refusal::Key(found)) => Err(fault(found)),
        Err(Refusal::Scope(found)) => Err((Outcome::Scope, Denied::Scope(found))),
        Err(Refusal::Target(found)) => Err((Outcome::Target, Denied::Target(found))),
    }
}

/// Returns the limits from the claims of a token, or `None` if it is for none of the requested
/// audiences. A token for the management audience is accepted only if this audience is requested by
/// name, because no service of a product needs such a token.
fn bounds(app: &App, claims: &Claims, asked: Option<&BTreeSet<Identifier>>) -> Option<Bounds> {
    let management = &app.settings.management_audience;
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
    Some(Bounds { scope: Some(scope.chain(scp).collect::<Result<_, _>>().ok()?), audiences })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_may_stand_before_the_key() {
        for text in ["key", "Bearer key", "bearer key", " BEARER  key "] {
            assert_eq!(bare(text), "key", "{text:?}");
        }
        for text in ["Basic key", "Bearerkey", "a key"] {
            assert_eq!(bare(text), text);
        }
    }
}
