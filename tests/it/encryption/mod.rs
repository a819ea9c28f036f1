//! Rotation of the master key through the command line while servers run, and the rollback guard,
//! which detects restored backups.

mod interrupted;
mod read_only_keys;
mod replicas;
mod rollback_guard;
mod rotation;

use keyswap::crypto::sha256_hex;
use serde_json::{Value, json};

use crate::{
    faults::process::{Deployment, ProcessOutput, Running},
    support::Kind,
    webhooks::{
        Hook, LOOPBACK,
        receiver::{Receiver, Reply},
    },
};

/// A deployment with every kind of encrypted row, and the credentials that test each of them.
pub struct Full {
    pub deployment: Deployment,
    pub admin: String,
    pub keys: Vec<String>,
    pub imported: Vec<String>,
    /// The token of a portal session.
    pub session: String,
    pub hook: Hook,
    /// The previous secret of the webhook, which still signs.
    pub old_hook: Hook,
    pub receiver: Receiver,
}

impl Full {
    /// Fills `deployment` through `server`, which runs on it.
    pub async fn on(deployment: Deployment, server: &Running, keys: usize) -> Self {
        let admin = deployment.admin();
        let mut full = Self {
            keys: Vec::new(),
            imported: Vec::new(),
            session: String::new(),
            hook: Hook { id: String::new(), secret: String::new() },
            old_hook: Hook { id: String::new(), secret: String::new() },
            receiver: Receiver::new(Reply::Status(200)),
            admin,
            deployment,
        };
        for number in 0..keys {
            full.keys.push(server.key(&full.admin).await.1);
            if number % 10 == 0 {
                let text = format!("acme.live.{number:04}-K3y9fj2LQ8xX");
                full.import(server, &text).await;
            }
        }
        let put = async |path: &str, body: Value| full.called(server, "PUT", path, body).await;
        put("/v1/roles/self", json!({ "permissions": ["user-api-keys:manage-self"] })).await;
        put("/v1/organizations/acme", json!({})).await;
        put("/v1/users/alice", json!({})).await;
        put("/v1/organizations/acme/members/alice", json!({ "roles": ["self"] })).await;
        let body = json!({ "user_id": "alice", "organization_id": "acme" });
        let opened = full.called(server, "POST", "/v1/portal-sessions", body).await;
        // An event type that does not occur, so that only test deliveries arrive.
        let body = json!({ "url": full.receiver.url, "event_types": ["organization.deleted"] });
        let made = full.called(server, "POST", "/v1/webhooks", body).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        full.old_hook = Hook { id: text(&made["id"]), secret: text(&made["secret"]) };
        let path = format!("{}/rotate-secret", full.old_hook.path());
        let rotated = full.called(server, "POST", &path, json!({ "overlap": "1h" })).await;
        full.hook = Hook { id: full.old_hook.id.clone(), secret: text(&rotated["secret"]) };
        full.session = text(&opened["token"]);
        full
    }

    pub async fn import(&mut self, server: &Running, text: &str) {
        let body = json!({
            "name": "taken over", "owner": { "type": "none" }, "permissions": [],
            "import": { "sha256": sha256_hex(text.as_bytes()), "masked": "acme.live.…" },
        });
        self.called(server, "POST", "/v1/api-keys", body).await;
        self.imported.push(text.to_owned());
    }

    /// Calls the API as the administrator and asserts success.
    pub async fn called(&self, server: &Running, method: &str, path: &str, body: Value) -> Value {
        let answer = server.call(&self.admin, method, path, Some(body)).await;
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Asserts that every encrypted row can be decrypted through this server.
    pub async fn opens(&self, server: &Running, when: &str) {
        for key in self.keys.iter().chain(&self.imported) {
            let answer = server.exchange(key).await;
            assert_eq!(answer.status(), 200, "{when}: {key}: {}", answer.text().await.unwrap());
        }
        let listed = server.call(&self.session, "GET", "/v1/api-keys", None).await;
        assert_eq!(listed.status(), 200, "{when}: the session");
        let before = self.receiver.all().len();
        let tested = self.called(server, "POST", &format!("{}/test", self.hook.path()), json!({})).await;
        let received = self.receiver.wait(before + 1).await;
        let mine = received[before..].iter().find(|one| self.hook.signed(one));
        let mine = mine.unwrap_or_else(|| panic!("{when}: the webhook: {tested}"));
        assert!(self.old_hook.signed(mine), "{when}: the old secret signs as well");
    }

    /// Completes a rotation as an operator does. On PostgreSQL the rotation pauses so that the
    /// operator can copy the key file, and is then continued.
    pub fn rotate(&self) -> Value {
        let report = self.deployment.json(&["master-key", "rotate"]);
        if report["waits_for"].is_null() {
            report
        } else {
            self.deployment.json(&["master-key", "rotate", "--continue"])
        }
    }

    /// The version, state and number of rows of each master key.
    pub fn status(&self) -> Vec<(i64, String, i64)> {
        status(&self.deployment)
    }
}

pub fn status(deployment: &Deployment) -> Vec<(i64, String, i64)> {
    let keys = deployment.json(&["master-key", "status"]);
    let row = |key: &Value| {
        (key["version"].as_i64().unwrap(), key["state"].as_str().unwrap().to_owned(), key["rows"].as_i64().unwrap())
    };
    keys.as_array().unwrap().iter().map(row).collect()
}

/// A deployment whose rotations have short waits.
pub fn quick(kind: Kind) -> Deployment {
    let mut settings = vec!["api_keys.imported=true", "signing_keys.replica_staleness=1s"];
    settings.extend(LOOPBACK);
    Deployment::new(kind).with(&settings)
}

pub fn refused(said: &ProcessOutput, words: &[&str]) {
    assert_eq!(said.code, Some(1), "{said:?}");
    for word in words {
        assert!(said.err.contains(word), "{word}: {said:?}");
    }
}

/// The types of the master key events with the version they concern, in the order of the audit log.
pub async fn events(server: &Running, admin: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for kind in ["registered", "activated", "retired", "removed"] {
        let mut after = 0;
        loop {
            let path = format!("/v1/events?type=master_key.{kind}&limit=100&after={after}");
            let page: Value = server.call(admin, "GET", &path, None).await.json().await.unwrap();
            let some = page["data"].as_array().unwrap();
            for event in some {
                let version = event["subject"]["id"].as_str().unwrap().to_owned();
                if version != "1" || kind != "registered" {
                    assert_eq!(event["actor"]["type"], "cli", "{event}");
                }
                after = event["seq"].as_i64().unwrap();
                found.push((after, kind.to_owned(), version));
            }
            if some.is_empty() {
                break;
            }
        }
    }
    found.sort();
    found.into_iter().map(|(_, kind, version)| (kind, version)).collect()
}

/// Declares tests that run once per database.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($deployment:ident: Deployment) $body:block)*) => {
        $($(#[$meta])* mod $name {
            #[allow(unused_imports)]
            use super::*;
            async fn test($deployment: Deployment) $body
            fn run(kind: crate::support::Kind) {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
                crate::support::panics::watch();
                runtime.block_on(test(crate::encryption::quick(kind)));
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
pub(crate) use on_both;
