//! Validation: a service asks about a key or a token that it was shown, and has the whole answer from one call. Every fault looks
//! the same to it, as on the exchange.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::{
    domain::{
        claims::Claims,
        grant::{Facts, KeyFault, Refusal, Request, TargetFault},
        permission::PermissionSet,
        token_shape::Typ,
        validation::{Behind, Bounds, Question, missing},
    },
    store::{
        facts::Wanted,
        validation::{self as look, Whole},
    },
    telemetry::metrics::{Form, Result as Outcome},
};

use super::{
    App,
    api_keys::Shown,
    caller::is_token,
    guessing::Source,
    proof::{Attempt, Denied, judge_with, outcome_of, refused, wait_for_tick},
};

/// A key that is in force, and those behind it.
#[derive(Debug)]
pub struct Validated {
    pub shown: Shown,
    pub behind: Behind,
    /// The permissions that were required and are not in effect.
    pub missing: PermissionSet,
}

/// What there is to say of a key, or of a token and the key it was made from; nothing where it is not accepted, whatever the reason.
/// `value` is as it came, with or without `Bearer` before it.
///
/// # Errors
/// Too many failures with this credential; the database is away.
pub async fn validate(app: &App, value: &str, question: &Question) -> Result<Option<Validated>, Denied> {
    let started = Instant::now();
    let value = bare(value);
    let judged = if is_token(value) {
        by_token(app, value, question, started).await
    } else {
        by_key(app, value, question).await
    };
    match judged {
        Ok((missing, facts, (key, behind))) => {
            Ok(Some(Validated { shown: Shown::new(key, facts.now, &app.settings), behind, missing }))
        }
        Err(Denied::Key) => Ok(None),
        // A right key in the wrong place looks like any other refusal, in time too.
        Err(Denied::Target(_) | Denied::Scope(_)) => {
            wait_for_tick(started).await;
            Ok(None)
        }
        Err(
            denied @ (Denied::OnBehalfOf(_)
            | Denied::Throttled(_)
            | Denied::Limited(_)
            | Denied::Unavailable(_)
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

type Judged = (PermissionSet, Facts, Whole);

async fn by_key(app: &App, key: &str, question: &Question) -> Result<Judged, Denied> {
    let bounds = Bounds { scope: None, audiences: question.audience.iter().cloned().collect() };
    let request = Request { targets: bounds.audiences.clone(), ..Request::default() };
    let attempt = Attempt { key, source: Source::BEHIND_ANOTHER, form: Form::Validation };
    let rule = |facts: &Facts| missing(facts, question, &bounds, &app.settings.limits);
    judge_with(app, attempt, &request, look::load, rule).await
}

async fn by_token(app: &App, token: &str, question: &Question, started: Instant) -> Result<Judged, Denied> {
    let (outcome, result) = match judged_token(app, token, question).await {
        Ok(judged) => (Outcome::Granted, Ok(judged)),
        Err((outcome, denied)) => (outcome, Err(denied)),
    };
    if matches!(result, Err(Denied::Key)) {
        wait_for_tick(started).await;
    }
    app.metrics.exchanged(Form::Validation, outcome, started.elapsed());
    result
}

/// A token is as good as its key is now: of what it says, only the audience and the scope bound it further. There is nothing to
/// guess in a signature, so no failure is budgeted.
async fn judged_token(app: &App, token: &str, question: &Question) -> Result<Judged, (Outcome, Denied)> {
    let fault = |fault: KeyFault| refused(Form::Validation, None, fault);
    let verified = app.keys.view().verify_any(token, app.issuer());
    let (typ, claims) = verified.ok_or_else(|| fault(KeyFault::Malformed))?;
    let elsewhere = || (Outcome::Target, Denied::Target(TargetFault::NotAllowed));
    let bounds = bounds(app, &claims, question).ok_or_else(elsewhere)?;

    let (wanted, targets) = (Wanted::Key(claims.key_id.clone()), bounds.audiences.clone());
    let found = app.store.read(move |connection| look::load(connection, &wanted, &targets)).await;
    let found = found.map_err(Denied::from).map_err(|denied| (outcome_of(&denied), denied))?;
    let (loaded, whole) = found.ok_or_else(|| fault(KeyFault::Unknown))?;
    let facts = loaded.facts;
    if claims.exp <= facts.now.seconds() {
        return Err(fault(KeyFault::Expired));
    }
    if typ != Typ::ACCESS_TOKEN && !facts.audiences.iter().any(|audience| audience.shape.typ == typ) {
        return Err(fault(KeyFault::Malformed));
    }
    match missing(&facts, question, &bounds, &app.settings.limits) {
        Ok(missing) => {
            app.last_used.note(&facts.key, facts.now, Form::Validation.is_use());
            Ok((missing, facts, whole))
        }
        Err(Refusal::Key(found)) => Err(fault(found)),
        Err(Refusal::Scope(found)) => Err((Outcome::Scope, Denied::Scope(found))),
        Err(Refusal::Target(found)) => Err((Outcome::Target, Denied::Target(found))),
    }
}

/// What a token says of itself; nothing when it is not for the audience that asks. One for Keyswap itself counts only where that is
/// asked for by name: no product's service has a use for it.
fn bounds(app: &App, claims: &Claims, question: &Question) -> Option<Bounds> {
    let asked = question.audience.as_ref();
    let management = &app.settings.management_audience;
    let audiences: BTreeSet<_> = match asked {
        Some(asked) => [asked].into_iter().filter(|asked| claims.aud.contains(asked.as_str())).cloned().collect(),
        None => claims.aud.all().iter().cloned().collect(),
    };
    if audiences.is_empty() || (claims.aud.contains(management.as_str()) && asked != Some(management)) {
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
