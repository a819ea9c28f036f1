//! The real program in separate processes. Every wait has a bound.

mod running;

use std::{
    io::{self, Read},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub use running::Running;

use crate::support::{Database, Kind, panics};

/// The longest wait for any single step on a loaded machine.
pub const LONG: Duration = Duration::from_secs(60);

/// A database, a key directory and the settings of a server.
pub struct Deployment {
    pub database: Arc<Database>,
    pub settings: Vec<String>,
}

/// The exit code and output of a command.
#[derive(Debug)]
pub struct ProcessOutput {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Deployment {
    pub fn new(kind: Kind) -> Self {
        Self::on(Arc::new(Database::empty(kind)), "keys")
    }

    /// A deployment on the given database, with the key directory `keys` beside it.
    pub fn on(database: Arc<Database>, keys: &str) -> Self {
        let keys = database.dir.path().join(keys);
        let settings = vec![
            format!("database.url={}", database.url),
            format!("keys.dir={}", keys.display()),
            "keys.create=true".to_owned(),
            "server.bind=127.0.0.1:0".to_owned(),
            "server.public_url=http://keyswap.test".to_owned(),
            "server.drain_delay=0s".to_owned(),
            // A shared machine can stall for seconds. Tests of the lease set the default.
            "database.lease=30s".to_owned(),
            "brute_force.per_source=100000".to_owned(),
            "limits.changes_per_owner=0".to_owned(),
            "limits.changes_per_organization=0".to_owned(),
        ];
        Self { database, settings }
    }

    /// The same deployment with additional settings, which take precedence.
    pub fn with(&self, settings: &[&str]) -> Self {
        let all = self.settings.iter().cloned().chain(settings.iter().map(|text| (*text).to_owned())).collect();
        Self { database: Arc::clone(&self.database), settings: all }
    }

    /// A copy of the deployment, including its database and keys. No server may be connected to the
    /// original.
    pub fn copy(&self) -> Self {
        let database = Arc::new(self.database.copy());
        let keys = database.dir.path().join(self.keys().strip_prefix(self.database.dir.path()).unwrap());
        let settings = [format!("database.url={}", database.url), format!("keys.dir={}", keys.display())];
        let settings = self.settings.iter().cloned().chain(settings).collect();
        Self { database, settings }
    }

    /// The effective value of a setting.
    pub fn setting(&self, name: &str) -> String {
        let prefix = format!("{name}=");
        self.settings.iter().rev().find_map(|text| text.strip_prefix(&prefix)).unwrap().to_owned()
    }

    pub fn keys(&self) -> PathBuf {
        self.setting("keys.dir").into()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyswap"));
        command.args(args).args(self.settings.iter().flat_map(|text| ["--set", text]));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to completion.
    pub fn run(&self, args: &[&str]) -> ProcessOutput {
        Process::spawn(self.command(args)).end(LONG)
    }

    /// Runs a command with `--json`, asserts success, and returns its output.
    pub fn json(&self, args: &[&str]) -> Value {
        let said = self.run(&[args, &["--json"]].concat());
        assert_eq!(said.code, Some(0), "{args:?}: {said:?}");
        serde_json::from_str(&said.out).unwrap()
    }

    /// Starts a server and waits until it is ready.
    pub fn serve(&self) -> Running {
        self.start().ready()
    }

    /// Starts a server without waiting for it.
    pub fn start(&self) -> Process {
        Process::spawn(self.command(&["serve"]))
    }

    /// Asserts that a server refuses to start, and returns its standard error.
    pub fn refuses(&self) -> String {
        let said = self.start().end(LONG);
        assert_eq!(said.code, Some(1), "the start should be refused: {said:?}");
        said.err
    }

    pub fn admin(&self) -> String {
        std::fs::read_to_string(self.keys().join("administrator.key")).unwrap().trim().to_owned()
    }
}

/// A child process. Dropping the value kills it.
pub struct Process {
    child: Child,
    out: Arc<Mutex<Vec<u8>>>,
    err: Arc<Mutex<Vec<u8>>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Process {
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (out, reads_out) = collect_output(child.stdout.take().unwrap());
        // A test may have given standard error to another reader.
        let (err, reads_err) = child.stderr.take().map_or_else(|| collect_output(io::empty()), collect_output);
        Self { child, out, err, readers: vec![reads_out, reads_err] }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The standard error so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.err.lock().unwrap()).into_owned()
    }

    /// Waits until the process exits, and asserts that its log contains no panic.
    pub fn end(mut self, within: Duration) -> ProcessOutput {
        let deadline = Instant::now() + within;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it did not end within {within:?}: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        };
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        let out = String::from_utf8_lossy(&self.out.lock().unwrap()).into_owned();
        panics::assert_none_in(&self.log());
        ProcessOutput { code: status.code(), out, err: self.log() }
    }

    /// Waits until the log contains the listening address.
    pub fn ready(mut self) -> Running {
        let deadline = Instant::now() + LONG;
        loop {
            if let Some(address) = listening(&self.log()) {
                return Running { process: self, base: format!("http://{address}"), http: client() };
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "no start ({ended:?}): {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the process serves or has exited.
    pub fn settle(mut self) -> Result<Running, ProcessOutput> {
        let deadline = Instant::now() + LONG;
        while listening(&self.log()).is_none() {
            if self.child.try_wait().unwrap().is_some() {
                return Err(self.end(LONG));
            }
            assert!(Instant::now() < deadline, "neither serving nor ended: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(self.ready())
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap(), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !thread::panicking() {
            for reader in self.readers.drain(..) {
                reader.join().unwrap();
            }
            panics::assert_none_in(&self.log());
        }
    }
}

pub fn client() -> Client {
    Client::builder().tls_certs_only([]).timeout(Duration::from_secs(20)).build().unwrap()
}

fn collect_output(mut from: impl Read + Send + 'static) -> (Arc<Mutex<Vec<u8>>>, thread::JoinHandle<()>) {
    let output = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&output);
    let reader = thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            into.lock().unwrap().extend_from_slice(&buffer[..read]);
        }
    });
    (output, reader)
}

/// The address in the log line "serving", in the human-readable or the JSON format.
fn listening(log: &str) -> Option<String> {
    // Only complete lines are parsed, because the last one may still be incomplete.
    let whole = &log[..=log.rfind('\n')?];
    let line = whole.lines().find(|line| line.contains("serving") && line.contains("issuer"))?;
    let after = line.split("address").nth(1)?;
    let address: String =
        after.chars().skip_while(|c| !c.is_ascii_digit()).take_while(|c| !", \"".contains(*c)).collect();
    Some(address)
}

/// Polls `ask` until it returns true, and returns the elapsed time.
pub async fn until<F: Future<Output = bool>>(what: &str, within: Duration, mut ask: impl FnMut() -> F) -> Duration {
    let started = Instant::now();
    while !ask().await {
        assert!(started.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    started.elapsed()
}

/// Defines a test that runs once for each database, on a deployment that has not been started.
macro_rules! each {
    ($($(#[$meta:meta])* async fn $name:ident($deployment:ident: Deployment) $body:block)*) => {
        $($(#[$meta])* mod $name {
            #[allow(unused_imports)]
            use super::*;
            async fn test($deployment: Deployment) $body
            fn run(kind: crate::support::Kind) {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
                runtime.block_on(test(Deployment::new(kind)));
                crate::support::panics::assert_none();
            }
            #[test]
            fn sqlite() {
                run(crate::support::Kind::Sqlite);
            }
            #[test]
            fn postgres() {
                run(crate::support::Kind::Postgres);
            }
        })*
    };
}
pub(crate) use each;
