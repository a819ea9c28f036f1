//! The process that is killed. It is this test binary with instrumented database connections, and
//! runs the same code as Keyswap. It performs one operation, logs each point that it reaches, and
//! kills itself at a given point.

use std::{
    env,
    sync::{Arc, Mutex},
};

use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};
use keyswap::{
    app::startup::{self, StartMode},
    crypto::random::SystemEntropy,
    domain::events::{Actor, Origin},
    service::{
        Error, Services,
        caller::Caller,
        encryption::{
            master_keys,
            re_encryption::{self, ReencryptionReport},
        },
        introspection::revoke,
        signing,
    },
};
use rustix::process::{Signal, getpid, kill_process};

use crate::support::MovedClock;

/// The environment variable that holds the task.
pub const TASK: &str = "KEYSWAP_TEST_TASK";

/// The full name of the test that runs as the child process.
pub const CHILD: &str = "faults::statements::child::child";

/// The prefix of the log line for a point.
const POINT: &str = "point ";

/// The operation that the process performs, and the point at which it is killed.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Task {
    pub perform: Operation,
    /// The key or token to revoke. Empty for other operations.
    pub value: String,
    /// The point at which the process kills itself, counted from 1.
    pub dies_at: Option<usize>,
    pub settings: Vec<String>,
    /// The offset of SQLite's clock from the system clock, in milliseconds.
    pub offset: i64,
}

#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub enum Operation {
    Rotate,
    Tick,
    MasterKey,
    Revoke,
}

/// The points in the log of a process, in order.
pub fn points(log: &str) -> Vec<String> {
    log.lines().filter_map(|line| line.strip_prefix(POINT)).map(str::to_owned).collect()
}

/// The progress of the operation. `None` before it begins and after it ends.
static PROGRESS: Mutex<Option<Progress>> = Mutex::new(None);

struct Progress {
    dies_at: Option<usize>,
    points: usize,
    /// The number of transactions, and of statements since the last `BEGIN`.
    transaction: usize,
    statement: usize,
}

impl Progress {
    /// Logs a point, and kills the process if it is the given one.
    fn reach(&mut self, what: &str) {
        self.points += 1;
        self.statement += 1;
        if what == "BEGIN" {
            (self.transaction, self.statement) = (self.transaction + 1, 1);
        }
        eprintln!("{POINT}{}.{}: {}", self.transaction, self.statement, what.replace('\n', " "));
        if self.dies_at == Some(self.points) {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    }
}

struct KillSwitch;

impl Instrumentation for KillSwitch {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        // Points are before each statement, and after a commit whose result the caller has not
        // received yet.
        let (query, is_done) = match &event {
            InstrumentationEvent::StartQuery { query, .. } => (query.to_string(), false),
            InstrumentationEvent::FinishQuery { query, .. } => (query.to_string(), true),
            _ => return,
        };
        // Bind values are cut off because they differ from run to run: ids, times and ciphertexts.
        let statement = query.split(" -- binds").next().unwrap_or_default();
        if is_of_the_pool(statement) || (is_done && statement != "COMMIT") {
            return;
        }
        if let Some(progress) = PROGRESS.lock().unwrap().as_mut() {
            progress.reach(&if is_done { "committed".to_owned() } else { statement.to_owned() });
        }
    }
}

/// The pool configures and tests connections on its own threads at arbitrary times. These
/// statements change no data.
fn is_of_the_pool(statement: &str) -> bool {
    [
        "PRAGMA ",
        "SET ",
        "DO ",
        "SELECT (CASE WHEN current_setting('keyswap.session'",
        "SELECT pg_postmaster_start_time()",
        "SELECT COALESCE(current_setting('keyswap.identity'",
    ]
    .iter()
    .any(|beginning| statement.starts_with(beginning))
}

#[test]
#[ignore = "child process of the other tests, which kill it"]
fn child() {
    let Ok(task) = env::var(TASK) else { return };
    let task: Task = serde_json::from_str(&task).unwrap();
    set_default_instrumentation(|| Some(Box::new(KillSwitch))).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let services = services(&task.settings, task.offset).await;
        let begins = Progress { dies_at: task.dies_at, points: 0, transaction: 0, statement: 0 };
        *PROGRESS.lock().unwrap() = Some(begins);
        perform(&services, task.perform, &task.value).await;
        *PROGRESS.lock().unwrap() = None;
    });
}

pub async fn services(settings: &[String], offset: i64) -> Services {
    let config = keyswap::config::Settings::load(None, settings).unwrap();
    startup::start(config, StartMode::Command, Arc::new(MovedClock::by(offset))).await.unwrap()
}

/// Performs the operation, or completes what a killed process has left of it.
pub async fn perform(services: &Services, perform: Operation, value: &str) {
    match perform {
        Operation::Rotate => match signing::rotate(services, &Caller::for_system(), None).await {
            // `TooEarly`: the killed process had committed the rotation.
            Ok(_) | Err(Error::RotationTooEarly(_)) => {}
            Err(error) => panic!("{error}"),
        },
        Operation::Tick => signing::run_due_rotation(services).await.unwrap(),
        Operation::MasterKey => {
            let (dir, entropy) = (&services.settings.keys.dir, SystemEntropy::default());
            let origin = || Origin::of(Actor::Operator);
            let keys = keyswap::service::encryption::master_key_usage::list(&services.store, dir).await.unwrap();
            if keys.len() == 1 {
                master_keys::begin(&services.store, dir, origin(), &entropy).await.unwrap();
            }
            master_keys::activate(&services.store, dir, origin(), master_keys::MissingKeyPolicy::Ignore).await.unwrap();
            let mut done = ReencryptionReport::default();
            re_encryption::run(&services.store, &services.master_keys, &origin(), &mut done, |_| ()).await.unwrap();
            assert!(master_keys::retire(&services.store, origin()).await.unwrap().is_empty());
        }
        Operation::Revoke => revoke::revoke(services, &Caller::for_system(), value).await.unwrap(),
    }
}
