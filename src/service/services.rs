//! Application state that all use cases share: the store, the keys and the settings.

use std::{fmt, time::Duration};

use crate::{
    config::{Settings, live::LiveSettings},
    crypto::{master_keys::MasterKeys, random::SystemEntropy},
    outbound::Outbound,
    service::{
        Error,
        caller::Caller,
        common::{change_limiter::ChangeRateLimiter, job_monitor::JobMonitor, verified_events::VerifiedEvents},
        credentials::{
            brute_force::BruteForceLimiter, decoy::DecoyCredential, shared_facts_cache::SharedFactsCache,
            spent_limits::SpentLimits, use_buffer::UsageRecorder,
        },
        encryption::database_progress::RollbackGuard,
        exchange::{counts::FlushedExchangeCounts, large_tokens::LoggedLargeTokens},
        lifecycle::Lifecycle,
        portal::key_statistics::KeyStatisticsCache,
        replicas::registration::ReplicaRegistration,
        signing::{ClockMonitor, key_cache::KeyCache, live_tokens::LiveTokenCounts},
        status_lists::cache::StatusLists,
    },
    store::{Outcome, RetryReason, Store, Tx},
    telemetry::metrics::Metrics,
};

/// The state of a Keyswap process.
pub struct Services {
    pub store: Store,
    /// The settings of the start.
    pub settings: Settings,
    /// The settings that can change while the process runs.
    pub live: LiveSettings,
    pub master_keys: MasterKeys,
    pub entropy: SystemEntropy,
    pub keys: KeyCache,
    pub status_lists: StatusLists,
    pub brute_force: BruteForceLimiter,
    pub spent_limits: SpentLimits,
    pub change_limiter: ChangeRateLimiter,
    pub last_used: UsageRecorder,
    pub live_tokens: LiveTokenCounts,
    pub exchange_counts: FlushedExchangeCounts,
    pub shared_facts: SharedFactsCache,
    pub logged_large_tokens: LoggedLargeTokens,
    pub key_statistics: KeyStatisticsCache,
    /// This server's entry in the list of replicas. Empty for a command.
    pub replica_registration: ReplicaRegistration,
    pub clock_monitor: ClockMonitor,
    pub metrics: Metrics,
    pub outbound: Outbound,
    /// The credential that unknown keys are compared with. It makes their refusal cost the same
    /// work as that of a wrong key.
    pub decoy: DecoyCredential,
    /// Period of the constant-time deadline: refusals are answered at whole multiples of it. No
    /// setting changes it. Zero answers immediately; tests use it to measure the work behind a
    /// refusal.
    pub refusal_deadline: Duration,
    pub rollback_guard: RollbackGuard,
    /// How far the background check has verified the audit log.
    pub verified_events: VerifiedEvents,
    pub job_monitor: JobMonitor,
    pub lifecycle: Lifecycle,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Services({})", self.settings.limits.issuer)
    }
}

impl Services {
    /// Runs a change of `caller` in a transaction, unless its owner or organization has made too
    /// many changes. Then the database is not called. The change may run more than once, as
    /// `Store::run_transaction` describes.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        caller: &Caller,
        change: impl FnOnce(&mut Tx<'_>, &Caller) -> Result<Outcome<T>, Error> + Clone + Send + 'static,
    ) -> Result<T, Error> {
        self.change_limiter.count_change(&caller.authority.tenant_scope)?;
        self.run_transaction(caller, change).await
    }

    /// Runs a change that ends keys, tokens, sessions, service clients or access records. It is not
    /// counted as a change but in a larger budget of its own, because the thief of a key could
    /// otherwise spend the changes of its owner and prevent its revocation.
    pub(crate) async fn end_access<T: Send + 'static>(
        &self,
        caller: &Caller,
        change: impl FnOnce(&mut Tx<'_>, &Caller) -> Result<Outcome<T>, Error> + Clone + Send + 'static,
    ) -> Result<T, Error> {
        self.change_limiter.count_end(&caller.authority.tenant_scope)?;
        self.run_transaction(caller, change).await
    }

    async fn run_transaction<T: Send + 'static>(
        &self,
        caller: &Caller,
        change: impl FnOnce(&mut Tx<'_>, &Caller) -> Result<Outcome<T>, Error> + Clone + Send + 'static,
    ) -> Result<T, Error> {
        let caller = caller.clone();
        self.store.run_transaction(caller.origin.clone(), move |tx| change(tx, &caller)).await
    }

    /// Copies the counts of the store to the metrics, which are about to be scraped.
    pub fn update_database_metrics(&self) {
        for reason in RetryReason::ALL {
            self.metrics.database.set_transaction_retries(reason.as_str(), self.store.retries().count(reason));
        }
    }

    pub fn issuer(&self) -> &str {
        &self.settings.limits.issuer
    }
}
