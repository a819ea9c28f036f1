//! Startup: the database, the master keys, and the objects that every deployment has. Replicas may
//! start concurrently, and a start may follow one that was interrupted at any point.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    crypto::{
        master::{IfExists, MasterKeyError, MasterKeys, write_secret},
        random::SystemEntropy,
        seal::SealError,
        sha256,
        signer::PrivateKeyDer,
        tls,
    },
    domain::{
        api_key::OwnerType,
        audience::BuiltIn,
        event::{Actor, EventKind, NewEvent, Origin},
        json::Metadata,
        master_key::MasterKeyState,
        permission::{AssignableTo, Permission, PermissionSet},
        policy::{ADMIN, BUILT_IN},
        service_client::ServiceClient,
        standing::Home,
    },
    outbound::{Outbound, SystemResolver},
    store::{self, Clock, DatabaseSettings, DatabaseUrl, IfMissing, OpenError, Outcome, Store, StoreError, Tx},
    telemetry::metrics::Metrics,
};

use super::{
    App, Error, Settings,
    api_keys::{Maker, NewKey, OwnerAsked},
    audiences,
    caller::Caller,
    exchange_counts::Counted,
    guessing::Guessing,
    key_ring::KeyRing,
    last_used::LastUsed,
    overview::Census,
    proof::{Decoy, REFUSAL_TICK},
    signing_keys::{self, ClockWatch, Part, live_tokens::LiveTokens},
    status_lists::StatusLists,
    witness::{self, Witness},
};

/// Advisory lock for the setup of a deployment and for changes of its master keys.
pub(super) const LOCK: i64 = 0x006b_6579_7377_0002;

/// The kind of process that starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `serve`: creates what is missing.
    Serve,
    /// Any other command: uses what exists and creates nothing.
    Command,
}

/// Settings of the brute-force limiter.
#[derive(Debug, Clone, Copy)]
pub struct Budgets {
    pub per_source: u32,
    pub per_credential: u32,
    pub refill: crate::domain::time::Span,
}

/// The reason why a start failed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{0} migrations have not run: start `keyswap serve` or run `keyswap migrate`")]
    NotMigrated(usize),
    #[error("the database is empty: start `keyswap serve` once, it sets everything up")]
    NotSetUp,
    #[error("there is no master key in {}: every replica needs the same ones, so on PostgreSQL none is made by itself. Run `keyswap master-key init`, or set keys.create = true, and copy the file to every replica", .0.display())]
    NoMasterKey(PathBuf),
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    #[error("cannot write the administrator's key to {}: {}", .0.display(), .1)]
    AdminKey(PathBuf, io::Error),
    #[error(transparent)]
    Setup(#[from] Error),
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Setup(error.into())
    }
}

impl From<SealError> for StartError {
    fn from(error: SealError) -> Self {
        Self::Setup(error.into())
    }
}

/// Opens the database. For `Mode::Serve`, creates it if it is missing and runs the migrations. For
/// `Mode::Command`, returns an error if migrations are pending.
pub fn open_store(database: &DatabaseSettings, mode: Mode, clock: Arc<dyn Clock>) -> Result<Store, StartError> {
    let if_missing = if mode == Mode::Serve { IfMissing::Create } else { IfMissing::Refuse };
    let entropy = Arc::new(SystemEntropy::default());
    let store = Store::open(database, if_missing, clock, entropy, sha256)?;
    if mode == Mode::Serve {
        for migration in store.migrate()? {
            tracing::info!(migration, "migrated");
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
pub async fn start(
    mut settings: Settings,
    database: &DatabaseSettings,
    budgets: Budgets,
    mode: Mode,
    clock: Arc<dyn Clock>,
) -> Result<App, StartError> {
    let store = open_store(database, mode, Arc::clone(&clock))?;
    settings.may_create_keys |= matches!(database.url, DatabaseUrl::Sqlite(_));
    let entropy = SystemEntropy::default();
    let master = match mode {
        Mode::Serve => set_up(&store, &settings, &entropy).await?,
        Mode::Command => existing_master_keys(&store, &settings.keys_dir).await?,
    };
    let part = match mode {
        Mode::Serve => signing_keys::join(&store, &settings).await?,
        Mode::Command => Part::default(),
    };
    if mode == Mode::Serve {
        for missing in master.held().missing().values() {
            tracing::warn!(why = missing.why, "a master key that is on its way is not here yet");
        }
    }
    let witness = Witness::new(settings.witness.clone());
    let keys = KeyRing::open(&store, &master, settings.timing.replica_staleness.duration(), Arc::clone(&clock)).await?;
    let app = App {
        decoy: Decoy::new(&entropy)?,
        refusal_tick: REFUSAL_TICK,
        witness,
        guessing: Guessing::new(budgets.per_source, budgets.per_credential, budgets.refill),
        last_used: LastUsed::default(),
        live_tokens: LiveTokens::default(),
        counted: Counted::default(),
        census: Census::default(),
        part,
        watch: ClockWatch::new(clock),
        status_lists: StatusLists::default(),
        metrics: Metrics::default(),
        outbound: Outbound::new(settings.guard.clone(), tls::provider(), Arc::new(SystemResolver::default())),
        store,
        settings,
        master,
        entropy,
        keys,
    };
    // The rollback guard must check the database before anything is signed.
    witness::look(&app).await?;
    Ok(app)
}

/// Creates and registers the first master key of an empty database: `keyswap master-key init`. If
/// keys are registered already, loads them.
pub async fn init_master_key(store: &Store, keys_dir: &Path) -> Result<MasterKeys, StartError> {
    let dir = keys_dir.to_owned();
    store
        .change(Origin::of(Actor::Cli), move |tx| {
            store::lock(tx, LOCK)?;
            let (keys, events) = register(tx, &dir, true, &SystemEntropy::default())?;
            Ok(Outcome::events(keys, events))
        })
        .await
}

/// Loads the registered master keys from `keys_dir`. Returns `StartError::NotSetUp` if there are
/// none.
pub async fn existing_master_keys(store: &Store, keys_dir: &Path) -> Result<MasterKeys, StartError> {
    let registered = store.read(store::master_keys::list).await?;
    if registered.is_empty() {
        return Err(StartError::NotSetUp);
    }
    Ok(MasterKeys::of(keys_dir, &registered)?)
}

/// Loads the registered master keys. For an empty database, registers the keys in `dir`, or creates
/// the first one if `may_create` is set.
fn register(
    tx: &mut Tx<'_>,
    dir: &Path,
    may_create: bool,
    entropy: &SystemEntropy,
) -> Result<(MasterKeys, Vec<NewEvent>), StartError> {
    let registered = store::master_keys::list(tx)?;
    if !registered.is_empty() {
        return Ok((MasterKeys::of(dir, &registered)?, Vec::new()));
    }
    let keys = match MasterKeys::load(dir)? {
        Some(keys) => keys,
        None if may_create => MasterKeys::create(dir, entropy)?,
        None => return Err(StartError::NoMasterKey(dir.to_owned())),
    };
    let mut events = Vec::new();
    let sealing = keys.held().sealing().0;
    for (version, fingerprint) in keys.fingerprints() {
        let state = if version == sealing { MasterKeyState::Current } else { MasterKeyState::Retired };
        store::master_keys::insert(tx, version, &fingerprint, state)?;
        events.push(NewEvent::new(EventKind::MasterKeyRegistered, version).with("fingerprint", fingerprint));
    }
    Ok((keys, events))
}

/// Creates everything that a deployment needs in one transaction. A crash leaves all or nothing of
/// it.
async fn set_up(store: &Store, settings: &Settings, entropy: &SystemEntropy) -> Result<MasterKeys, StartError> {
    let algorithm = settings.algorithm;
    let published = store.read(|connection| store::signing_keys::list(connection, true)).await?;
    // Generating RSA keys takes a second. It happens before the transaction, and only if the keys
    // may be needed.
    let fresh = if signing_keys::has_next(&published, algorithm) {
        None
    } else {
        Some([signing_keys::generate(algorithm).await?, signing_keys::generate(algorithm).await?])
    };
    let (settings, entropy) = (settings.clone(), entropy.clone());
    store
        .change(Origin::of(Actor::System), move |tx| {
            store::lock(tx, LOCK)?;
            // The presence of a master key proves nothing here: `master-key init` may have run
            // before.
            let is_new = store::signing_keys::list(tx, false)?.is_empty();
            let (master, mut events) = register(tx, &settings.keys_dir, settings.may_create_keys, &entropy)?;
            events.extend(built_in_permissions(tx)?);
            let audiences = [
                (BuiltIn::Default, &settings.limits.default_audience),
                (BuiltIn::Management, &settings.management_audience),
            ];
            for (kind, identifier) in audiences {
                events.extend(audiences::ensure_built_in(tx, kind, identifier)?);
            }
            events.extend(ensure_signing_keys(tx, &master, &entropy, &settings, fresh.as_ref())?);
            if is_new {
                events.extend(administrator(tx, &settings, &master, &entropy)?);
            }
            Ok(Outcome::events(master, events))
        })
        .await
}

fn ensure_signing_keys(
    tx: &mut Tx<'_>,
    master: &MasterKeys,
    entropy: &SystemEntropy,
    settings: &Settings,
    fresh: Option<&[PrivateKeyDer; 2]>,
) -> Result<Vec<NewEvent>, StartError> {
    let Some(fresh) = fresh else { return Ok(Vec::new()) };
    store::lock(tx, signing_keys::LOCK)?;
    Ok(signing_keys::ensure(tx, master, entropy, settings.algorithm, fresh)?)
}

fn built_in_permissions(tx: &mut Tx<'_>) -> Result<Vec<NewEvent>, StartError> {
    let mut events = Vec::new();
    for (name, description) in BUILT_IN {
        let corrupt = |error: &dyn std::fmt::Display| StoreError::Corrupt(format!("{name}: {error}"));
        let permission = Permission {
            name: name.parse().map_err(|error| corrupt(&error))?,
            description: Some(description.parse().map_err(|error| corrupt(&error))?),
            assignable_to: if name.starts_with("keyswap:") {
                [AssignableTo::ServiceClient].into()
            } else {
                [AssignableTo::User, AssignableTo::Organization, AssignableTo::ServiceClient].into()
            },
            built_in: true,
            created_at: tx.now(),
            version: 1,
        };
        if store::permissions::find(tx, &permission.name)?.is_none() {
            store::permissions::insert(tx, &permission)?;
            events.push(NewEvent::new(EventKind::PermissionCreated, &permission.name));
        }
    }
    Ok(events)
}

/// Creates the service client "administrator" and its key. The key is on disk before the
/// transaction commits, so that a crash cannot leave an administrator whose key is lost.
fn administrator(
    tx: &mut Tx<'_>,
    settings: &Settings,
    master: &MasterKeys,
    entropy: &SystemEntropy,
) -> Result<Vec<NewEvent>, StartError> {
    let name: crate::domain::name::DisplayName =
        "administrator".parse().map_err(|error| StoreError::Corrupt(format!("{error}")))?;
    let permissions: PermissionSet = ADMIN.parse().into_iter().collect();
    let client = ServiceClient {
        id: tx.new_id().map_err(Error::from)?,
        name: name.clone(),
        home: Home::Account,
        permissions: permissions.clone(),
        metadata: Metadata::default(),
        created_at: tx.now(),
        created_by: tx.author(),
        version: 1,
    };
    store::service_clients::insert(tx, &client)?;
    let new = NewKey {
        name,
        owner: Some(OwnerAsked::ServiceClient(client.id.clone())),
        permissions,
        audiences: None,
        metadata: Metadata::default(),
        max_token_ttl: None,
        exchanges_per_minute: None,
        expires_at: settings.max_key_lifetime.map(|longest| tx.now().after(longest)),
    };
    // The enabled owner types apply to the keys that clients create. This key is exempt, because no
    // other key can be created without it.
    let mut settings = settings.clone();
    settings.owner_types.insert(OwnerType::ServiceClient);
    let (made, key_event) = Maker::new(&settings, master, entropy).make(tx, new, &Caller::system())?;
    write_admin_key(&settings.admin_key_file, made.value.expose())?;
    Ok(vec![NewEvent::new(EventKind::ServiceClientCreated, &client.id), key_event])
}

fn write_admin_key(path: &Path, key: &str) -> Result<(), StartError> {
    let unwritable = |error| StartError::AdminKey(path.to_owned(), error);
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir).map_err(unwritable)?;
    }
    if path.exists() {
        // The file is from an earlier deployment or from a first start that was interrupted. It is
        // kept in case it is from an earlier deployment.
        let kept = (1..).map(|number| path.with_extension(format!("key.old.{number}"))).find(|kept| !kept.exists());
        fs::rename(path, kept.as_deref().unwrap_or(path)).map_err(unwritable)?;
    }
    write_secret(path, format!("{key}\n").as_bytes(), IfExists::Replace).map_err(unwritable)?;
    tracing::info!(file = %path.display(), "the administrator's API key was written");
    let mut terminal = io::stderr();
    if terminal.is_terminal() {
        let _ = writeln!(
            terminal,
            "\nThe administrator's API key, shown this once (also in {}):\n\n    {key}\n",
            path.display()
        );
    }
    Ok(())
}
