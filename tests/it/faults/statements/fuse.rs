//! The process that dies. It is one of this program's own with a fuse in its database connections, and in all else it is Keyswap: it does one
//! act, names each point that it reaches, and kills itself at the one that it was given.

use std::{
    env,
    sync::{Arc, Mutex},
};

use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};
use keyswap::{
    cli::compose,
    crypto::random::SystemEntropy,
    domain::event::{Actor, Origin},
    service::{
        App, Error,
        caller::Caller,
        master_keys::{self, Resealed},
        revocation, signing_keys,
        start::Mode,
    },
};
use rustix::process::{Signal, getpid, kill_process};

use crate::support::MovedClock;

/// The environment variable with the task.
pub const TASK: &str = "KEYSWAP_TEST_TASK";

/// The name of the test that is the process.
pub const CHILD: &str = "faults::statements::fuse::child";

/// Begins the line that names a point.
const POINT: &str = "point ";

/// What the process is to do, and where to die.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Task {
    pub act: Act,
    /// What is revoked: a key or a token.
    pub value: String,
    /// The point to die at; the first is 1.
    pub dies_at: Option<usize>,
    pub settings: Vec<String>,
    /// How far the clock of SQLite is ahead of the machine's, in milliseconds.
    pub offset: i64,
}

#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub enum Act {
    Rotate,
    Tick,
    MasterKey,
    Revoke,
}

/// The points that a process has named, in their order.
pub fn points(log: &str) -> Vec<String> {
    log.lines().filter_map(|line| line.strip_prefix(POINT)).map(str::to_owned).collect()
}

/// How far the act has come; absent before it begins and after it ends.
static PROGRESS: Mutex<Option<Progress>> = Mutex::new(None);

struct Progress {
    dies_at: Option<usize>,
    points: usize,
    /// Transactions that were begun, and statements since the last one was.
    transaction: usize,
    statement: usize,
}

impl Progress {
    /// At a point: it is named, and when it is the last one nothing follows.
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

struct Fuse;

impl Instrumentation for Fuse {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        // Before each statement; and when a commit is done, but nobody has heard.
        let (query, is_done) = match &event {
            InstrumentationEvent::StartQuery { query, .. } => (query.to_string(), false),
            InstrumentationEvent::FinishQuery { query, .. } => (query.to_string(), true),
            _ => return,
        };
        // The values differ from run to run: ids, times, what is sealed.
        let statement = query.split(" -- binds").next().unwrap_or_default();
        if is_of_the_pool(statement) || (is_done && statement != "COMMIT") {
            return;
        }
        if let Some(progress) = PROGRESS.lock().unwrap().as_mut() {
            progress.reach(&if is_done { "committed".to_owned() } else { statement.to_owned() });
        }
    }
}

/// The pool sets connections up and tests them when it likes, on threads of its own. None of it changes anything.
fn is_of_the_pool(statement: &str) -> bool {
    statement == "SELECT 1" || statement.starts_with("PRAGMA ") || statement.starts_with("SET ")
}

#[test]
#[ignore = "the process that dies: the other tests start it"]
fn child() {
    let Ok(task) = env::var(TASK) else { return };
    let task: Task = serde_json::from_str(&task).unwrap();
    set_default_instrumentation(|| Some(Box::new(Fuse))).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let app = app(&task.settings, task.offset).await;
        let begins = Progress { dies_at: task.dies_at, points: 0, transaction: 0, statement: 0 };
        *PROGRESS.lock().unwrap() = Some(begins);
        act(&app, task.act, &task.value).await;
        *PROGRESS.lock().unwrap() = None;
    });
}

pub async fn app(settings: &[String], offset: i64) -> App {
    let config = compose::config(None, settings).unwrap();
    compose::app(&config, Mode::Command, Arc::new(MovedClock::by(offset))).await.unwrap()
}

/// Does it, or what a process that died has left of it.
pub async fn act(app: &App, act: Act, value: &str) {
    match act {
        Act::Rotate => match signing_keys::rotate(app, &Caller::system(), None).await {
            // The process that died had committed it.
            Ok(_) | Err(Error::TooEarly(_)) => {}
            Err(error) => panic!("{error}"),
        },
        Act::Tick => signing_keys::tick(app).await.unwrap(),
        Act::MasterKey => {
            let (dir, entropy) = (&app.settings.keys_dir, SystemEntropy::default());
            let origin = || Origin::of(Actor::Cli);
            let keys = master_keys::status(&app.store, dir).await.unwrap();
            if keys.len() == 1 {
                master_keys::begin(&app.store, dir, origin(), &entropy).await.unwrap();
            }
            master_keys::activate(&app.store, dir, origin(), master_keys::Lacking::PassedOver).await.unwrap();
            let mut done = Resealed::default();
            master_keys::reseal(&app.store, &app.master, &origin(), &entropy, &mut done, |_| ()).await.unwrap();
            assert!(master_keys::retire(&app.store, origin()).await.unwrap().is_empty());
        }
        Act::Revoke => revocation::revoke(app, &Caller::system(), value).await.unwrap(),
    }
}
