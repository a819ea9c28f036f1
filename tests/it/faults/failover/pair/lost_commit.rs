//! A failover that loses the last commit of the primary, and another change that gets its number.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{HEALTHY_WITHIN, LEASE, Pair};

/// The process that makes the change that is lost. Its rollback guard detects the loss.
const CHANGES: usize = 0;
/// The process that has only read what is lost.
const READS: usize = 1;

const ROLE: &str = "/v1/roles/worker";

impl Pair {
    /// A role is changed in a commit that the standby does not receive, and keys are exchanged with
    /// it. After the failover, process 1 answers by the history of the new primary, also when that
    /// has an event with the number of the lost one.
    ///
    /// Returns `false` if the rollback guard of process 1 has recorded the lost event: then the
    /// process refuses every key, and the test is not conclusive.
    pub async fn lose_a_change(&self) -> bool {
        let (old, new) = (self.primary, 1 - self.primary);
        let key = self.create_key_of_a_role().await;
        assert_eq!(self.scope(&key).await.as_deref(), Some("a:b"));
        let position = self.servers[old].ask("pg_current_wal_flush_lsn()");
        self.servers[new].wait_for(&format!("pg_last_wal_replay_lsn() >= '{position}'::pg_lsn"));
        self.servers[new].set("primary_conninfo", "");
        self.servers[old].wait_for("(SELECT COUNT(*) FROM pg_stat_replication WHERE state = 'streaming') = 0");

        self.put(CHANGES, ROLE, json!({ "permissions": ["a:b", "a:c"] })).await;
        for _ in 0..10 {
            assert_eq!(self.scope(&key).await.as_deref(), Some("a:b a:c"), "process 1 remembers the change");
        }
        let lost = self.last_event(old);
        self.servers[old].stop();
        sleep(LEASE).await;
        self.servers[new].promote();

        let started = Instant::now();
        let scope = loop {
            if let Some(scope) = self.scope(&key).await {
                break scope;
            }
            let log = self.processes[READS].process.log();
            if log.contains("the rollback check failed") {
                return false;
            }
            assert!(started.elapsed() < HEALTHY_WITHIN, "{log}");
            sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(scope, "a:b", "by the history of the new primary");
        self.put(READS, ROLE, json!({ "permissions": ["a:c"] })).await;
        let next = self.last_event(new);
        assert!(lost.0 == next.0 && lost.1 != next.1, "one number and two events: {lost:?}, {next:?}");
        for _ in 0..10 {
            assert_eq!(self.scope(&key).await.as_deref(), Some("a:c"), "after another change");
        }
        true
    }

    /// Creates a key with two permissions, of a user whose role has one of them.
    async fn create_key_of_a_role(&self) -> String {
        for permission in ["a:b", "a:c"] {
            let body = json!({ "assignable_to": ["user"] });
            self.put(CHANGES, &format!("/v1/permissions/{permission}"), body).await;
        }
        self.put(CHANGES, ROLE, json!({ "permissions": ["a:b", "a:c"] })).await;
        self.put(CHANGES, "/v1/users/alice", json!({ "roles": ["worker"] })).await;
        let owner = json!({ "type": "user", "id": "alice" });
        let body = json!({ "name": "a key", "owner": owner, "permissions": ["a:b", "a:c"] });
        let response = self.processes[CHANGES].call(&self.admin, "POST", "/v1/api-keys", Some(body)).await;
        assert_eq!(response.status(), 201);
        let key: Value = response.json().await.unwrap();
        self.put(CHANGES, ROLE, json!({ "permissions": ["a:b"] })).await;
        key["value"].as_str().unwrap().to_owned()
    }

    async fn put(&self, process: usize, path: &str, body: Value) {
        let response = self.processes[process].call(&self.admin, "PUT", path, Some(body)).await;
        assert!(response.status().is_success(), "{path}: {}", response.text().await.unwrap());
    }

    /// The scope that an exchange at process 1 gives, or `None` while it has no database.
    async fn scope(&self, key: &str) -> Option<String> {
        let response = self.processes[READS].exchange(key).await;
        if response.status() == 503 {
            return None;
        }
        assert_eq!(response.status(), 200, "the key is in force");
        let body: Value = response.json().await.unwrap();
        Some(body["scope"].as_str().unwrap_or_default().to_owned())
    }

    /// The number and the id of the last event that changed what is remembered.
    fn last_event(&self, server: usize) -> (String, String) {
        let one = |column: &str| self.servers[server].ask(&format!("SELECT {column} FROM event_chain_head"));
        (one("seq"), one("authority_event"))
    }
}
