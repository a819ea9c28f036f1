//! Exchanges and validations of two keys on two processes without pause, and the check of the
//! answers. One key stays valid; the other one is revoked after the failover.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

use crate::faults::process::Running;

/// The default of `database.lease`.
pub const LEASE: Duration = Duration::from_secs(2);
/// The time in which sessions of PostgreSQL notice a changed setting, on a loaded machine.
const SLACK: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Exchange,
    Validate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Valid,
    Revoked,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    process: usize,
    call: Call,
    subject: Subject,
    began: Instant,
    ended: Instant,
    status: u16,
    granted: bool,
}

pub struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<Record>>>,
}

/// What happened when.
#[derive(Debug, Clone, Copy)]
pub struct RoundTimes {
    pub failed: Instant,
    pub revoke_sent: Instant,
    /// The revocation was acknowledged by the new primary.
    pub revoked: Instant,
    /// Until this time, process 0 reaches no server that accepts changes.
    pub without_primary_until: Option<Instant>,
}

/// The counts of one round.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    pub requests: usize,
    /// Exchanges of the valid key that were answered 503.
    pub lost: usize,
}

impl Load {
    pub fn start(servers: &[Running; 2], admin: &str, valid: &str, revoked: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for (process, server) in servers.iter().enumerate() {
            for (subject, value) in [(Subject::Valid, valid), (Subject::Revoked, revoked)] {
                let exchange = server.http.post(server.url("/v1/exchange")).bearer_auth(value);
                let validate = server.http.post(server.url("/v1/api-keys/validate")).bearer_auth(admin);
                let validate = validate.json(&json!({ "value": value }));
                for (call, request) in [(Call::Exchange, exchange), (Call::Validate, validate)] {
                    tasks.push(tokio::spawn(repeat(request, (process, call, subject), Arc::clone(&stop))));
                }
            }
        }
        Self { stop, tasks }
    }

    /// Ends the load and checks every answer.
    pub async fn check(self, times: &RoundTimes) -> Figures {
        self.stop.store(true, Ordering::SeqCst);
        let mut figures = Figures::default();
        for task in self.tasks {
            let records = task.await.expect("a request was not answered: see above");
            let works = records.iter().any(|record| record.granted && record.ended < times.failed);
            assert!(works, "no request is granted before the failure: {records:?}, {times:?}");
            for record in &records {
                record.check(times);
                figures.requests += 1;
                let is_exchange = (record.call, record.subject) == (Call::Exchange, Subject::Valid);
                figures.lost += usize::from(is_exchange && record.status == 503);
            }
        }
        figures
    }
}

/// Sends a request again and again. Each one is answered, because the process runs.
async fn repeat(
    request: RequestBuilder,
    (process, call, subject): (usize, Call, Subject),
    stop: Arc<AtomicBool>,
) -> Vec<Record> {
    let mut records = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let began = Instant::now();
        let answer = request.try_clone().unwrap().send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap_or_default();
        let granted = status == 200 && (call == Call::Exchange || body["api_key"].is_object());
        records.push(Record { process, call, subject, began, ended: Instant::now(), status, granted });
        sleep(PAUSE).await;
    }
    records
}

impl Record {
    fn check(&self, times: &RoundTimes) {
        let is_refused = !self.granted && self.status != 503;
        let statuses: &[u16] = if self.call == Call::Exchange { &[200, 401, 503] } else { &[200, 503] };
        assert!(statuses.contains(&self.status), "{self:?}");
        // A valid key is never refused, nor is the other one before its revocation.
        if self.subject == Subject::Valid || self.ended < times.revoke_sent {
            assert!(!is_refused, "a valid key was refused: {self:?}, {times:?}");
        }
        if self.subject == Subject::Revoked && self.began > times.revoked {
            assert!(!self.granted, "granted after the new primary acknowledged the revocation: {self:?}, {times:?}");
        }
        let lease_ends = times.failed + LEASE + SLACK;
        if self.process == 0
            && times.without_primary_until.is_some_and(|until| self.began > lease_ends && self.ended < until)
        {
            assert_eq!(self.status, 503, "granted or refused without a primary: {self:?}, {times:?}");
        }
    }
}
