//! The one way to verify a credential: an API key, a token or a portal session. Limits, timing,
//! metrics and the log are the same for each of them.

use std::{fmt, time::Duration};

use tokio::{
    sync::SemaphorePermit,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    domain::{
        common::derived_id::CredentialId, credentials::error::CredentialError, exchange::key_context::KeyContext,
    },
    service::{
        Error, Services, Unavailable,
        credentials::{brute_force::Source, error::AuthError},
    },
    store::StoreError,
    telemetry::labels::{ExchangeResult, RequestForm},
};

/// Period of the constant-time deadline. A credential is refused at a whole multiple of this time
/// after the start of the request, so that the response time does not reveal whether it is
/// unknown, wrong or revoked (invariant 7).
pub const REFUSAL_DEADLINE: Duration = Duration::from_millis(5);

/// A credential as a client presented it.
#[derive(Clone, Copy)]
pub struct PresentedCredential<'a> {
    /// Untrusted text.
    pub value: &'a str,
    pub source: Source,
    /// Label in metrics and in the log. `None` records nothing: a token at `/v1` was recorded when
    /// its key was exchanged.
    pub form: Option<RequestForm>,
}

impl fmt::Debug for PresentedCredential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedCredential({:?}, {:?})", self.source, self.form)
    }
}

/// Verifies a credential. `parse` returns a well-formed credential and the id under which its
/// failures are counted; a token has no id, because its signature cannot be guessed. `check` looks
/// it up, verifies its proof and applies the rules of the operation.
pub(crate) async fn verify<P, V>(
    services: &Services,
    presented: PresentedCredential<'_>,
    parse: impl FnOnce(&str) -> Option<(P, Option<CredentialId>)>,
    check: impl AsyncFnOnce(P) -> Result<V, AuthError>,
) -> Result<V, AuthError> {
    let PresentedCredential { value, source, form } = presented;
    let (limiter, started) = (&services.brute_force, Instant::now());
    let result = async {
        require_no_rollback(services)?;
        let (id, result) = match parse(value) {
            None => (None, Err(CredentialError::Malformed.into())),
            Some((parsed, id)) => {
                let _permit = wait_for_turn(services, source).await?;
                let result = check(parsed).await;
                // A look-up that waits during a failover is answered by the new server.
                require_no_rollback(services)?;
                (id, result)
            }
        };
        if let Err(AuthError::Credential(fault)) = &result {
            // Only failures are limited, so a correct credential is never refused because of
            // incorrect ones (invariant 15).
            let admitted = limiter.record_failure(source, id.as_ref());
            if id.is_some() || source == Source::UNKNOWN {
                wait_for_deadline(services, started).await;
            }
            admitted?;
            if let Some(form) = form {
                let credential = id.as_ref().map(CredentialId::as_str);
                tracing::info!(?form, credential, %fault, "refused a credential");
            }
        } else if source == Source::UNKNOWN && matches!(&result, Err(AuthError::Scope(_) | AuthError::Target(_))) {
            // For a service, a valid key or token for another audience looks like any other
            // refusal.
            wait_for_deadline(services, started).await;
        }
        result
    };
    let result = result.await;
    if let Some(form) = form {
        services.metrics.record_exchange(form, exchange_result(&result), started.elapsed());
    }
    result
}

/// Refuses to verify while an operator must decide: in a rolled back database, credentials that
/// were revoked since appear to be in force.
fn require_no_rollback(services: &Services) -> Result<(), AuthError> {
    if services.keys.is_halted() { Err(Unavailable::RolledBack.into()) } else { Ok(()) }
}

/// Waits until few other verifications run for sources whose budget is spent. Other sources do not
/// wait.
async fn wait_for_turn(services: &Services, source: Source) -> Result<Option<SemaphorePermit<'_>>, AuthError> {
    if !services.brute_force.is_spent(source) {
        return Ok(None);
    }
    let turn = timeout(services.settings.database.connect_timeout, services.brute_force.failing_sources.acquire());
    match turn.await {
        Ok(Ok(permit)) => Ok(Some(permit)),
        Ok(Err(_)) | Err(_) => Err(StoreError::unavailable("too many failures of its source wait for it").into()),
    }
}

/// Records that a verified key was used, directly or by one of its tokens.
pub(crate) fn record_use(services: &Services, presented: PresentedCredential<'_>, context: &KeyContext) {
    if let Some(form) = presented.form {
        let credential = context.key.credential_id;
        services.last_used.record_credential_use(credential, context.now, form.counts_as_use());
    }
}

/// Waits until the next multiple of the constant-time deadline since `started`.
pub(crate) async fn wait_for_deadline(services: &Services, started: Instant) {
    let period = services.refusal_deadline;
    if period.is_zero() {
        return;
    }
    let periods = u32::try_from(started.elapsed().as_nanos() / period.as_nanos()).unwrap_or(u32::MAX - 1) + 1;
    sleep_until(started + period * periods).await;
}

const fn exchange_result<V>(result: &Result<V, AuthError>) -> ExchangeResult {
    let Err(error) = result else { return ExchangeResult::Granted };
    match error {
        AuthError::Credential(fault) => match fault {
            CredentialError::Malformed => ExchangeResult::Malformed,
            CredentialError::Unknown => ExchangeResult::Unknown,
            CredentialError::SecretMismatch => ExchangeResult::SecretMismatch,
            CredentialError::Revoked => ExchangeResult::Revoked,
            CredentialError::Expired => ExchangeResult::Expired,
            CredentialError::Suspended => ExchangeResult::Suspended,
            CredentialError::OwnerBlocked => ExchangeResult::OwnerBlocked,
            CredentialError::OwnerDeleted => ExchangeResult::OwnerDeleted,
            CredentialError::ClientIdMismatch => ExchangeResult::ClientMismatch,
            CredentialError::OpenerNotAuthorized => ExchangeResult::OpenerNotAuthorized,
            CredentialError::SigningKeyNotInUse | CredentialError::ClaimMismatch => ExchangeResult::Forged,
            CredentialError::Altered => ExchangeResult::Altered,
        },
        AuthError::Scope(_) => ExchangeResult::Scope,
        AuthError::Target(_) => ExchangeResult::Target,
        AuthError::Lifetime(_) => ExchangeResult::Lifetime,
        AuthError::Throttled(_) => ExchangeResult::Throttled,
        AuthError::Limited(_) => ExchangeResult::Limited,
        AuthError::Failed(Error::Unavailable(_)) => ExchangeResult::Unavailable,
        AuthError::OnBehalfOf(_) | AuthError::Failed(_) => ExchangeResult::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        app::startup::{self, StartMode},
        config::Settings,
        store::SystemClock,
    };

    /// A failover to a server that lacks the latest changes, while the look-up waits for it.
    #[tokio::test]
    async fn rollback_that_is_detected_during_the_lookup_refuses_its_result() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let set = [format!("database.url=sqlite://{}", path("keyswap.db")), format!("keys.dir={}", path("keys"))];
        let settings = Settings::load(None, &set).unwrap();
        let services = startup::start(settings, StartMode::Serve, Arc::new(SystemClock)).await.unwrap();
        let presented = PresentedCredential { value: "a key", source: Source::UNKNOWN, form: None };
        for found in [Ok(()), Err(CredentialError::Unknown)] {
            services.keys.set_halted(false);
            let check = async |()| {
                services.keys.set_halted(true);
                found.map_err(AuthError::Credential)
            };
            let result = verify(&services, presented, |_| Some(((), None)), check).await;
            let is_halted = matches!(result, Err(AuthError::Failed(Error::Unavailable(Unavailable::RolledBack))));
            assert!(is_halted, "{found:?}: {result:?}");
        }
    }
}
