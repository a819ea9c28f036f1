//! The clock of the database is set forward and back. What is remembered has no time, so each
//! exchange is decided at the time of its own read.

use keyswap::domain::common::time::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Servers};
use crate::support::{Key, MANUAL_JOBS, Server, both};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The longest lifetime of a token, in seconds.
const DEFAULT_TTL: i64 = 300;
const SHORT_TTL: i64 = 60;

/// The times at which the keys are exchanged, in seconds after their creation. Some keys end after
/// an hour: they are also exchanged just before and after it, and again before it.
const TIMES: [i64; 12] =
    [0, HOUR / 2, -HOUR / 2, HOUR - 200, HOUR - 100, HOUR + 60, HOUR - 200, 2 * HOUR, -DAY, 30 * DAY, 0, HOUR + 60];

/// A key, and what limits its tokens.
struct LimitedKey {
    value: String,
    /// The longest lifetime, in seconds.
    ttl: i64,
    expires_at: Option<Timestamp>,
    /// Whether an exchange reads its narrow row and nothing else.
    is_narrow: bool,
}

async fn keys(server: &Server) -> Vec<LimitedKey> {
    server.permissions_for_all(&["a:b"]).await;
    server.role("worker", &["a:b"]).await;
    server.user("alice", &["worker"]).await;
    let end = server.services.store.now().await.unwrap().plus("1h".parse().unwrap());
    let create = async |limits: Value| {
        let mut body = json!({ "name": "a key", "owner": { "type": "user", "id": "alice" }, "permissions": ["a:b"] });
        body.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
        server.key(body).await
    };
    let usual = |key: Key, ttl: i64, expires_at: Option<Timestamp>| LimitedKey {
        value: key.value,
        ttl,
        expires_at,
        is_narrow: true,
    };
    let rotated = create(json!({})).await;
    let path = format!("/v1/api-keys/{}/rotate", rotated.id);
    let next = server.manage("POST", &path, Some(json!({ "grace": "1h" })), 200).await;
    let next = Key { value: next["value"].as_str().unwrap().to_owned(), ..rotated.clone() };
    let grace_end = server.services.store.now().await.unwrap().plus("1h".parse().unwrap());
    vec![
        usual(create(json!({})).await, DEFAULT_TTL, None),
        usual(create(json!({ "max_token_ttl": "1m" })).await, SHORT_TTL, None),
        usual(create(json!({ "expires_at": end })).await, DEFAULT_TTL, Some(end)),
        usual(create(json!({ "expires_at": end, "max_token_ttl": "1m" })).await, SHORT_TTL, Some(end)),
        usual(next, DEFAULT_TTL, None),
        // The credential that the rotation replaced.
        LimitedKey { is_narrow: false, ..usual(rotated, DEFAULT_TTL, Some(grace_end)) },
    ]
}

impl LimitedKey {
    /// Exchanges the key and checks what does not depend on another answer: it is refused once it
    /// has ended, and otherwise its token is issued at the time of the database and ends in time.
    async fn check(&self, server: &Server, context: &str) {
        let now = async || server.services.store.now().await.unwrap().seconds();
        let before = now().await;
        let answer = Answer::of(server, &self.value).await;
        let after = now().await;
        let is_ended = |at: i64| self.expires_at.is_some_and(|end| end.seconds() <= at);
        if is_ended(before) != is_ended(after) {
            return;
        }
        assert_eq!(answer.status, if is_ended(before) { 401 } else { 200 }, "{context}: {answer:#?}");
        let Some((expires_at, lifetime)) = answer.end else { return };
        let issued_at = expires_at - lifetime;
        assert!((before..=after).contains(&issued_at), "{context}: issued at {issued_at}, {before} to {after}");
        assert!((1..=self.ttl).contains(&lifetime), "{context}: a lifetime of {lifetime} s");
        let is_in_time = self.expires_at.is_none_or(|end| expires_at <= end.seconds());
        assert!(is_in_time, "{context}: until {expires_at}, and the key until {:?}", self.expires_at);
    }
}

both! {
    async fn answers_follow_the_clock_of_the_database(server: Server, "jobs=by_hand", "tokens.default_ttl=5m") {
        let keys = keys(&server).await;
        let servers = Servers::new(server, &[MANUAL_JOBS, "tokens.default_ttl=5m"]).await;
        let database = &servers.narrow[0].database;
        let mut time = 0;
        for (step, next) in TIMES.into_iter().enumerate() {
            database.set_clock((next - time) * 1000);
            time = next;
            for (number, key) in keys.iter().enumerate() {
                let context = format!("step {step}, {time} s after the creation, key {number}");
                servers.compare(&key.value, &context).await;
                if key.is_narrow {
                    servers.remember(&key.value, &context).await;
                }
                for server in servers.narrow.iter().chain([&servers.all_tables]) {
                    key.check(server, &context).await;
                }
                servers.compare(&key.value, &context).await;
            }
        }
    }
}
