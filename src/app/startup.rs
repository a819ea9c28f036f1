//! Startup: the database, the master keys, and the objects that every deployment has. Replicas may
//! start concurrently, and a start may follow one that was interrupted at any point.

use std::{path::Path, sync::Arc};

use crate::{
    app::{
        initial_setup::{check_admin_key_directory, register, set_up_deployment},
        start_error::StartError,
    },
    config::{Settings, live::LiveSettings},
    crypto::{master_keys::MasterKeys, random::SystemEntropy, sha256, tls},
    domain::events::{Actor, Origin},
    outbound::{Outbound, SystemResolver},
    service::{
        Conflict, Error, Services,
        common::{change_limiter::ChangeRateLimiter, job_monitor::JobMonitor, verified_events::VerifiedEvents},
        credentials::{
            brute_force::BruteForceLimiter, decoy::DecoyCredential, shared_facts_cache::SharedFactsCache,
            spent_limits::SpentLimits, use_buffer::UsageRecorder, verify::REFUSAL_DEADLINE,
        },
        database_server,
        encryption::database_progress::RollbackGuard,
        exchange::{counts::FlushedExchangeCounts, large_tokens::LoggedLargeTokens},
        lifecycle::Lifecycle,
        portal::key_statistics::KeyStatisticsCache,
        replicas::{self, registration::ReplicaRegistration},
        signing::{ClockMonitor, key_cache::KeyCache, live_tokens::LiveTokenCounts},
        status_lists::cache::StatusLists,
    },
    store::{self, Clock, CreationPolicy, DatabaseSettings, DatabaseUrl, Lock, NoEvent, Outcome, Store},
    telemetry::metrics::Metrics,
};

/// The kind of process that starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartMode {
    /// `serve`: creates what is missing.
    Serve,
    /// Any other command: uses what exists and creates nothing.
    Command,
}

/// Opens the database. For `StartMode::Serve`, creates it if it is missing and runs the migrations.
/// For `StartMode::Command`, returns an error if migrations are pending.
pub fn open_store(database: &DatabaseSettings, mode: StartMode, clock: Arc<dyn Clock>) -> Result<Store, StartError> {
    let if_missing = if mode == StartMode::Serve { CreationPolicy::Create } else { CreationPolicy::Fail };
    let entropy = Arc::new(SystemEntropy::default());
    let store = Store::open(database, if_missing, clock, entropy, sha256)?;
    if mode == StartMode::Serve {
        for migration in store.run_migrations()? {
            tracing::info!(migration, "applied migration");
        }
    } else {
        let pending = store.migration_status()?.pending.len();
        if pending > 0 {
            return Err(StartError::NotMigrated(pending));
        }
    }
    Ok(store)
}

/// Starts Keyswap up to the point at which it can serve requests. No key is created over existing
/// data.
pub async fn start(mut settings: Settings, mode: StartMode, clock: Arc<dyn Clock>) -> Result<Services, StartError> {
    check_first_start(&settings, mode)?;
    let store = open_store(&settings.database, mode, Arc::clone(&clock))?;
    settings.keys.create |= matches!(settings.database.url, DatabaseUrl::Sqlite(_));
    let entropy = SystemEntropy::default();
    let (master_keys, replica_registration) = set_up_or_load(&store, &settings, mode, &entropy).await?;
    let rollback_guard = open_rollback_guard(&settings, mode);
    let keys = KeyCache::open(
        store.clone(),
        master_keys.clone(),
        settings.timing.replica_staleness.duration(),
        Arc::clone(&clock),
    )
    .await?;
    let live = LiveSettings::new(settings.reloadable());
    let services = Services {
        decoy: DecoyCredential::new(&entropy)?,
        refusal_deadline: REFUSAL_DEADLINE,
        rollback_guard,
        brute_force: BruteForceLimiter::new(live.clone()),
        spent_limits: SpentLimits::default(),
        change_limiter: ChangeRateLimiter::new(live.clone()),
        last_used: UsageRecorder::new(store.clone()),
        live_tokens: LiveTokenCounts::new(store.clone()),
        exchange_counts: FlushedExchangeCounts::default(),
        shared_facts: SharedFactsCache::default(),
        logged_large_tokens: LoggedLargeTokens::default(),
        key_statistics: KeyStatisticsCache::default(),
        verified_events: VerifiedEvents::default(),
        job_monitor: JobMonitor::default(),
        lifecycle: Lifecycle::default(),
        replica_registration,
        clock_monitor: ClockMonitor::new(Arc::clone(&clock)),
        status_lists: StatusLists::new(clock),
        metrics: Metrics::default(),
        outbound: Outbound::new(settings.webhooks.clone(), tls::crypto_provider(), Arc::new(SystemResolver::default())),
        store,
        settings,
        live,
        master_keys,
        entropy,
        keys,
    };
    // The rollback guard must check the database before anything is signed.
    match database_server::start(&services).await {
        // Commands start with an altered manifest of the signing keys, so that `keyswap integrity
        // accept` can run.
        Err(Error::Conflict(Conflict::RowAltered { .. })) if mode == StartMode::Command => {}
        checked => checked?,
    }
    Ok(services)
}

/// A start that would create an SQLite database creates no file if it cannot write the key of the
/// administrator.
fn check_first_start(settings: &Settings, mode: StartMode) -> Result<(), StartError> {
    match &settings.database.url {
        DatabaseUrl::Sqlite(path) if mode == StartMode::Serve && !Path::new(path).exists() => {
            check_admin_key_directory(settings)
        }
        DatabaseUrl::Sqlite(_) | DatabaseUrl::Postgres(_) => Ok(()),
    }
}

/// Loads the master keys. A server creates what the deployment lacks, and registers itself.
async fn set_up_or_load(
    store: &Store,
    settings: &Settings,
    mode: StartMode,
    entropy: &SystemEntropy,
) -> Result<(MasterKeys, ReplicaRegistration), StartError> {
    if mode == StartMode::Command {
        let master_keys = load_registered_master_keys(store, &settings.keys.dir).await?;
        return Ok((master_keys, ReplicaRegistration::default()));
    }
    let master_keys = set_up_deployment(store, settings, entropy).await?;
    let registration = replicas::register(store, settings).await?;
    for missing in master_keys.snapshot().missing().values() {
        tracing::warn!(why = missing.reason, "the file of an incoming master key is missing; copy it to keys.dir");
    }
    Ok((master_keys, registration))
}

/// `keyswap doctor` reports a guard in memory as well.
fn open_rollback_guard(settings: &Settings, mode: StartMode) -> RollbackGuard {
    let guard = RollbackGuard::new(settings.keys.rollback_guard_location());
    if mode == StartMode::Serve
        && let Some(notice) = guard.describe_memory_only()
    {
        tracing::warn!("{notice}");
    }
    guard
}

/// Creates and registers the first master key of an empty database: `keyswap master-key init`. If
/// keys are registered already, loads them.
pub async fn init_master_key(store: &Store, keys_dir: &Path) -> Result<MasterKeys, StartError> {
    let dir = keys_dir.to_owned();
    store
        .run_transaction(Origin::of(Actor::Operator), move |tx| {
            tx.lock(Lock::Setup)?;
            let (keys, events) = register(tx, &dir, true, &SystemEntropy::default())?;
            Ok(Outcome::events_unless(NoEvent::Unchanged, keys, events))
        })
        .await
}

/// Loads the registered master keys from `keys_dir`. Returns `StartError::NotSetUp` if there are
/// none.
pub async fn load_registered_master_keys(store: &Store, keys_dir: &Path) -> Result<MasterKeys, StartError> {
    let registered = store.read(store::encryption::master_keys::list).await?;
    if registered.is_empty() {
        return Err(StartError::NotSetUp);
    }
    let keys = MasterKeys::open(keys_dir, &registered)?;
    store.set_cipher(Arc::new(keys.clone()));
    Ok(keys)
}
