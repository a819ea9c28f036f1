//! The random actor: its requests, the credentials it holds, and the check that it gained no
//! access.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{
    powers::{MANAGEMENT, Powers},
    requests::Request,
};
use crate::support::{Server, seeds::Random};

/// A key that the actor holds.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub id: String,
    /// Every value that the API returned for the key. The last one is current.
    pub values: Vec<String>,
}

/// Everything that the actor holds.
pub struct Actor<'a> {
    pub server: &'a Server,
    pub chance: Random,
    pub keys: Vec<Credentials>,
    pub sessions: Vec<String>,
    pub clients: Vec<String>,
    pub records: Vec<String>,
    /// Ids of keys of other owners, which the actor must not obtain.
    pub others: Vec<String>,
    /// The permissions that the actor tries to grant.
    pub permissions: Vec<&'static str>,
    pub had: Powers,
    pub tried: Vec<String>,
}

impl Actor<'_> {
    /// Picks a random credential: a key, a token of a key, or a session token.
    async fn credential(&mut self) -> String {
        let count = self.sessions.len();
        if count > 0 && (self.keys.is_empty() || !self.chance.one_in(3)) {
            return self.sessions[self.chance.index(count)].clone();
        }
        // Prefers the initial key, because the keys the actor creates have fewer permissions.
        let key = if self.chance.one_in(2) { 0 } else { self.chance.index(self.keys.len()) };
        let value = self.keys[key].values.last().unwrap().clone();
        if self.chance.one_in(3) {
            let token = self.server.exchange_for(&value, json!({ "audience": MANAGEMENT })).await;
            if token.status().is_success() {
                let body: Value = token.json().await.unwrap();
                return body["access_token"].as_str().unwrap().to_owned();
            }
        }
        value
    }

    /// Picks the id of a key of the actor, or sometimes of another owner.
    pub fn target(&mut self) -> String {
        if self.keys.is_empty() || self.chance.one_in(6) {
            return self.chance.pick(&self.others).clone();
        }
        // Rarely picks the initial key: the actor would soon have no access left.
        let key = if self.chance.one_in(8) { 0 } else { self.chance.index(self.keys.len()) };
        self.keys[key].id.clone()
    }

    /// Sends one random request, records its result and checks the affected keys.
    pub async fn step(&mut self) {
        let (request, credential) = (self.next(), self.credential().await);
        let sent = self.prepared(&request, &credential);
        let answer = sent.send().await.unwrap();
        let status = answer.status();
        self.tried
            .push(format!("{} {} {} {:?}: {status}", request.method, request.path, request.body, request.headers));
        assert!(status.as_u16() < 500, "{}", self.history_text());
        let body = answer.bytes().await.unwrap();
        if !status.is_success() || request.path == "/v1/import" {
            // An import reports success per row, so `check` decides whether a row was accepted.
            return;
        }
        let made: Value = serde_json::from_slice(&body).unwrap_or_default();
        let changed = self.take(&request, &made);
        for id in [self.keys.first().map(|key| key.id.clone()), changed].into_iter().flatten() {
            self.check(&id).await;
        }
    }

    /// The distinct kinds of accepted requests: method and path without ids.
    pub fn accepted(&self) -> impl Iterator<Item = String> {
        let accepted = self.tried.iter().filter(|tried| tried.rsplit(": ").next().unwrap().starts_with('2'));
        accepted.map(|tried| {
            let mut words = tried.split(' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap());
            let parts = path.split(['/', '?']).filter(|part| !part.contains('_') && !part.contains('='));
            format!("{method} {}", parts.collect::<Vec<_>>().join("/"))
        })
    }

    fn prepared(&self, request: &Request, credential: &str) -> RequestBuilder {
        let url = self.server.url(&request.path);
        let mut sent = self.server.http.request(request.method.parse().unwrap(), url).bearer_auth(credential);
        for (name, value) in &request.headers {
            sent = sent.header(*name, *value);
        }
        match &request.body {
            Value::Null => sent,
            body if request.path == "/v1/import" => {
                sent.header("content-type", "application/x-ndjson").body(format!("{body}\n"))
            }
            body => sent.json(body),
        }
    }

    /// Stores the credentials in a response. Returns the id of the affected key.
    fn take(&mut self, request: &Request, made: &Value) -> Option<String> {
        let id = made["id"].as_str()?.to_owned();
        if request.path.starts_with("/v1/service-clients") {
            self.clients.push(id);
            return None;
        }
        if request.path.starts_with("/v1/access-records") {
            self.records.push(id);
            return None;
        }
        if request.path == "/v1/portal-sessions" {
            self.sessions.push(made["token"].as_str()?.to_owned());
            return None;
        }
        let value = made["value"].as_str().map(str::to_owned).or_else(|| request.imported.clone());
        let known = self.keys.iter().position(|key| key.id == id);
        match (known, value) {
            (Some(at), Some(value)) => self.keys[at].values.push(value),
            (None, Some(value)) => self.keys.push(Credentials { id: id.clone(), values: vec![value] }),
            (Some(at), None) if request.path.ends_with("/cancel-rotation") => {
                self.keys[at].values.pop();
                // The value that is valid again was never returned to the actor.
                if self.keys[at].values.is_empty() {
                    self.keys.remove(at);
                }
            }
            (Some(_) | None, None) => {}
        }
        Some(id)
    }

    /// Asserts that no value ever returned for the key grants more than the actor initially had.
    pub async fn check(&self, id: &str) {
        let Some(key) = self.keys.iter().find(|key| key.id == id) else { return };
        let last = key.values.len() - 1;
        for (at, value) in key.values.iter().enumerate() {
            let powers = Powers::of(self.server, id, value, at == last).await;
            if powers.tokens.is_empty() {
                continue;
            }
            let more = powers.exceeds(&self.had);
            assert!(more.is_empty(), "{id} has more: {more:?}\n{}", self.history_text());
        }
    }

    pub fn history_text(&self) -> String {
        format!("it tried\n{}", self.tried.join("\n"))
    }
}
