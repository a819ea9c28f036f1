//! Webhooks, to real receivers on the loopback.

mod delivery;
mod guard;
mod management;
pub mod receiver;
mod replicas;
mod standard;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::Server;
use receiver::Received;

/// What lets a webhook reach a receiver on this machine.
pub const LOOPBACK: [&str; 3] = [
    r#"webhooks.allowed_networks=["127.0.0.0/8"]"#,
    r#"webhooks.allowed_ports=["1024-65535"]"#,
    "webhooks.allow_http=true",
];

/// As `both!`, with servers that reach receivers on the loopback.
macro_rules! loopback {
    ($($(#[$meta:meta])* async fn $name:ident($server:ident: Server) $body:block)*) => {
        $($(#[$meta])* mod $name {
            #[allow(unused_imports)]
            use super::*;
            async fn test($server: crate::support::Server) $body
            #[test]
            fn sqlite() {
                crate::support::Server::run(crate::support::Kind::Sqlite, &crate::webhooks::LOOPBACK, test);
            }
            #[test]
            fn postgres() {
                crate::support::Server::run(crate::support::Kind::Postgres, &crate::webhooks::LOOPBACK, test);
            }
        })*
    };
}
pub(crate) use loopback;

/// A webhook that a test made.
#[derive(Debug, Clone)]
pub struct Hook {
    pub id: String,
    pub secret: String,
}

impl Hook {
    pub fn path(&self) -> String {
        format!("/v1/webhooks/{}", self.id)
    }

    /// Whether the message was signed with this secret, by the stock library. Its tolerance is left aside: tests move the clock.
    pub fn signed(&self, received: &Received) -> bool {
        let stock = standardwebhooks::Webhook::new(&self.secret).unwrap();
        let timestamp = received.header("webhook-timestamp").parse().unwrap();
        let expected = stock.sign(received.header("webhook-id"), timestamp, &received.body).unwrap();
        received.header("webhook-signature").split(' ').any(|one| one == expected)
    }
}

/// A webhook for these types of events.
pub async fn hook(server: &Server, url: &str, event_types: &[&str]) -> Hook {
    let types = if event_types.is_empty() { Value::Null } else { json!(event_types) };
    let made = server.manage("POST", "/v1/webhooks", Some(json!({ "url": url, "event_types": types })), 201).await;
    Hook { id: made["id"].as_str().unwrap().to_owned(), secret: made["secret"].as_str().unwrap().to_owned() }
}

/// The log of a webhook, newest event first.
pub async fn log(server: &Server, hook: &Hook) -> Vec<Value> {
    let page = server.manage("GET", &format!("{}/deliveries?limit=100", hook.path()), None, 200).await;
    page["data"].as_array().unwrap().clone()
}

/// Waits until the log is as it should be.
pub async fn logged(server: &Server, hook: &Hook, what: &str, good: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let started = Instant::now();
    loop {
        let found = log(server, hook).await;
        if good(&found) {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{what}: {found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the newest delivery is `state` after `attempts` attempts.
pub async fn newest(server: &Server, hook: &Hook, state: &str, attempts: u64) -> Value {
    let what = format!("{state} after {attempts}");
    let good = |found: &[Value]| {
        found.first().is_some_and(|one| {
            one["state"] == state
                && one["attempts"] == attempts
                && one["last_error"].is_null() == (state == "delivered")
        })
    };
    logged(server, hook, &what, good).await.swap_remove(0)
}

/// Long enough that something would have been sent.
pub async fn a_while() {
    tokio::time::sleep(Duration::from_millis(1500)).await;
}
