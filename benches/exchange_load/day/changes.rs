//! What happens beside the exchanges: keys are created, rotated and revoked, signing keys rotate,
//! and a backup is made.

use std::{
    collections::BTreeSet,
    env, fs,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use keyswap::domain::signing::Algorithm;
use serde_json::{Value, json};

use super::schedule::Schedule;
use crate::{
    databases::TemporaryDeployment,
    probe::probe,
    processes::{Process, ask, ask_with},
    seed::Keys,
};

/// The pause between two cycles of changes.
const PAUSE: Duration = Duration::from_secs(1);
/// How often an ended value is presented, each time on a new connection.
const REPEATS: usize = 3;
/// One of the ended values is presented again in each cycle, in a scattered order.
const STRIDE: usize = 7_919;

/// What the changes have shown.
#[derive(Debug, Default)]
pub struct Changes {
    /// Keys that were created, rotated and revoked.
    pub keys: usize,
    /// Ended values that were exchanged.
    pub stale: usize,
    /// Changes and exchanges with an unexpected response.
    pub faults: Vec<String>,
    ended: Vec<String>,
}

/// Tokens that were verified, and the signing keys that were published.
#[derive(Debug, Default)]
pub struct Verification {
    pub failures: usize,
    keys: BTreeSet<String>,
}

impl Verification {
    /// Each rotation publishes another key. The first two keys are there from the start.
    pub fn rotations(&self) -> usize {
        self.keys.len().saturating_sub(2)
    }
}

/// A backup, with its times since the beginning of the run.
#[derive(Debug)]
pub struct Backup {
    pub begin: Duration,
    pub end: Duration,
    /// The size in bytes, or what the command printed.
    pub result: Result<u64, String>,
}

/// The server, and the key of the administrator.
pub struct Operator<'a> {
    pub server: &'a Process,
    pub administrator: String,
}

impl Operator<'_> {
    fn call(&self, path: &str, bearer: &str, body: &Value) -> (Option<u16>, Value) {
        let headers = format!("Authorization: Bearer {bearer}\r\nContent-Type: application/json\r\n");
        ask_with(self.server.port, "POST", path, &headers, &body.to_string())
            .map_or((None, Value::Null), |(status, answer)| {
                (Some(status), serde_json::from_slice(&answer).unwrap_or_default())
            })
    }

    fn change(&self, path: &str, body: &Value) -> Result<Value, String> {
        match self.call(path, &self.administrator, body) {
            (Some(200 | 201), answer) => Ok(answer),
            (status, answer) => Err(format!("{path}: {status:?} {answer}")),
        }
    }

    /// Repeats a cycle of changes until the end of the run.
    pub fn change_keys(&self, schedule: Schedule, is_stopped: &AtomicBool) -> Changes {
        let mut changes = Changes::default();
        let client = match self.change("/v1/service-clients", &json!({ "name": "day", "permissions": [] })) {
            Ok(client) => client["id"].clone(),
            Err(fault) => return Changes { faults: vec![fault], ..changes },
        };
        while Instant::now() < schedule.end() && !is_stopped.load(Ordering::Relaxed) {
            match self.run_cycle(&client, &mut changes) {
                Ok(()) => changes.keys += 1,
                Err(fault) => changes.faults.push(fault),
            }
            thread::sleep(PAUSE);
        }
        changes
    }

    /// Creates, exchanges, rotates and revokes a key, and presents each ended value.
    fn run_cycle(&self, client: &Value, changes: &mut Changes) -> Result<(), String> {
        let owner = json!({ "type": "service_client", "id": client });
        let key = self.change("/v1/api-keys", &json!({ "name": "day", "owner": owner, "permissions": [] }))?;
        let path = format!("/v1/api-keys/{}", key["id"].as_str().unwrap_or_default());
        self.expect_accepted(&key)?;
        let rotated = self.change(&format!("{path}/rotate"), &json!({ "grace": "0s" }))?;
        self.present_ended(&key, changes)?;
        self.expect_accepted(&rotated)?;
        self.change(&format!("{path}/revoke"), &json!({}))?;
        self.present_ended(&rotated, changes)?;
        let again = changes.ended[changes.keys * STRIDE % changes.ended.len()].clone();
        self.present(&again, changes)
    }

    /// The second exchange of a value reads its narrow row.
    fn expect_accepted(&self, key: &Value) -> Result<(), String> {
        for _ in 0..REPEATS {
            match self.call("/v1/exchange", key["value"].as_str().unwrap_or_default(), &json!({})).0 {
                Some(200) => {}
                status => return Err(format!("a valid key was answered {status:?}")),
            }
        }
        Ok(())
    }

    fn present_ended(&self, key: &Value, changes: &mut Changes) -> Result<(), String> {
        let value = key["value"].as_str().unwrap_or_default();
        for _ in 0..REPEATS {
            self.present(value, changes)?;
        }
        changes.ended.push(value.to_owned());
        Ok(())
    }

    fn present(&self, ended: &str, changes: &mut Changes) -> Result<(), String> {
        match self.call("/v1/exchange", ended, &json!({})).0 {
            Some(401) => Ok(()),
            Some(200) => {
                changes.stale += 1;
                Err("an ended key was exchanged".to_owned())
            }
            status => Err(format!("an ended key was answered {status:?}")),
        }
    }
}

/// Verifies a token with the JWKS once in a minute, also after rotations.
pub fn verify_tokens(
    server: &Process,
    keys: &Keys,
    run: (Schedule, Algorithm),
    is_stopped: &AtomicBool,
) -> Verification {
    let (schedule, algorithm) = run;
    let mut verification = Verification::default();
    for minute in 0..schedule.minutes() {
        schedule.wait_until(schedule.end_of_minute(minute), is_stopped);
        if is_stopped.load(Ordering::Relaxed) {
            break;
        }
        let key = keys.get(minute * STRIDE % keys.count());
        let probed = thread::scope(|scope| scope.spawn(|| probe(server, algorithm, key)).join().is_ok());
        verification.failures += usize::from(!probed);
        let (_, jwks) = ask(server.port, "GET", "/.well-known/jwks.json", "").unwrap_or_default();
        let jwks: Value = serde_json::from_slice(&jwks).unwrap_or_default();
        let published = jwks["keys"].as_array().into_iter().flatten();
        verification.keys.extend(published.map(|key| key["kid"].to_string()));
    }
    verification
}

/// Makes a backup with the command of the documents, in the middle of the run.
pub fn back_up(place: &TemporaryDeployment, schedule: Schedule, is_stopped: &AtomicBool) -> Backup {
    schedule.wait_until(schedule.length / 2, is_stopped);
    let (begin, file) = (schedule.begin.elapsed(), place.dir().join("day.backup"));
    let mut command = Command::new(&place.program);
    command.arg("backup").arg(&file).args(["--set", &format!("database.url={}", place.url())]);
    command.args(["--set", &format!("keys.dir={}", place.keys_dir().display())]);
    // `pg_dump` must have the version of the server.
    if let (Ok(programs), Ok(path)) = (env::var("KEYSWAP_TEST_PGBIN"), env::var("PATH")) {
        command.env("PATH", format!("{programs}:{path}"));
    }
    let output = command.stdin(Stdio::null()).output();
    let end = schedule.begin.elapsed();
    let result = match output {
        Ok(output) if output.status.success() => {
            fs::metadata(&file).map(|file| file.len()).map_err(|error| error.to_string())
        }
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    };
    let _ = fs::remove_file(&file);
    Backup { begin, end, result }
}
