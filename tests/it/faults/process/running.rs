//! A running server process and the calls that tests make to it.

use std::collections::BTreeMap;

use reqwest::{Client, Response};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{LONG, Process, ProcessOutput};
use crate::support::wire::form;

/// A server in its own process.
pub struct Running {
    pub process: Process,
    pub base: String,
    pub http: Client,
}

impl Running {
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub async fn get(&self, path: &str) -> Response {
        self.http.get(self.url(path)).send().await.unwrap()
    }

    pub async fn exchange(&self, key: &str) -> Response {
        self.http.post(self.url("/v1/exchange")).bearer_auth(key).send().await.unwrap()
    }

    pub async fn exchange_succeeds(&self, key: &str) -> bool {
        self.exchange(key).await.status() == 200
    }

    /// Whether introspection reports a key or token as active.
    pub async fn is_active(&self, admin: &str, token: &str) -> bool {
        let request = self.http.post(self.url("/oauth/introspect")).bearer_auth(admin);
        let answer: Value = form(request, &[("token", token)]).send().await.unwrap().json().await.unwrap();
        answer["active"].as_bool().unwrap()
    }

    /// Whether a key with management permissions is accepted.
    pub async fn knows(&self, admin: &str) -> bool {
        self.call(admin, "GET", "/v1/api-keys", None).await.status() == 200
    }

    pub async fn call(&self, admin: &str, method: &str, path: &str, body: Option<Value>) -> Response {
        let request = self.http.request(method.parse().unwrap(), self.url(path)).bearer_auth(admin);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        request.send().await.unwrap()
    }

    /// Creates a key without owner and permissions. Returns its id and its value.
    pub async fn key(&self, admin: &str) -> (String, String) {
        let body = json!({ "name": "a key", "owner": { "type": "none" }, "permissions": [] });
        let answer = self.call(admin, "POST", "/v1/api-keys", Some(body)).await;
        assert_eq!(answer.status(), 201);
        let key: Value = answer.json().await.unwrap();
        (key["id"].as_str().unwrap().to_owned(), key["value"].as_str().unwrap().to_owned())
    }

    /// The number of events by type and subject.
    pub async fn event_counts(&self, admin: &str) -> BTreeMap<(String, String), usize> {
        let mut counts = BTreeMap::new();
        let mut after = "0".to_owned();
        loop {
            let path = format!("/v1/events?limit=100&after={after}");
            let page: Value = self.call(admin, "GET", &path, None).await.json().await.unwrap();
            for event in page["data"].as_array().unwrap() {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                *counts.entry((text(&event["type"]), text(&event["subject"]["id"]))).or_default() += 1;
            }
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => return counts,
            }
        }
    }

    /// Sends SIGTERM and asserts a clean exit.
    pub fn stop(self) -> ProcessOutput {
        self.process.signal(Signal::TERM);
        let said = self.process.end(LONG);
        assert_eq!(said.code, Some(0), "{said:?}");
        said
    }

    /// Sends SIGKILL. Data that the process has written stays in the kernel's page cache, so this
    /// does not simulate a power loss and does not prove that data was synced; `faults::durability`
    /// does.
    pub fn kill(mut self) {
        self.process.child.kill().unwrap();
        self.process.child.wait().unwrap();
    }
}
