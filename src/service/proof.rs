//! Verification of API keys: from an untrusted text to the facts about a key. All endpoints verify
//! API keys by `judge` or one of its variants, so limits, metrics and timing are the same
//! everywhere.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{
    crypto::{
        credential,
        master::{MasterKey, MasterKeys},
        seal::{SealError, Sealed},
    },
    domain::{
        api_key_value::{PresentedKey, Secret},
        audience::Identifier,
        entropy::{Entropy, NoEntropy},
        grant::{Facts, KeyFault, Refusal, Request, ScopeFault, TargetFault, targets_asked},
        id::CredentialId,
        time::Span,
        usage::Window,
    },
    store::{
        Conn, Found, StoreError, Wants,
        facts::{self, Loaded, Wanted},
        validation::{self, Whole},
    },
    telemetry::metrics::{Form, Result as Outcome},
};

use super::{App, guessing::Source, key_ring::CannotSign, presented::Presented, rate};

/// Period of the constant-time deadline. A well-formed key is refused at a whole multiple of this
/// time after the start of the request, so that the response time does not reveal whether the key
/// is unknown, wrong or revoked (invariant 7).
pub const REFUSAL_TICK: Duration = Duration::from_millis(5);

/// The reason why a credential was refused.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Any fault of the key. Clients cannot distinguish the faults.
    #[error("the API key is not accepted")]
    Key,
    #[error("the scope is not granted")]
    Scope(ScopeFault),
    #[error("the target is not granted")]
    Target(TargetFault),
    /// The key is valid but may not act on behalf of the named user.
    #[error("{0}")]
    OnBehalfOf(&'static str),
    #[error("too many failures")]
    Throttled(Span),
    /// The key is valid but has reached its limit for the current minute.
    #[error("too many exchanges in this minute")]
    Limited(Window),
    #[error("{0}")]
    Unavailable(String),
    /// The database was rolled back, so credentials that were revoked later appear to be in force.
    #[error("the database looks like an old backup: run `keyswap restore status` on the server")]
    Restored,
    #[error("{0}")]
    Internal(String),
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(text) => Self::Unavailable(text),
            StoreError::Conflict(text) | StoreError::Corrupt(text) => Self::Internal(text),
            StoreError::NoEntropy(error) => Self::Internal(error.to_string()),
        }
    }
}

impl From<NoEntropy> for Denied {
    fn from(error: NoEntropy) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<SealError> for Denied {
    fn from(error: SealError) -> Self {
        match error {
            // The key may be valid: another replica may have the master key that is missing here.
            SealError::NoMasterKey(_) => Self::Unavailable(error.to_string()),
            SealError::NoEntropy | SealError::DoesNotOpen => Self::Internal(error.to_string()),
        }
    }
}

/// A credential that belongs to no key. Keys with an unknown id are compared with it. It is
/// encrypted under a master key of its own, which no rotation removes.
#[derive(Debug)]
pub struct Decoy {
    id: CredentialId,
    sealed: Sealed,
    master: MasterKeys,
}

impl Decoy {
    pub fn new(entropy: &dyn Entropy) -> Result<Self, SealError> {
        let no_entropy = |_: NoEntropy| SealError::NoEntropy;
        let id = CredentialId::decoy();
        let secret = Secret::generate(entropy).map_err(no_entropy)?;
        let master = MasterKeys::single(1, MasterKey::generate(entropy).map_err(no_entropy)?);
        Ok(Self { sealed: credential::seal(&master, &id, &secret, entropy)?, id, master })
    }

    /// Performs the work of a verification and discards the result.
    pub(super) fn compare(&self, presented: &PresentedKey) -> Result<(), SealError> {
        credential::proves(&self.master, &self.id, &self.sealed, presented).map(|_| ())
    }

    /// Like `compare`, for a native or an imported key.
    pub(super) fn compare_any(&self, presented: &Presented) -> Result<(), SealError> {
        presented.is(&self.id, &self.sealed, &self.master).map(|_| ())
    }
}

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
    look: validation::load,
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
    let loaded = facts::load(connection, wanted, targets)?;
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
    let throttled =
        |throttled: super::guessing::Throttled| (Outcome::Throttled, Denied::Throttled(throttled.retry_after));
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
                Counted::Yes => rate::count(app, &facts.key).await.map_err(|denied| (outcome_of(&denied), denied))?,
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
        app.decoy.compare_any(presented)?;
        return Ok(Err(Refusal::Key(KeyFault::Unknown)));
    };
    let sealed = Sealed { master_version: loaded.master_version, bytes: loaded.sealed };
    if !presented.is(&loaded.facts.key.credential, &sealed, &app.master)? {
        return Ok(Err(Refusal::Key(KeyFault::Wrong)));
    }
    let facts = loaded.facts;
    Ok(rule(&facts).map(|granted| (granted, facts, more)))
}

pub(super) fn refused(form: Form, credential: Option<&CredentialId>, fault: KeyFault) -> (Outcome, Denied) {
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

pub(super) const fn outcome_of(denied: &Denied) -> Outcome {
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
pub(super) fn require_trusted(app: &App) -> Result<(), Denied> {
    if app.keys.is_halted() { Err(Denied::Restored) } else { Ok(()) }
}

pub(super) async fn wait_for_tick(app: &App, started: Instant) {
    let tick = app.refusal_tick;
    if tick.is_zero() {
        return;
    }
    let ticks = u32::try_from(started.elapsed().as_nanos() / tick.as_nanos()).unwrap_or(u32::MAX - 1) + 1;
    sleep_until(started + tick * ticks).await;
}
