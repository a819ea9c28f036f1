//! The resources that members grant are bounded by what others granted to them (invariant 12).

mod members;
mod operator_limits;
mod random_walk;
mod restricted_keys;
mod stage;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Server, calls::call};

/// What a caller presents, with the header for calls on behalf of a user.
#[derive(Debug, Clone)]
pub struct Credential {
    pub value: String,
    pub on_behalf_of: Option<&'static str>,
}

impl Credential {
    pub const fn new(value: String) -> Self {
        Self { value, on_behalf_of: None }
    }

    /// Calls the API and returns the status and the body.
    pub async fn call(&self, server: &Server, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let headers: Vec<_> = self.on_behalf_of.iter().map(|who| ("keyswap-on-behalf-of", *who)).collect();
        let answer = call(server, &self.value, method, path, body, &headers).await;
        let (status, body) = (answer.status(), answer.bytes().await.unwrap());
        assert!(status.as_u16() < 500, "{method} {path}: {status}");
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Calls the API and asserts the status.
    pub async fn expect(&self, server: &Server, call: (&str, &str), body: Option<Value>, status: u16) -> Value {
        let (found, answer) = self.call(server, call.0, call.1, body.clone()).await;
        assert_eq!(found.as_u16(), status, "{call:?} {body:?}: {answer}");
        answer
    }
}

pub fn statement(role: &str, resource: &str) -> Value {
    json!({ "roles": [role], "resources": [resource] })
}

pub fn record(principal: &Value, statements: &[Value]) -> Value {
    json!({ "name": "a record", "principals": [principal], "statements": statements })
}

pub async fn is_allowed(server: &Server, principal: &Value, permission: &str, resource: &str) -> bool {
    let body = json!({ "principal": principal, "permission": permission, "resource": resource });
    server.manage("POST", "/v1/access/check", Some(body), 200).await["allowed"].as_bool().unwrap()
}
