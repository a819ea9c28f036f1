//! Verification of API keys: from an untrusted text to the facts about a key. All endpoints verify
//! API keys by `judge` or one of its variants, so limits, metrics and timing are the same
//! everywhere.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{
    crypto::encryption::Encrypted,
    domain::{
        access::audience::Identifier,
        common::derived_id::CredentialId,
        credentials::error::CredentialError,
        exchange::{
            facts::{KeyContext, Request},
            grant::requested_targets,
            refusal::DenyReason,
            usage::RateLimitWindow,
        },
    },
    service::{
        Services,
        credentials::{brute_force::Source, error::AuthError, parse::Presented, rate_limit},
        signing::key_snapshot::SigningUnavailable,
    },
    store::{
        Conn, CredentialLookup, LookupDetail, StoreError,
        credentials::{
            key_context::{self, KeyRecord, KeySelector},
            key_details::{self, KeyDetails},
        },
    },
    telemetry::labels::{Form, Result as Outcome},
};

/// Period of the constant-time deadline. A well-formed key is refused at a whole multiple of this
/// time after the start of the request, so that the response time does not reveal whether the key
/// is unknown, wrong or revoked (invariant 7).
pub const REFUSAL_DEADLINE: Duration = Duration::from_millis(5);

/// A presented key and its context.
#[derive(Debug, Clone, Copy)]
pub struct PresentedCredential<'a> {
    /// Untrusted text.
    pub key: &'a str,
    pub source: Source,
    pub form: Form,
}

/// A lookup of a key, with additional data besides the facts.
pub type Look<X> = fn(&mut Conn, &KeySelector, &BTreeSet<Identifier>) -> Result<Option<(KeyRecord, X)>, StoreError>;

/// The result of a successful verification.
#[derive(Debug)]
pub struct VerifiedGrant<T, X = ()> {
    pub grant: T,
    pub facts: KeyContext,
    /// State of the rate limit if the key has one and this use counts.
    pub window: Option<RateLimitWindow>,
    /// Additional data of the lookup.
    pub more: X,
}

/// Verifies the key and applies `rule` to its facts. Success updates the last-used time. Every
/// fault of the key yields `AuthError::Key`.
pub async fn judge<T>(
    services: &Services,
    attempt: PresentedCredential<'_>,
    request: &Request,
    rule: impl FnOnce(&KeyContext) -> Result<T, DenyReason>,
) -> Result<(T, KeyContext), AuthError> {
    let granted = timed(services, attempt, request, FACTS, rule, Counted::No).await?;
    Ok((granted.grant, granted.facts))
}

/// Like `judge`, with another lookup.
pub async fn judge_with<T, X: Send + 'static>(
    services: &Services,
    attempt: PresentedCredential<'_>,
    request: &Request,
    ways: Ways<X>,
    rule: impl FnOnce(&KeyContext) -> Result<T, DenyReason>,
) -> Result<(T, KeyContext, X), AuthError> {
    let granted = timed(services, attempt, request, ways, rule, Counted::No).await?;
    Ok((granted.grant, granted.facts, granted.more))
}

/// Like `judge`, for a grant that becomes a token. Counts the exchange if the key has a rate limit,
/// and returns `AuthError::Limited` if the limit is reached.
pub async fn judge_counted<T>(
    services: &Services,
    attempt: PresentedCredential<'_>,
    request: &Request,
    rule: impl FnOnce(&KeyContext) -> Result<T, DenyReason>,
) -> Result<VerifiedGrant<T>, AuthError> {
    timed(services, attempt, request, FACTS, rule, Counted::Yes).await
}

/// The lookups of the facts and of additional data.
#[derive(Debug)]
pub struct Ways<X> {
    pub look: Look<X>,
    /// For native keys: the batch loader combines the lookup with those of concurrent requests.
    gathered: Option<Gathered<X>>,
}

type Gathered<X> = (LookupDetail, fn(CredentialLookup) -> Option<(KeyRecord, X)>);

/// The facts that a grant depends on.
pub const FACTS: Ways<()> =
    Ways { look: FACTS_ALONE, gathered: Some((LookupDetail::Facts, |found| Some((found.loaded, ())))) };

/// The facts and the key as clients see it.
pub const WHOLE: Ways<KeyDetails> = Ways {
    look: key_details::load,
    gathered: Some((LookupDetail::Full, |CredentialLookup { loaded, details }| {
        details.map(|details| (loaded, details))
    })),
};

impl<X: Send + 'static> Ways<X> {
    /// Creates a lookup that is never combined with others.
    pub const fn alone(look: Look<X>) -> Self {
        Self { look, gathered: None }
    }

    async fn facts(
        self,
        services: &Services,
        presented: &Presented,
        targets: BTreeSet<Identifier>,
    ) -> Result<Option<(KeyRecord, X)>, StoreError> {
        if let (Some((wants, with)), Presented::Native(key)) = (self.gathered, presented) {
            return Ok(services.store.load_credential(&key.credential_id, &targets, wants).await?.and_then(with));
        }
        let (wanted, again, look) = (presented.wanted(), presented.retry_lookup(services), self.look);
        services
            .store
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
    services: &Services,
    attempt: PresentedCredential<'_>,
    request: &Request,
    ways: Ways<X>,
    rule: impl FnOnce(&KeyContext) -> Result<T, DenyReason>,
    counted: Counted,
) -> Result<VerifiedGrant<T, X>, AuthError> {
    let started = Instant::now();
    let (outcome, result) = match judged(services, attempt, request, started, ways, rule, counted).await {
        Ok(granted) => (Outcome::Granted, Ok(granted)),
        Err((outcome, denied)) => (outcome, Err(denied)),
    };
    services.metrics.record_exchange(attempt.form, outcome, started.elapsed());
    result
}

async fn judged<T, X: Send + 'static>(
    services: &Services,
    attempt: PresentedCredential<'_>,
    request: &Request,
    started: Instant,
    ways: Ways<X>,
    rule: impl FnOnce(&KeyContext) -> Result<T, DenyReason>,
    counted: Counted,
) -> Result<VerifiedGrant<T, X>, (Outcome, AuthError)> {
    let throttled = |throttled: crate::service::credentials::brute_force::Throttled| {
        (Outcome::Throttled, AuthError::Throttled(throttled.retry_after))
    };
    require_trusted(services).map_err(|denied| {
        if counted == Counted::Yes {
            services.metrics.record_signing_refusal(SigningUnavailable::Restored.as_str());
        }
        (Outcome::Unavailable, denied)
    })?;
    services.brute_force.admit_source(attempt.source).map_err(throttled)?;
    let Some(presented) = Presented::read(services, attempt.key) else {
        services.brute_force.failed(attempt.source, None);
        if attempt.source == Source::UNKNOWN {
            // A validating service gets the same answer for everything that is not in force, after
            // the same time.
            wait_for_deadline(services, started).await;
        }
        return Err(refused(attempt.form, None, CredentialError::Malformed));
    };
    services.brute_force.admit_credential(attempt.source, presented.limiter_id()).map_err(throttled)?;

    let targets: BTreeSet<Identifier> =
        requested_targets(request, &services.settings.limits).into_iter().take(32).cloned().collect();
    let loaded = ways.facts(services, &presented, targets).await;
    let verdict = loaded.map_err(AuthError::from).and_then(|loaded| verdict(services, &presented, loaded, rule));
    match verdict.map_err(|denied| (metric_result(&denied), denied))? {
        Ok((grant, facts, more)) => {
            let window = match counted {
                Counted::Yes => {
                    rate_limit::count(services, &facts.key).await.map_err(|denied| (metric_result(&denied), denied))?
                }
                Counted::No => None,
            };
            services.last_used.note(&facts.key.id, facts.key.credential_id, facts.now, attempt.form.counts_as_use());
            Ok(VerifiedGrant { grant, facts, window, more })
        }
        Err(DenyReason::Key(fault)) => {
            let admitted = services.brute_force.admit_failure(attempt.source, presented.limiter_id());
            services.brute_force.failed(attempt.source, Some(presented.limiter_id()));
            wait_for_deadline(services, started).await;
            admitted.map_err(throttled)?;
            Err(refused(attempt.form, Some(presented.limiter_id()), fault))
        }
        Err(DenyReason::Scope(fault)) => Err((Outcome::Scope, AuthError::Scope(fault))),
        Err(DenyReason::Target(fault)) => Err((Outcome::Target, AuthError::Target(fault))),
    }
}

fn verdict<T, X>(
    services: &Services,
    presented: &Presented,
    loaded: Option<(KeyRecord, X)>,
    rule: impl FnOnce(&KeyContext) -> Result<T, DenyReason>,
) -> Result<Result<(T, KeyContext, X), DenyReason>, AuthError> {
    let Some((loaded, more)) = loaded else {
        presented.is(&services.decoy.id, &services.decoy.sealed, &services.decoy.master)?;
        return Ok(Err(DenyReason::Key(CredentialError::Unknown)));
    };
    let sealed = Encrypted { master_version: loaded.master_version, bytes: loaded.encrypted_secret };
    if !presented.is(&loaded.facts.key.credential_id, &sealed, &services.master)? {
        return Ok(Err(DenyReason::Key(CredentialError::SecretMismatch)));
    }
    let facts = loaded.facts;
    Ok(rule(&facts).map(|granted| (granted, facts, more)))
}

pub(crate) fn refused(form: Form, credential: Option<&CredentialId>, fault: CredentialError) -> (Outcome, AuthError) {
    let credential = credential.map(CredentialId::as_str);
    tracing::info!(?form, credential, %fault, "an API key was not accepted");
    let outcome = match fault {
        CredentialError::Malformed => Outcome::Malformed,
        CredentialError::Unknown => Outcome::Unknown,
        CredentialError::SecretMismatch => Outcome::Wrong,
        CredentialError::Revoked => Outcome::Revoked,
        CredentialError::Expired => Outcome::Expired,
        CredentialError::Suspended => Outcome::Suspended,
        CredentialError::OwnerBlocked => Outcome::OwnerBlocked,
        CredentialError::OwnerDeleted => Outcome::OwnerDeleted,
        CredentialError::ClientIdMismatch => Outcome::ClientMismatch,
    };
    (outcome, AuthError::Key)
}

pub(crate) const fn metric_result(denied: &AuthError) -> Outcome {
    match denied {
        AuthError::Unavailable(_) | AuthError::Restored => Outcome::Unavailable,
        AuthError::Throttled(_) => Outcome::Throttled,
        AuthError::Limited(_) => Outcome::Limited,
        AuthError::Scope(_) => Outcome::Scope,
        AuthError::Target(_) => Outcome::Target,
        AuthError::Key | AuthError::OnBehalfOf(_) | AuthError::Internal(_) => Outcome::Internal,
    }
}

/// Returns `AuthError::Restored` while the rollback guard waits for the decision of an operator.
pub(crate) fn require_trusted(services: &Services) -> Result<(), AuthError> {
    if services.keys.is_halted() { Err(AuthError::Restored) } else { Ok(()) }
}

pub(crate) async fn wait_for_deadline(services: &Services, started: Instant) {
    let tick = services.refusal_deadline;
    if tick.is_zero() {
        return;
    }
    let ticks = u32::try_from(started.elapsed().as_nanos() / tick.as_nanos()).unwrap_or(u32::MAX - 1) + 1;
    sleep_until(started + tick * ticks).await;
}
