//! Clients that exchange, validate or introspect one key continuously, and the check of their
//! responses.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use super::cause::{API, Cause};
use crate::support::keep_alive::{Answer, KeepAlive, exchange_of};

/// The number of requests that each client sends after the change.
pub const AFTER: usize = 2;

/// A resource of the access record.
const RESOURCE: &str = "/a/1";

/// The kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// An exchange for the default audience, which reads a narrow row.
    Exchange,
    /// An exchange for another audience, which reads all tables.
    ExchangeForAudience,
    Validate,
    Introspect,
}

/// The requests of one round.
pub struct Requests {
    exchange: Vec<u8>,
    exchange_for_audience: Vec<u8>,
    validate: Vec<u8>,
    introspect: Vec<u8>,
}

impl Requests {
    /// Requests about a key. Validation and introspection present `shown`: the key itself or a
    /// token issued for it.
    pub fn of(key: &str, shown: &str, admin: &str, cause: Cause) -> Self {
        let audience = cause.audience().unwrap_or(API);
        let mut validation = json!({ "value": shown, "required_permissions": ["a:b"], "audience": audience });
        let mut token = form_urlencoded::Serializer::new(String::new());
        token.append_pair("token", shown);
        if cause == Cause::AccessRecord {
            // What a record grants is in effect at its resources alone.
            validation["resource"] = json!(RESOURCE);
            token.append_pair("resource", RESOURCE);
        }
        let exchange_body = |audience: &str| json!({ "audience": audience }).to_string();
        Self {
            exchange: exchange_of(key, &cause.audience().map_or_else(String::new, exchange_body)),
            exchange_for_audience: exchange_of(key, &exchange_body(audience)),
            validate: post("/v1/api-keys/validate", admin, "application/json", &validation.to_string()),
            introspect: post("/oauth/introspect", admin, "application/x-www-form-urlencoded", &token.finish()),
        }
    }

    fn for_kind(&self, ask: RequestKind) -> &[u8] {
        match ask {
            RequestKind::Exchange => &self.exchange,
            RequestKind::ExchangeForAudience => &self.exchange_for_audience,
            RequestKind::Validate => &self.validate,
            RequestKind::Introspect => &self.introspect,
        }
    }
}

fn post(path: &str, bearer: &str, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {bearer}\r\n");
    format!("{head}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// Whether a response grants the permission `a:b`.
fn grants(ask: RequestKind, answer: &Answer) -> bool {
    match (ask, answer.status) {
        (_, 200) => {}
        // 400 is `invalid_scope`: no permission is left to grant.
        (RequestKind::Exchange | RequestKind::ExchangeForAudience, 400 | 401) => return false,
        _ => panic!("{ask:?}: {answer:?}"),
    }
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let scope = || body["scope"].as_str().unwrap_or_default().split(' ').any(|name| name == "a:b");
    // The permission of a record-bound key, at the resources of a record.
    let details = || body["authorization_details"].as_array().is_some_and(|details| !details.is_empty());
    match ask {
        RequestKind::Exchange | RequestKind::ExchangeForAudience => scope() || details(),
        RequestKind::Validate => body["api_key"].is_object() && body["missing_permissions"] == json!([]),
        RequestKind::Introspect => body["active"].as_bool().unwrap() && scope(),
    }
}

/// One request: its kind, when it began, and whether the permission was granted.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    ask: RequestKind,
    pub began: Instant,
    granted: bool,
}

/// The check: requests that began after the response to the change and were granted nevertheless.
pub fn too_late(seen: &[Seen], answered: Instant) -> Vec<RequestKind> {
    seen.iter().filter(|one| one.began > answered && one.granted).map(|one| one.ask).collect()
}

/// The change that ends a grant.
pub struct Change {
    /// One permit for each client whose first request was granted.
    pub granted: Semaphore,
    /// The moment after which no request that begins may be granted.
    pub answered: OnceLock<Instant>,
}

pub struct Client {
    pub line: KeepAlive,
    pub ask: RequestKind,
    /// The pause between two requests.
    pub breath: Duration,
    /// Uses each response twice, as a wrong cache would. The check must detect this.
    pub reuses: bool,
    pub kept: Option<bool>,
}

impl Client {
    async fn is_granted(&mut self, requests: &Requests) -> bool {
        if let Some(kept) = self.kept.take() {
            return kept;
        }
        let answer = self.line.ask(requests.for_kind(self.ask)).await.unwrap();
        let granted = grants(self.ask, &answer);
        self.kept = self.reuses.then_some(granted);
        granted
    }

    /// Sends requests until `AFTER` of them have begun after the change.
    pub async fn go_on(mut self, requests: Arc<Requests>, change: Arc<Change>) -> (Self, Vec<Seen>) {
        self.kept = None;
        let (mut seen, mut after) = (Vec::new(), 0);
        while after < AFTER {
            let began = Instant::now();
            let granted = self.is_granted(&requests).await;
            seen.push(Seen { ask: self.ask, began, granted });
            if granted && seen.len() == 1 {
                change.granted.add_permits(1);
            }
            if change.answered.get().is_some_and(|answered| began > *answered) {
                after += 1;
            }
            if self.breath > Duration::ZERO {
                sleep(self.breath).await;
            }
        }
        (self, seen)
    }
}
