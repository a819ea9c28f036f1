//! What a service was shown and asks about: an API key or a token. Every fault looks the same to it, in time too, as on the exchange.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::{
    domain::{
        audience::Identifier,
        claims::Claims,
        grant::{Facts, KeyFault, Refusal, Request, TargetFault},
        token_shape::Typ,
        validation::Bounds,
    },
    telemetry::metrics::{Form, Result as Outcome},
};

use super::{
    App,
    caller::is_token,
    guessing::Source,
    proof::{Attempt, Denied, Ways, judge_with, outcome_of, refused, require_trusted, wait_for_tick},
    tokens,
};

/// What was shown and is accepted.
#[derive(Debug)]
pub(super) struct Judged<T, X> {
    pub ruling: T,
    pub facts: Facts,
    /// What was looked up beside them.
    pub more: X,
    /// Of a token.
    pub claims: Option<Claims>,
}

/// Asks `rule` about what was shown; nothing where it is not accepted, whatever the reason. `value` is as it came, with or without
/// `Bearer` before it; `audiences` are those of the service that asks, where it is not just anyone: a token must be for one of them. What
/// others show a service is no guess of the service's: with its budget they could spend its access.
///
/// # Errors
/// Too many failures with this credential; the database is away.
pub(super) async fn judge_shown<T, X: Send + 'static>(
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
        // A right key in the wrong place looks like any other refusal, in time too.
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

/// The key or token alone (RFC 6750 §2.1: the scheme in any case).
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

/// A token is as good as its key is now: of what it says, only the audience and the scope bound it further. There is nothing to
/// guess in a signature, so no failure is budgeted.
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

    let found = tokens::found(app, &claims, &bounds.audiences, ways.look).await;
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

/// What a token says of itself; nothing when it is for none of the audiences that ask. One for Keyswap itself counts only where that is
/// asked for by name: no product's service has a use for it.
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
