//! Webhooks with real receivers on the loopback interface.

mod delivery;
mod management;
mod outbound_guard;
pub mod receiver;
mod replicas;
mod standard;

use serde_json::{Value, json};

use crate::support::{MANUAL_JOBS, Server};
use receiver::Received;

/// Settings that permit deliveries to receivers on this machine.
pub const LOOPBACK: [&str; 3] = [
    r#"webhooks.allowed_networks=["127.0.0.0/8"]"#,
    r#"webhooks.allowed_ports=["1024-65535"]"#,
    "webhooks.allow_http=true",
];

/// The same for a server whose jobs run only when the test calls them.
pub const LOOPBACK_MANUAL_JOBS: [&str; 4] = [LOOPBACK[0], LOOPBACK[1], LOOPBACK[2], MANUAL_JOBS];

/// Like `both!`, with servers that reach receivers on the loopback interface and deliver when the
/// test calls `Server::deliver`.
macro_rules! loopback {
    ($($(#[$meta:meta])* async fn $name:ident($server:ident: Server) $body:block)*) => {
        $($(#[$meta])* mod $name {
            #[allow(unused_imports)]
            use super::*;
            async fn test($server: crate::support::Server) $body
            #[test]
            fn sqlite() {
                crate::support::Server::run(crate::support::Kind::Sqlite, &crate::webhooks::LOOPBACK_MANUAL_JOBS, test);
            }
            #[test]
            fn postgres() {
                crate::support::Server::run(crate::support::Kind::Postgres, &crate::webhooks::LOOPBACK_MANUAL_JOBS, test);
            }
        })*
    };
}
pub(crate) use loopback;

#[derive(Debug, Clone)]
pub struct Hook {
    pub id: String,
    pub secret: String,
}

impl Hook {
    pub fn path(&self) -> String {
        format!("/v1/webhooks/{}", self.id)
    }

    /// Whether the message is signed with this secret, according to the `standardwebhooks` crate.
    /// The tolerance of the timestamp is not checked, because tests move the clock.
    pub fn signed(&self, received: &Received) -> bool {
        let stock = standardwebhooks::Webhook::new(&self.secret).unwrap();
        let timestamp = received.header("webhook-timestamp").parse().unwrap();
        let expected = stock.sign(received.header("webhook-id"), timestamp, &received.body).unwrap();
        received.header("webhook-signature").split(' ').any(|one| one == expected)
    }
}

/// Creates a webhook for these event types, or for all if there are none.
pub async fn hook(server: &Server, url: &str, event_types: &[&str]) -> Hook {
    let types = if event_types.is_empty() { Value::Null } else { json!(event_types) };
    let made = server.manage("POST", "/v1/webhooks", Some(json!({ "url": url, "event_types": types })), 201).await;
    Hook { id: made["id"].as_str().unwrap().to_owned(), secret: made["secret"].as_str().unwrap().to_owned() }
}

/// The deliveries of a webhook, newest event first.
pub async fn log(server: &Server, hook: &Hook) -> Vec<Value> {
    let page = server.manage("GET", &format!("{}/deliveries?limit=100", hook.path()), None, 200).await;
    page["data"].as_array().unwrap().clone()
}

/// Sends due deliveries and asserts that the deliveries then satisfy `good`.
pub async fn logged(server: &Server, hook: &Hook, what: &str, good: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    server.deliver().await;
    let found = log(server, hook).await;
    assert!(good(&found), "{what}: {found:?}");
    found
}

/// Sends due deliveries and asserts that the newest one then has this state and number of attempts.
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
