//! An exchange that reads a narrow row and remembered facts gives what an exchange that reads all
//! tables gives, whatever changed before (invariants 2 and 14).

mod clock;
mod collisions;
mod histories;
mod replaced;
mod restored;
mod written_by_sql;

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use keyswap::{domain::common::derived_id::CredentialId, service::credentials::shared_facts_cache::SharedFactsCache};
use serde_json::{Value, json};

use crate::{introspection::introspected, support::Server};

/// What an exchange gives, without what differs between any two tokens.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: Value,
    claims: Value,
    /// The expiry of the token and its lifetime, in seconds.
    end: Option<(i64, i64)>,
}

impl Answer {
    async fn of(server: &Server, key: &str) -> Self {
        let response = server.exchange(key).await;
        let status = response.status().as_u16();
        let mut body: Value = response.json().await.unwrap();
        let members = body.as_object_mut().unwrap();
        members.remove("expires_in");
        members.remove("request_id");
        let Some(Value::String(token)) = members.remove("access_token") else {
            return Self { status, body, claims: Value::Null, end: None };
        };
        let payload = token.split('.').nth(1).unwrap();
        let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        let members = claims.as_object_mut().unwrap();
        let [expires_at, issued_at] = ["exp", "iat"].map(|name| members.remove(name).unwrap().as_i64().unwrap());
        members.remove("jti");
        members.remove("nbf");
        Self { status, body, claims, end: Some((expires_at, expires_at - issued_at)) }
    }

    /// Whether both were decided from the same state. The two tokens are issued at different times,
    /// so either their expiry or their lifetime is the same.
    fn is_same(&self, other: &Self) -> bool {
        let has_same_end = match (self.end, other.end) {
            (Some((expires_at, lifetime)), Some((other_expires_at, other_lifetime))) => {
                expires_at == other_expires_at || lifetime == other_lifetime
            }
            (None, None) => true,
            _ => false,
        };
        has_same_end && self.status == other.status && self.body == other.body && self.claims == other.claims
    }
}

/// Servers of one database: two as in operation, and one that remembers nothing, so that it reads
/// all tables at each exchange.
struct Servers {
    narrow: [Server; 2],
    all_tables: Server,
}

impl Servers {
    async fn new(server: Server, settings: &[&str]) -> Self {
        let replica = server.replica().await;
        let forget = |services: &mut keyswap::service::Services| services.shared_facts = SharedFactsCache::disabled();
        let all_tables = Server::on_with(Arc::clone(&server.database), settings, forget).await;
        Self { narrow: [server, replica], all_tables }
    }

    /// Asserts that each server gives what all tables give: at once, and after the facts were
    /// loaded again.
    async fn compare(&self, key: &str, context: &str) {
        for server in &self.narrow {
            for _ in 0..2 {
                let before = Answer::of(&self.all_tables, key).await;
                let found = Answer::of(server, key).await;
                if found.is_same(&before) {
                    continue;
                }
                // A credential may have expired in between.
                let after = Answer::of(&self.all_tables, key).await;
                assert!(found.is_same(&after), "{context}: {found:#?} instead of {after:#?}");
            }
        }
    }

    /// Asserts that each server introspects a token as all tables say, and returns whether it is
    /// active.
    async fn compare_token(&self, token: &str, context: &str) -> bool {
        let mut active = introspect(&self.all_tables, token).await;
        for server in &self.narrow {
            let found = introspect(server, token).await;
            if found != active {
                // It may have expired in between.
                active = introspect(&self.all_tables, token).await;
                assert_eq!(found, active, "{context}: introspection of {token}");
            }
        }
        active["active"].as_bool().unwrap()
    }

    /// Exchanges the key until the next exchange on each server reads its narrow row and nothing
    /// else. SQLite's connections for it are opened when the first one is asked for.
    async fn remember(&self, key: &str, context: &str) {
        for server in &self.narrow {
            let mut attempts = 0;
            while !is_remembered(server, key).await {
                assert!(attempts < 500, "{context}: no narrow row or no facts");
                attempts += 1;
                Answer::of(server, key).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Returns whether a token is active, and its scope.
async fn introspect(server: &Server, token: &str) -> Value {
    let body = introspected(server, token).await;
    json!({ "active": body["active"], "scope": body["scope"] })
}

/// Whether an exchange of this key would read its narrow row and nothing else.
async fn is_remembered(server: &Server, key: &str) -> bool {
    let row = server.services.store.load_narrow_credential(credential_id(key)).await.unwrap();
    row.is_some_and(|(row, _)| {
        server.services.shared_facts.find(&row, &server.services.settings.limits.default_audience).flatten().is_some()
    })
}

fn credential_id(key: &str) -> CredentialId {
    key["ks_".len()..][..CredentialId::LENGTH].parse().unwrap()
}
