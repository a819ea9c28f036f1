//! A client under load. It creates keys, rotates some and revokes some, and exchanges and validates
//! them. It uses its keys alone, so that it knows the only right answer of each request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{faults::process::Running, support::seeds::Random};

/// How often a change is repeated after 503, with the same `Idempotency-Key`.
const REPETITIONS: usize = 3;
const PAUSE: Duration = Duration::from_millis(50);

/// What the client knows of a change that it has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    NotSent,
    /// The last answer was 503: the change has happened as a whole, or not at all.
    Unknown,
    Acknowledged,
}

/// A key, as its client knows it.
#[derive(Debug, Clone)]
pub struct KeyRecord {
    pub name: String,
    pub id: Option<String>,
    /// The newest value. The answer to a repetition does not contain it.
    pub value: Option<String>,
    /// The values whose end was acknowledged.
    pub ended: Vec<String>,
    pub creation: Knowledge,
    pub rotation: Knowledge,
    pub revocation: Knowledge,
}

/// The numbers of answers that were a result and that were 503.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub answered: usize,
    pub unavailable: usize,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.unavailable += other.unavailable;
    }
}

pub struct LoadClient {
    base: String,
    http: reqwest::Client,
    admin: String,
    number: usize,
    random: Random,
    pub keys: Vec<KeyRecord>,
    pub changes: Tally,
    pub checks: Tally,
}

impl LoadClient {
    pub fn new(server: &Running, admin: &str, number: usize, seed: u64) -> Self {
        Self {
            base: server.base.clone(),
            http: server.http.clone(),
            admin: admin.to_owned(),
            number,
            random: Random::new(seed.wrapping_add(u64::try_from(number).unwrap())),
            keys: Vec::new(),
            changes: Tally::default(),
            checks: Tally::default(),
        }
    }

    pub async fn run(mut self, stop: Arc<AtomicBool>) -> Self {
        while !stop.load(Ordering::SeqCst) {
            let mut key = self.create().await;
            self.check(&key).await;
            match self.random.below(3) {
                0 => self.rotate(&mut key).await,
                1 => self.revoke(&mut key).await,
                _ => {}
            }
            self.check(&key).await;
            self.keys.push(key);
            let earlier = self.random.pick(&self.keys).clone();
            self.check(&earlier).await;
        }
        self
    }

    async fn create(&mut self) -> KeyRecord {
        let name = format!("{}-{}", self.number, self.keys.len());
        let body = json!({ "name": name, "owner": { "type": "none" }, "permissions": [] });
        let created = self.change("/v1/api-keys", &body, &name).await;
        let text = |member: &str| created.as_ref().and_then(|key| key[member].as_str().map(str::to_owned));
        KeyRecord {
            id: text("id"),
            value: text("value"),
            ended: Vec::new(),
            creation: if created.is_some() { Knowledge::Acknowledged } else { Knowledge::Unknown },
            rotation: Knowledge::NotSent,
            revocation: Knowledge::NotSent,
            name,
        }
    }

    /// Rotates a key without a grace period.
    async fn rotate(&mut self, key: &mut KeyRecord) {
        let Some(id) = &key.id else { return };
        let path = format!("/v1/api-keys/{id}/rotate");
        let rotated = self.change(&path, &json!({ "grace": "0s" }), &format!("rotate {}", key.name)).await;
        key.rotation = Knowledge::Unknown;
        if let Some(rotated) = rotated {
            key.rotation = Knowledge::Acknowledged;
            key.ended.extend(key.value.take());
            key.value = rotated["value"].as_str().map(str::to_owned);
        }
    }

    async fn revoke(&mut self, key: &mut KeyRecord) {
        let Some(id) = &key.id else { return };
        let revoked = self.change(&format!("/v1/api-keys/{id}/revoke"), &json!({}), &key.name).await;
        key.revocation = Knowledge::Unknown;
        if revoked.is_some() {
            key.revocation = Knowledge::Acknowledged;
            key.ended.extend(key.value.take());
        }
    }

    /// Sends a change until it is acknowledged. Returns `None` if its outcome stays unknown.
    async fn change(&mut self, path: &str, body: &Value, idempotency_key: &str) -> Option<Value> {
        for _ in 0..=REPETITIONS {
            let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.admin);
            let answer = request.header("idempotency-key", idempotency_key).json(body).send().await.unwrap();
            let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
            match status {
                200 | 201 => {
                    self.changes.answered += 1;
                    return Some(serde_json::from_str(&text).unwrap());
                }
                // 409: the request that was answered 503 is not over.
                503 => {}
                409 if text.contains("in_flight") => {}
                _ => panic!("POST {path}: {status} {text}"),
            }
            self.changes.unavailable += 1;
            sleep(PAUSE).await;
        }
        None
    }

    /// Presents every value of a key of which the right answer is known.
    async fn check(&mut self, key: &KeyRecord) {
        for value in &key.ended {
            self.expect(value, false).await;
        }
        let is_known = ![key.rotation, key.revocation].contains(&Knowledge::Unknown);
        if let Some(value) = key.value.as_ref().filter(|_| is_known) {
            self.expect(value, true).await;
        }
    }

    /// Asserts that an exchange and a validation grant the value, or refuse it. Both may be
    /// answered 503.
    async fn expect(&mut self, value: &str, granted: bool) {
        let exchange = self.http.post(format!("{}/v1/exchange", self.base)).bearer_auth(value);
        let status = exchange.send().await.unwrap().status().as_u16();
        self.count(status);
        let allowed = if granted { 200 } else { 401 };
        assert!(status == 503 || status == allowed, "exchange: {status}, expected {allowed} or 503");

        let validate = self.http.post(format!("{}/v1/api-keys/validate", self.base)).bearer_auth(&self.admin);
        let answer = validate.json(&json!({ "value": value })).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        self.count(status);
        assert!(status == 200 || status == 503, "validation: {status} {text}");
        if status == 200 {
            let body: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(body["api_key"].is_object(), granted, "validation: {text}");
        }
    }

    fn count(&mut self, status: u16) {
        let one = if status == 503 { &mut self.checks.unavailable } else { &mut self.checks.answered };
        *one += 1;
    }
}
