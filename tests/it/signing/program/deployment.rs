//! Several replicas of the program in this process, on one database whose clock the test sets.

use std::{collections::BTreeMap, future::poll_fn, sync::Arc, task::Poll, time::Duration};

use keyswap::{
    app::startup::{self, StartMode},
    crypto::{random::SystemEntropy, sha256},
    service::{
        Services,
        signing::{self, metadata},
    },
    store::{CreationPolicy, DatabaseSettings, Store, signing::stored_keys::StoredSigningKey},
};
use serde_json::Value;

use super::{
    backup::tables,
    clock::{Machine, Time},
};
use crate::support::{Database, Kind, seeds::Random};

/// The worst-case behavior of verifiers, clocks and tokens, in seconds. Replicas are
/// configured with the same values.
pub const CACHE: u64 = 8;
pub const STALENESS: u64 = 3;
pub const LEEWAY: u64 = 2;
pub const SKEW: u64 = 1;
/// The token lifetime of a replica, in seconds. Some replicas use one second less.
pub const TTL: u64 = 4;
/// Shorter than the propagation delay, so that each key signs as soon as it may.
pub const PERIOD: u64 = 8;

/// A fault injected through the settings, clock, files or rows of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    Nothing,
    /// Verifiers cache a JWKS longer than replicas are configured for.
    ConfiguredShorterCaches,
    /// Verifiers accept expired tokens longer than replicas are configured for.
    ConfiguredLessLeeway,
    /// A replica signs with a snapshot of any age.
    NoSnapshotAgeLimit,
    /// The monotonic clock is set together with the database clock.
    NoMonotonicClock,
    /// A starting replica loses the recorded time of the last clock check.
    ForgetsClock,
    /// A starting replica finds no rollback guard file.
    NoRollbackGuard,
    /// A restored database is accepted with the propagation delays recorded in it.
    AcceptsWithDelays,
}

pub type Jwks = BTreeMap<String, Value>;

/// One replica, which represents a process.
pub struct Replica {
    /// `None` while the replica is down.
    pub services: Option<Services>,
    /// Refreshes of its snapshot fail.
    pub cut_off: bool,
    /// The replica has checked the clock, so it must detect any later jump.
    pub watches: bool,
}

pub struct Deployment {
    pub database: Database,
    pub time: Arc<Time>,
    pub replicas: Vec<Replica>,
    pub broken: Broken,
    /// The test's own connection to the database.
    pub store: Store,
    pub tables: Vec<String>,
}

impl Deployment {
    pub fn new(kind: Kind, replicas: usize, broken: Broken) -> Self {
        let (database, time) = (Database::new(kind), Arc::new(Time::new(kind)));
        time.tell(&database);
        let settings = DatabaseSettings {
            url: database.url.parse().unwrap(),
            pool_size: 1,
            connect_timeout: Duration::from_secs(60),
            statement_timeout: Duration::from_secs(60),
            lease: Duration::from_secs(30),
        };
        let clock = Arc::new(Machine { time: Arc::clone(&time), off: 0, is_fooled: false });
        let entropy = Arc::new(SystemEntropy::default());
        let store = Store::open(&settings, CreationPolicy::Fail, clock, entropy, sha256).unwrap();
        let tables = tables(&database);
        let down = || Replica { services: None, cut_off: false, watches: false };
        Self { replicas: (0..replicas).map(|_| down()).collect(), database, time, broken, store, tables }
    }

    /// All signing keys in the database, in every state.
    pub async fn keys(&self) -> Vec<StoredSigningKey> {
        self.store.read(keyswap::store::signing::stored_keys::list_rows).await.unwrap()
    }

    /// Starts a replica. If `polls` is given, the start is aborted after that many polls.
    pub async fn start(&mut self, replica: usize, chance: &mut Random, polls: Option<u32>) {
        let config = keyswap::config::Settings::load(None, &self.settings(chance)).unwrap();
        let off = chance.within(SKEW * 1000 / 2);
        let is_fooled = self.broken == Broken::NoMonotonicClock;
        let clock = Arc::new(Machine { time: Arc::clone(&self.time), off, is_fooled });
        if self.broken == Broken::ForgetsClock {
            self.database.sql(&format!("UPDATE clock_monitor SET last_observed_at = {}", self.time.of_database()));
        }
        let starting = startup::start(config, StartMode::Serve, clock);
        let services = match polls {
            Some(polls) => cut_after(polls, starting).await,
            None => Some(starting.await),
        };
        let services = services
            .map(|services| services.unwrap_or_else(|error| panic!("replica {replica} does not start: {error}")));
        self.replicas[replica] = Replica { services, cut_off: false, watches: false };
    }

    fn settings(&self, chance: &mut Random) -> Vec<String> {
        let path = |name: &str| self.database.dir.path().join(name).display().to_string();
        let cache = if self.broken == Broken::ConfiguredShorterCaches { CACHE - SKEW - 1 } else { CACHE };
        let leeway = if self.broken == Broken::ConfiguredLessLeeway { 0 } else { LEEWAY };
        let ttl = TTL - chance.below(2);
        let mut settings = vec![
            format!("database.url={}", self.database.url),
            "database.pool_size=1".to_owned(),
            "database.lease=30s".to_owned(),
            format!("keys.dir={}", path("keys")),
            "keys.create=true".to_owned(),
            "server.public_url=http://keyswap.test".to_owned(),
            format!("signing_keys.rotation_period={PERIOD}s"),
            format!("signing_keys.verifier_cache_ttl={cache}s"),
            format!("signing_keys.replica_staleness={STALENESS}s"),
            format!("signing_keys.verifier_leeway={leeway}s"),
            format!("signing_keys.clock_skew={SKEW}s"),
            format!("tokens.max_ttl={ttl}s"),
            format!("tokens.default_ttl={ttl}s"),
        ];
        if self.broken == Broken::NoRollbackGuard {
            settings.push(format!("keys.rollback_guard={}", path(&format!("rollback-guard.{}", self.time.truth()))));
        }
        settings
    }

    /// `kill -9` between two statements.
    pub fn kill(&mut self, replica: usize) {
        self.replicas[replica] = Replica { services: None, cut_off: false, watches: false };
    }

    pub fn kill_all(&mut self) {
        (0..self.replicas.len()).for_each(|replica| self.kill(replica));
    }

    pub fn up(&self) -> Vec<usize> {
        (0..self.replicas.len()).filter(|one| self.replicas[*one].services.is_some()).collect()
    }

    /// The replicas that are up and reach the database.
    pub fn connected(&self) -> Vec<usize> {
        self.up().into_iter().filter(|one| !self.replicas[*one].cut_off).collect()
    }

    pub fn services(&self, replica: usize) -> &Services {
        self.replicas[replica].services.as_ref().unwrap()
    }

    /// The JWKS that this replica serves to a new request, and whether verifiers may cache it.
    pub async fn served(&self, replica: usize) -> (Jwks, bool) {
        let services = self.services(replica);
        if !self.replicas[replica].cut_off {
            services.keys.snapshot_to_publish().await;
        }
        self.known(replica)
    }

    /// Like `served`, but from the current snapshot, as in `http::well_known`.
    pub fn known(&self, replica: usize) -> (Jwks, bool) {
        let services = self.services(replica);
        let view = services.keys.view();
        let asked = metadata::build_jwks_after_rollback(services, &view, None);
        let document: Value = serde_json::from_slice(&asked.as_ref().unwrap_or(&view.jwks).body).unwrap();
        let keys = document["keys"].as_array().unwrap();
        let keys = keys.iter().map(|key| (key["kid"].as_str().unwrap().to_owned(), key.clone())).collect();
        (keys, services.keys.is_cacheable(&view) && !view.is_halted())
    }

    /// Runs the rotation job once.
    pub async fn tick(&self, replica: usize) -> Result<(), keyswap::service::Error> {
        signing::run_due_rotation(self.services(replica)).await
    }
}

/// Calls `act` after `work` was polled `polls` times, which is between two of its statements. `act`
/// is not called if `work` completes earlier.
pub async fn interrupted<F: Future>(polls: u32, work: F, act: impl FnOnce()) -> F::Output {
    let (mut work, mut left, mut act) = (Box::pin(work), polls, Some(act));
    poll_fn(|context| {
        match left.checked_sub(1) {
            Some(less) => left = less,
            None => {
                if let Some(act) = act.take() {
                    act();
                }
            }
        }
        work.as_mut().poll(context)
    })
    .await
}

/// Drops `work` after `polls` polls. Statements already sent to the database
/// complete; none follows.
pub async fn cut_after<F: Future>(polls: u32, work: F) -> Option<F::Output> {
    let (mut work, mut left) = (Box::pin(work), polls);
    poll_fn(|context| match left.checked_sub(1) {
        None => Poll::Ready(None),
        Some(less) => {
            left = less;
            work.as_mut().poll(context).map(Some)
        }
    })
    .await
}
