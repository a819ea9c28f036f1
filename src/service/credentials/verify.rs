//! Verification of API keys: from an untrusted text to the facts about a key. All endpoints verify
//! API keys by `judge` or one of its variants, so limits, metrics and timing are the same
//! everywhere.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{
    crypto::encryption::Sealed,
    domain::{
        access::audience::Identifier,
        common::derived_id::CredentialId,
        credentials::error::KeyFault,
        exchange::{
            facts::{Facts, Request},
            grant::targets_asked,
            refusal::Refusal,
            usage::Window,
        },
    },
    service::{
        App,
        credentials::{brute_force::Source, error::Denied, parse::Presented, rate_limit},
        signing::key_snapshot::CannotSign,
    },
    store::{
        Conn, Found, StoreError, Wants,
        credentials::{
            key_context::{self, Loaded, Wanted},
            key_details::{self, Whole},
        },
    },
    telemetry::labels::{Form, Result as Outcome},
};

/// Period of the constant-time deadline. A well-formed key is refused at a whole multiple of this
/// time after the start of the request, so that the response time does not reveal whether the key
/// is unknown, wrong or revoked (invariant 7).
pub const REFUSAL_TICK: Duration = Duration::from_millis(5);

/// A presented key and its context.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Untrusted text.
    pub key: &'a str,
    pub source: Source,
    pub form: Form,
}

/// A lookup of a key, with additional data besides the facts.
pub type Look<X> = fn(&mut Conn, &Wanted, &BTreeSet<Identifier>) -> Result<Option<(Loaded, X)>, StoreError>;

/// The result of a successful verification.
#[derive(Debug)]
pub struct Granted<T, X = ()> {
    pub grant: T,
    pub facts: Facts,
    /// State of the rate limit if the key has one and this use counts.
    pub window: Option<Window>,
    /// Additional data of the lookup.
    pub more: X,
}

/// Verifies the key and applies `rule` to its facts. Success updates the last-used time. Every
/// fault of the key yields `Denied::Key`.
pub async fn judge<T>(
    app: &App,
    attempt: Attempt<'_>,
    request: &Request,
    rule: impl FnOnce(&Facts) -> Result<T, Refusal>,
) -> Result<(T, Facts), Denied> {
    let granted = timed(app, attempt, request, FACTS, rule, Counted::No).await?;
    Ok((granted.grant, granted.facts))
}

/// Like `judge`, with another lookup.
pub async fn judge_with<T, X: Send + 'static>(
    app: &App,
    attempt: Attempt<'_>,
    request: &Request,
    ways: Ways<X>,
    rule: impl FnOnce(&Facts) -> Result<T, Refusal>,
) -> Result<(T, Facts, X), Denied> {
    let granted = timed(app, attempt, request, ways, rule, Counted::No).await?;
    Ok((granted.grant, granted.facts, granted.more))
}

/// Like `judge`, for a grant that becomes a token. Counts the exchange if the key has a rate limit,
/// and returns `Denied::Limited` if the limit is reached.
pub async fn judge_counted<T>(
    app: &App,
    attempt: Attempt<'_>,
    request: &Request,
    rule: impl FnOnce(&Facts) -> Result<T, Refusal>,
) -> Result<Granted<T>, Denied> {
    timed(app, attempt, request, FACTS, rule, Counted::Yes).await
}

/// The lookups of the facts and of additional data.
#[derive(Debug)]
pub struct Ways<X> {
    pub look: Look<X>,
    /// For native keys: the batch loader combines the lookup with those of concurrent requests.
    gathered: Option<Gathered<X>>,
}

type Gathered<X> = (Wants, fn(Found) -> Option<(Loaded, X)>);

/// The facts that a grant depends on.
pub const FACTS: Ways<()> =
    Ways { look: FACTS_ALONE, gathered: Some((Wants::Facts, |found| Some((found.loaded, ())))) };

/// The facts and the key as clients see it.
pub const WHOLE: Ways<Whole> = Ways {
    look: key_details::load,
    gathered: Some((Wants::Whole, |Found { loaded, whole }| whole.map(|whole| (loaded, whole)))),
};

impl<X: Send + 'static> Ways<X> {
    /// Creates a lookup that is never combined with others.
    pub const fn alone(look: Look<X>) -> Self {
        Self { look, gathered: None }
    }

    async fn facts(
        self,
        app: &App,
        presented: &Presented,
        targets: BTreeSet<Identifier>,
    ) -> Result<Option<(Loaded, X)>, StoreError> {
        if let (Some((wants, with)), Presented::Ours(key)) = (self.gathered, presented) {
            return Ok(app.store.look_up(&key.credential, &targets, wants).await?.and_then(with));
        }
        let (wanted, again, look) = (presented.wanted(), presented.again(app), self.look);
        app.store
            .read(move |connection| match look(connection, &wanted, &targets)? {
                // An imported key that is not found may be stored under a master key that is not
                // loaded here yet.
                None => match again.map_or(Ok(None), |again| again.wanted(connection, &wanted))? {
                    Some(wanted) => look(connection, &wanted, &targets),
                    None => Ok(None),
                },
                found @ Some(_) => Ok(found),
            })
            .await
    }
}

/// The facts without additional data.
pub const FACTS_ALONE: Look<()> = |connection, wanted, targets| {
    let loaded = key_context::load(connection, wanted, targets)?;
    Ok(loaded.map(|loaded| (loaded, ())))
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    Yes,
    No,
}

async fn timed<T, X: Send + 'static>(
    app: &App,
    attempt: Attempt<'_>,
    request: &Request,
    ways: Ways<X>,
    rule: impl FnOnce(&Facts) -> Result<T, Refusal>,
    counted: Counted,
) -> Result<Granted<T, X>, Denied> {
    let started = Instant::now();
    let (outcome, result) = match judged(app, attempt, request, started, ways, rule, counted).await {
        Ok(granted) => (Outcome::Granted, Ok(granted)),
        Err((outcome, denied)) => (outcome, Err(denied)),
    };
    app.metrics.exchanged(attempt.form, outcome, started.elapsed());
    result
}

async fn judged<T, X: Send + 'static>(
    app: &App,
    attempt: Attempt<'_>,
    request: &Request,
    started: Instant,
    ways: Ways<X>,
    rule: impl FnOnce(&Facts) -> Result<T, Refusal>,
    counted: Counted,
) -> Result<Granted<T, X>, (Outcome, Denied)> {
    let throttled = |throttled: crate::service::credentials::brute_force::Throttled| {
        (Outcome::Throttled, Denied::Throttled(throttled.retry_after))
    };
    require_trusted(app).map_err(|denied| {
        if counted == Counted::Yes {
            app.metrics.signing_refused(CannotSign::Restored.as_str());
        }
        (Outcome::Unavailable, denied)
    })?;
    app.guessing.admit_source(attempt.source).map_err(throttled)?;
    let Some(presented) = Presented::read(app, attempt.key) else {
        app.guessing.failed(attempt.source, None);
        if attempt.source == Source::BEHIND_ANOTHER {
            // A validating service gets the same answer for everything that is not in force, after
            // the same time.
            wait_for_tick(app, started).await;
        }
        return Err(refused(attempt.form, None, KeyFault::Malformed));
    };
    app.guessing.admit_credential(attempt.source, presented.counted_as()).map_err(throttled)?;

    let targets: BTreeSet<Identifier> =
        targets_asked(request, &app.settings.limits).into_iter().take(32).cloned().collect();
    let loaded = ways.facts(app, &presented, targets).await;
    let verdict = loaded.map_err(Denied::from).and_then(|loaded| verdict(app, &presented, loaded, rule));
    match verdict.map_err(|denied| (outcome_of(&denied), denied))? {
        Ok((grant, facts, more)) => {
            let window = match counted {
                Counted::Yes => {
                    rate_limit::count(app, &facts.key).await.map_err(|denied| (outcome_of(&denied), denied))?
                }
                Counted::No => None,
            };
            app.last_used.note(&facts.key.id, facts.key.credential, facts.now, attempt.form.is_use());
            Ok(Granted { grant, facts, window, more })
        }
        Err(Refusal::Key(fault)) => {
            let admitted = app.guessing.admit_failure(attempt.source, presented.counted_as());
            app.guessing.failed(attempt.source, Some(presented.counted_as()));
            wait_for_tick(app, started).await;
            admitted.map_err(throttled)?;
            Err(refused(attempt.form, Some(presented.counted_as()), fault))
        }
        Err(Refusal::Scope(fault)) => Err((Outcome::Scope, Denied::Scope(fault))),
        Err(Refusal::Target(fault)) => Err((Outcome::Target, Denied::Target(fault))),
    }
}

fn verdict<T, X>(
    app: &App,
    presented: &Presented,
    loaded: Option<(Loaded, X)>,
    rule: impl FnOnce(&Facts) -> Result<T, Refusal>,
) -> Result<Result<(T, Facts, X), Refusal>, Denied> {
    let Some((loaded, more)) = loaded else {
        presented.is(&app.decoy.id, &app.decoy.sealed, &app.decoy.master)?;
        return Ok(Err(Refusal::Key(KeyFault::Unknown)));
    };
    let sealed = Sealed { master_version: loaded.master_version, bytes: loaded.sealed };
    if !presented.is(&loaded.facts.key.credential, &sealed, &app.master)? {
        return Ok(Err(Refusal::Key(KeyFault::Wrong)));
    }
    let facts = loaded.facts;
    Ok(rule(&facts).map(|granted| (granted, facts, more)))
}

pub(crate) fn refused(form: Form, credential: Option<&CredentialId>, fault: KeyFault) -> (Outcome, Denied) {
    let credential = credential.map(CredentialId::as_str);
    tracing::info!(?form, credential, %fault, "an API key was not accepted");
    let outcome = match fault {
        KeyFault::Malformed => Outcome::Malformed,
        KeyFault::Unknown => Outcome::Unknown,
        KeyFault::Wrong => Outcome::Wrong,
        KeyFault::Revoked => Outcome::Revoked,
        KeyFault::Expired => Outcome::Expired,
        KeyFault::Suspended => Outcome::Suspended,
        KeyFault::OwnerBlocked => Outcome::OwnerBlocked,
        KeyFault::OwnerGone => Outcome::OwnerGone,
        KeyFault::ClientMismatch => Outcome::ClientMismatch,
    };
    (outcome, Denied::Key)
}

pub(crate) const fn outcome_of(denied: &Denied) -> Outcome {
    match denied {
        Denied::Unavailable(_) | Denied::Restored => Outcome::Unavailable,
        Denied::Throttled(_) => Outcome::Throttled,
        Denied::Limited(_) => Outcome::Limited,
        Denied::Scope(_) => Outcome::Scope,
        Denied::Target(_) => Outcome::Target,
        Denied::Key | Denied::OnBehalfOf(_) | Denied::Internal(_) => Outcome::Internal,
    }
}

/// Returns `Denied::Restored` while the rollback guard waits for the decision of an operator.
pub(crate) fn require_trusted(app: &App) -> Result<(), Denied> {
    if app.keys.is_halted() { Err(Denied::Restored) } else { Ok(()) }
}

pub(crate) async fn wait_for_tick(app: &App, started: Instant) {
    let tick = app.refusal_tick;
    if tick.is_zero() {
        return;
    }
    let ticks = u32::try_from(started.elapsed().as_nanos() / tick.as_nanos()).unwrap_or(u32::MAX - 1) + 1;
    sleep_until(started + tick * ticks).await;
}
