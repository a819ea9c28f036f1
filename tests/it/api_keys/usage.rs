//! Usage of keys (P13): a limit of exchanges per minute, exact across replicas, and daily usage
//! counts.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    Kind, Server, both,
    wire::{Wire, oauth_error, problem},
};

/// Advances the clock to the start of a minute, so that the minute does not end during the test.
async fn fresh_minute(server: &Server) {
    let gone = server.services.store.now().await.unwrap().millis().rem_euclid(60_000);
    server.database.move_clock(60_000 - gone);
}

async fn limited(server: &Server, limit: u32) -> (String, String) {
    let body =
        json!({ "name": "a key", "owner": { "type": "none" }, "permissions": [], "exchanges_per_minute": limit });
    let key = server.key(body).await;
    (key.id, key.value)
}

fn header(answer: &Response, name: &str) -> String {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
}

/// The members `r` and `t` of the `RateLimit` header, which must refer to the policy `exchanges`.
fn rate_limit(answer: &Response) -> (u32, u32) {
    let text = header(answer, "ratelimit");
    let rest = text.strip_prefix("\"exchanges\";r=").unwrap_or_else(|| panic!("{text}"));
    let (left, reset) = rest.split_once(";t=").unwrap();
    (left.parse().unwrap(), reset.parse().unwrap())
}

async fn usage(server: &Server, id: &str, query: &str) -> Vec<Value> {
    let body = server.manage("GET", &format!("/v1/api-keys/{id}/usage{query}"), None, 200).await;
    body["data"].as_array().unwrap().clone()
}

both! {
    // Features: P13.
    async fn rate_limit_applies_per_minute_and_is_returned_in_headers(server: Server) {
        let (id, key) = limited(&server, 3).await;
        fresh_minute(&server).await;
        for left in [2, 1, 0] {
            let answer = server.exchange(&key).await;
            assert_eq!(answer.status(), 200);
            assert_eq!(header(&answer, "ratelimit-policy"), "\"exchanges\";q=3;w=60", "rl-01");
            let (r, t) = rate_limit(&answer);
            assert_eq!(r, left);
            assert!((1..=60).contains(&t), "{t}");
        }
        for wire in [Wire::Bearer, Wire::Header, Wire::Basic, Wire::TokenExchange, Wire::Ibm] {
            let answer = wire.request(&server, &key).send().await.unwrap();
            assert_eq!(header(&answer, "ratelimit-policy"), "\"exchanges\";q=3;w=60");
            let (r, t) = rate_limit(&answer);
            let retry: u32 = header(&answer, "retry-after").parse().unwrap();
            assert_eq!(r, 0);
            assert!(retry >= t && retry <= 60, "rl-03: {retry} and {t}");
            if wire.speaks_oauth() {
                oauth_error(answer, 429, "temporarily_unavailable").await;
            } else {
                problem(answer, 429, "rate_limited").await;
            }
        }
        let explained = server.post("/v1/exchange/explain").bearer_auth(&key).send().await.unwrap();
        assert_eq!(explained.status(), 200, "explain is not counted");

        server.advance(60);
        assert_eq!(rate_limit(&server.exchange(&key).await).0, 2, "whole again, and no more than whole");
        let path = format!("/v1/api-keys/{id}");
        server.manage("PATCH", &path, Some(json!({ "exchanges_per_minute": null })), 200).await;
        for _ in 0..5 {
            let answer = server.exchange(&key).await;
            assert_eq!(answer.status(), 200);
            assert_eq!(header(&answer, "ratelimit"), "", "no header without a limit");
        }
    }

    // Features: P13.
    async fn only_granted_exchanges_are_counted(server: Server) {
        let (_, key) = limited(&server, 1).await;
        fresh_minute(&server).await;
        for body in [json!({ "scope": "no:such" }), json!({ "audience": "nowhere" })] {
            let answer = server.exchange_for(&key, body).await;
            assert_eq!(answer.status(), 400);
            assert_eq!(header(&answer, "ratelimit"), "");
        }
        assert_eq!(server.post("/v1/exchange/explain").bearer_auth(&key).send().await.unwrap().status(), 200);
        assert_eq!(server.exchange(&key).await.status(), 200);
        assert_eq!(server.exchange(&key).await.status(), 429);
        // An invalid request gets its own error, even over the limit.
        assert_eq!(server.exchange_for(&key, json!({ "scope": "no:such" })).await.status(), 400);
    }

    async fn refusals_over_the_limit_cost_no_transaction(server: Server) {
        let (id, key) = limited(&server, 1).await;
        fresh_minute(&server).await;
        assert_eq!(server.exchange(&key).await.status(), 200);
        assert_eq!(server.exchange(&key).await.status(), 429, "counted by the database");
        // From now on every transaction that counts an exchange fails.
        server.database.sql("ALTER TABLE rate_limit_windows RENAME TO windows_away");
        for _ in 0..3 {
            let refused = server.exchange(&key).await;
            assert_eq!((refused.status().as_u16(), rate_limit(&refused).0), (429, 0));
        }
        server.database.sql("ALTER TABLE windows_away RENAME TO rate_limit_windows");
        let path = format!("/v1/api-keys/{id}");
        server.manage("PATCH", &path, Some(json!({ "exchanges_per_minute": 2 })), 200).await;
        assert_eq!(server.exchange(&key).await.status(), 200, "a higher limit applies at once");
        assert_eq!(server.exchange(&key).await.status(), 429);
        server.advance(60);
        assert_eq!(rate_limit(&server.exchange(&key).await).0, 1);
    }

    async fn counts_that_wait_leave_connections_for_others(server: Server) {
        let (_, key) = limited(&server, 1000).await;
        let other = server.generic_key(&[]).await;
        let mut held = server.database.hold(0);
        if server.database.kind == Kind::Postgres {
            held.sql("LOCK TABLE rate_limit_windows IN EXCLUSIVE MODE");
        }
        let counted = join_all((0..40).map(|_| server.exchange(&key)));
        let others = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let started = Instant::now();
            server.manage("GET", "/v1/api-keys", None, 200).await;
            assert_eq!(server.exchange(&other.value).await.status(), 200);
            if server.database.kind == Kind::Postgres {
                server.generic_key(&[]).await;
            }
            assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
        };
        let (counted, ()) = join(counted, others).await;
        assert!(counted.iter().all(|response| response.status() == 503), "the lock is held all the time");
        held.release();
        assert_eq!(server.exchange(&key).await.status(), 200);
    }

    // Features: P13.
    async fn two_servers_grant_exactly_the_limit(server: Server) {
        let replica = server.replica().await;
        let (_, key) = limited(&server, 10).await;
        for round in 0..3 {
            fresh_minute(&server).await;
            let requests = (0..40).map(|number| if number % 2 == 0 { server.exchange(&key) } else { replica.exchange(&key) });
            let statuses: Vec<_> = join_all(requests).await.iter().map(Response::status).collect();
            let count = |status| statuses.iter().filter(|found| **found == status).count();
            assert_eq!(count(StatusCode::OK), 10, "round {round}: {statuses:?}");
            assert_eq!(count(StatusCode::TOO_MANY_REQUESTS), 30, "round {round}: {statuses:?}");
        }
    }

    // Features: P13.
    async fn clock_set_back_does_not_exhaust_the_limit(server: Server) {
        let (_, key) = limited(&server, 1).await;
        fresh_minute(&server).await;
        assert_eq!(server.exchange(&key).await.status(), 200);
        server.advance(-3600);
        assert_eq!(server.exchange(&key).await.status(), 200);
        assert_eq!(server.exchange(&key).await.status(), 429);
    }

    // Features: P13.
    async fn usage_is_reported_by_day(server: Server, "jobs=by_hand") {
        let replica = server.replica().await;
        let key = server.generic_key(&["projects:read"]).await;
        let gone = server.services.store.now().await.unwrap().millis().rem_euclid(86_400_000);
        server.database.move_clock(86_400_000 - gone);
        let today = server.services.store.now().await.unwrap().to_string()[..10].to_owned();
        for _ in 0..3 {
            server.fetch_token(&key.value).await;
        }
        for _ in 0..2 {
            replica.fetch_token(&key.value).await;
        }
        server.post("/v1/exchange/explain").bearer_auth(&key.value).send().await.unwrap();
        assert_eq!(server.exchange_for(&key.value, json!({ "scope": "no:such" })).await.status(), 400);
        for services in [&server.services, &replica.services, &server.services] {
            services.last_used.flush().await.unwrap();
        }
        let reported = usage(&server, &key.id, "").await;
        assert_eq!(reported.len(), 30);
        assert_eq!(reported[0], json!({ "day": today, "uses": 5 }));
        assert!(reported[1..].iter().all(|day| day["uses"] == 0), "{reported:?}");

        server.advance(86_400);
        server.fetch_token(&key.value).await;
        server.services.last_used.flush().await.unwrap();
        let reported = usage(&server, &key.id, "?days=2").await;
        assert_eq!(reported[1], json!({ "day": today, "uses": 5 }));
        assert_eq!((reported.len(), &reported[0]["uses"]), (2, &json!(1)));
        assert_eq!(usage(&server, &key.id, "?days=1").await.len(), 1);
        assert_eq!(usage(&server, &key.id, "?days=366").await.len(), 366);
        for days in ["0", "367", "-1", "many"] {
            let path = format!("/v1/api-keys/{}/usage?days={days}", key.id);
            let answer = server.get(&path).bearer_auth(&server.admin).send().await.unwrap();
            problem(answer, 422, "invalid").await;
        }
    }

    // Features: P13.
    async fn usage_of_a_key_sums_its_credentials(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&[]).await;
        let path = format!("/v1/api-keys/{}/rotate", key.id);
        let rotated = server.manage("POST", &path, Some(json!({ "grace": "1h" })), 200).await;
        server.fetch_token(&key.value).await;
        server.fetch_token(rotated["value"].as_str().unwrap()).await;
        server.services.last_used.flush().await.unwrap();
        let reported = usage(&server, &key.id, "?days=2").await;
        let sum: i64 = reported.iter().map(|day| day["uses"].as_i64().unwrap()).sum();
        assert_eq!(sum, 2, "{reported:?}");
    }

    // Features: P13.
    async fn usage_is_visible_to_callers_that_see_the_key(server: Server) {
        server.offer_management_permissions().await;
        let key = server.generic_key(&[]).await;
        for organization in ["acme", "globex"] {
            server.manage("PUT", &format!("/v1/organizations/{organization}"), Some(json!({})), 201).await;
        }
        let of = async |organization: &str| {
            let owner = json!({ "type": "organization", "id": organization });
            server.key(json!({ "name": "a key", "owner": owner, "permissions": ["api-keys:manage"] })).await
        };
        let (acme, globex) = (of("acme").await, of("globex").await);
        let ask = async |id: &str, caller: &str| {
            server.get(&format!("/v1/api-keys/{id}/usage")).bearer_auth(caller).send().await.unwrap()
        };
        assert_eq!(ask(&acme.id, &acme.value).await.status(), 200);
        let unknown = problem(ask("key_01JD8V3T6Q4Z9R7M2N5K8P1XYA", &acme.value).await, 404, "not_found").await;
        for id in [&globex.id, &key.id] {
            assert_eq!(problem(ask(id, &acme.value).await, 404, "not_found").await, unknown);
        }
        problem(ask(&key.id, &key.value).await, 403, "forbidden").await;
    }
}
