//! Whatever someone does with what they have, they never end up with more (design §3.3, ASVS 8.2).

use std::collections::BTreeSet;

use proptest::test_runner::{RngAlgorithm, TestRng};
use rand_like::Random;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Server, both};

/// Numbers from proptest's generator, so that a run can be repeated.
mod rand_like {
    use proptest::{prelude::Rng, test_runner::TestRng};

    pub struct Random(pub TestRng);

    impl Random {
        pub fn below(&mut self, end: usize) -> usize {
            usize::try_from(self.0.next_u64() % u64::try_from(end).unwrap()).unwrap()
        }

        pub fn some<'a>(&mut self, all: &[&'a str]) -> Vec<&'a str> {
            all.iter().copied().filter(|_| self.below(2) == 0).collect()
        }
    }
}

const PRODUCT: [&str; 4] = ["projects:read", "projects:write", "tasks:read", "tasks:write"];
const ALL: [&str; 7] = [
    "projects:read",
    "projects:write",
    "tasks:read",
    "tasks:write",
    "api-keys:manage",
    "user-api-keys:manage-self",
    "user-api-keys:manage-all",
];

/// What a key can do anywhere: at the default audience and at `/v1`.
async fn powers(server: &Server, value: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for audience in ["http://keyswap.test", "http://keyswap.test/v1"] {
        let request = server.post("/v1/exchange/explain").bearer_auth(value).json(&json!({ "audience": audience }));
        let answer = request.send().await.unwrap();
        if answer.status() == StatusCode::OK {
            let body: Value = answer.json().await.unwrap();
            all.extend(body["scope"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()));
        }
    }
    all
}

/// One random thing that the actor tries; what it made is added to `keys` and `clients`.
async fn step(
    server: &Server,
    random: &mut Random,
    had: &[&str],
    keys: &mut Vec<(String, String)>,
    clients: &mut Vec<String>,
) {
    // Mostly with the key it began with: those it makes can do less.
    let actor = if random.below(2) == 0 { keys[0].1.clone() } else { keys[random.below(keys.len())].1.clone() };
    // Seldom at the key it began with: it would soon have nothing left.
    let target = if random.below(10) == 0 { 0 } else { random.below(keys.len()) };
    let target = keys[target].0.clone();
    // Mostly within its means, or nothing would come of it; sometimes not.
    let permissions = if random.below(3) > 0 { random.some(had) } else { random.some(&ALL) };
    let (method, path, body) = match if keys.len() < 3 { 0 } else { random.below(30) } {
        0..=11 => {
            let owner = match random.below(5) {
                0 => Value::Null,
                1 => json!({ "type": "user" }),
                2 => json!({ "type": "organization" }),
                3 => json!({ "type": "user", "id": "boss", "organization_id": "acme" }),
                _ => {
                    clients.last().map_or(json!({ "type": "none" }), |id| json!({ "type": "service_client", "id": id }))
                }
            };
            ("POST", "/v1/api-keys".to_owned(), json!({ "name": "k", "owner": owner, "permissions": permissions }))
        }
        12..=14 => ("PATCH", format!("/v1/api-keys/{target}"), json!({ "permissions": permissions })),
        15..=16 => ("PATCH", format!("/v1/api-keys/{target}"), json!({ "expires_at": null, "audiences": null })),
        17..=19 => ("POST", format!("/v1/api-keys/{target}/rotate"), json!({ "grace": "0s" })),
        20 => ("POST", format!("/v1/api-keys/{target}/suspend"), Value::Null),
        21..=23 => ("POST", format!("/v1/api-keys/{target}/resume"), Value::Null),
        24..=26 => ("POST", "/v1/service-clients".to_owned(), json!({ "name": "c", "permissions": permissions })),
        _ => match clients.last() {
            Some(id) => ("PATCH", format!("/v1/service-clients/{id}"), json!({ "permissions": permissions })),
            None => ("GET", "/v1/api-keys".to_owned(), Value::Null),
        },
    };
    let mut body = body;
    if body["owner"].is_null() && body.is_object() {
        body.as_object_mut().unwrap().remove("owner");
    }
    let request = server.http.request(method.parse().unwrap(), server.url(&path)).bearer_auth(&actor);
    let request = if body.is_null() { request } else { request.json(&body) };
    let answer = request.send().await.unwrap();
    assert!(answer.status().as_u16() < 500, "{method} {path} {body}: {}", answer.status());
    if !answer.status().is_success() {
        return;
    }
    let made: Value = answer.json().await.unwrap_or_default();
    match (made["id"].as_str(), made["value"].as_str()) {
        (Some(id), Some(value)) => match keys.iter_mut().find(|(known, _)| known == id) {
            Some((_, rotated)) => value.clone_into(rotated),
            None => keys.push((id.to_owned(), value.to_owned())),
        },
        (Some(id), None) if path == "/v1/service-clients" => clients.push(id.to_owned()),
        _ => {}
    }
}

both! {
    async fn no_sequence_of_operations_gives_an_actor_more_than_it_had(server: Server) {
        server.permissions_for_all(&PRODUCT).await;
        server.role("boss", &ALL).await;
        server.role("worker", &["projects:read", "projects:write", "tasks:read", "user-api-keys:manage-self", "api-keys:manage"]).await;
        server.organization("acme").await;
        for (user, role) in [("boss", "boss"), ("alice", "worker")] {
            server.user(user, &[]).await;
            server.member("acme", user, &[role]).await;
        }
        let personal = json!({ "type": "user", "id": "alice", "organization_id": "acme" });
        let starts = [
            (personal.clone(), vec!["projects:read", "tasks:read", "user-api-keys:manage-self"]),
            (personal, vec!["projects:read", "user-api-keys:manage-self", "api-keys:manage"]),
            (json!({ "type": "organization", "id": "acme" }), vec!["tasks:write", "api-keys:manage", "user-api-keys:manage-all"]),
        ];
        for (round, (owner, permissions)) in starts.into_iter().enumerate() {
            let seed = [u8::try_from(round).unwrap() + 1; 32];
            let mut random = Random(TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
            let start = server.key_of(owner, &permissions).await;
            let had = powers(&server, &start.value).await;
            assert_eq!(had.len(), permissions.len(), "{had:?}");
            let (mut keys, mut clients) = (vec![(start.id, start.value)], Vec::new());
            for _ in 0..80 {
                step(&server, &mut random, &permissions, &mut keys, &mut clients).await;
                for (id, value) in [&keys[0], &keys[keys.len() - 1]] {
                    let has = powers(&server, value).await;
                    assert!(has.is_subset(&had), "{id} can {:?} more", has.difference(&had).collect::<Vec<_>>());
                }
            }
            let mut all = BTreeSet::new();
            for (_, value) in &keys {
                all.extend(powers(&server, value).await);
            }
            assert!(all.is_subset(&had), "{:?}", all.difference(&had).collect::<Vec<_>>());
            assert!(keys.len() > 2, "hardly anything was tried");
        }
    }

    async fn no_key_lifts_its_own_limits(server: Server) {
        server.permissions_for_all(&["projects:read"]).await;
        server.role("worker", &["projects:read", "user-api-keys:manage-self"]).await;
        server.user("alice", &["worker"]).await;
        let end = server.app.store.now().await.unwrap().after(keyswap::domain::time::Span::from_secs(3600)).to_string();
        let body = json!({
            "name": "k", "owner": { "type": "user", "id": "alice" }, "permissions": ["projects:read", "user-api-keys:manage-self"],
            "expires_at": end, "exchanges_per_minute": 100, "max_token_ttl": "5m", "audiences": ["http://keyswap.test", "http://keyswap.test/v1"],
        });
        let key = server.key(body).await;
        for (wider, narrower) in [
            (json!({ "expires_at": null }), json!({ "name": "n" })),
            (json!({ "exchanges_per_minute": null }), json!({ "exchanges_per_minute": 50 })),
            (json!({ "max_token_ttl": "10m" }), json!({ "max_token_ttl": "1m" })),
            (json!({ "audiences": null }), json!({ "metadata": {} })),
        ] {
            let patch = |body: Value| server.http.patch(server.url(&format!("/v1/api-keys/{}", key.id))).bearer_auth(&key.value).json(&body).send();
            assert_eq!(patch(wider.clone()).await.unwrap().status(), 403, "{wider}");
            assert_eq!(patch(narrower.clone()).await.unwrap().status(), 200, "{narrower}");
        }
    }

    async fn no_key_makes_another_without_its_limits(server: Server) {
        server.permissions_for_all(&["projects:read"]).await;
        server.role("worker", &["projects:read", "user-api-keys:manage-self"]).await;
        server.user("alice", &["worker"]).await;
        let permissions = ["projects:read", "user-api-keys:manage-self"];
        let unlimited = server.key_of(json!({ "type": "user", "id": "alice" }), &permissions).await;
        let limited = server
            .key(json!({
                "name": "k", "owner": { "type": "user", "id": "alice" }, "permissions": permissions, "exchanges_per_minute": 100,
                "audiences": ["http://keyswap.test", "http://keyswap.test/v1"],
            }))
            .await;
        let call = |method: &str, path: String, body: Value| {
            server.http.request(method.parse().unwrap(), server.url(&path)).bearer_auth(&limited.value).json(&body).send()
        };
        let wide = call("POST", "/v1/api-keys".to_owned(), json!({ "name": "a", "permissions": ["projects:read"] })).await.unwrap();
        let refused = crate::support::body_of(wide, StatusCode::UNPROCESSABLE_ENTITY).await;
        let fields: Vec<_> = refused["errors"].as_array().unwrap().iter().map(|fault| fault["field"].clone()).collect();
        assert_eq!(fields, ["exchanges_per_minute", "audiences"]);
        let narrow = json!({ "name": "a", "permissions": ["projects:read"], "exchanges_per_minute": 5, "audiences": ["http://keyswap.test"] });
        assert_eq!(call("POST", "/v1/api-keys".to_owned(), narrow).await.unwrap().status(), 201);
        // Nor does it get hold of one that has none.
        let rotated = call("POST", format!("/v1/api-keys/{}/rotate", unlimited.id), json!({ "grace": "0s" })).await.unwrap();
        assert_eq!(rotated.status(), 403);
        assert_eq!(call("POST", format!("/v1/api-keys/{}/rotate", limited.id), json!({ "grace": "1h" })).await.unwrap().status(), 200);
        // With a value that is being replaced nobody replaces it again.
        assert_eq!(call("POST", format!("/v1/api-keys/{}/rotate", limited.id), json!({ "grace": "0s" })).await.unwrap().status(), 403);
    }

    async fn a_session_hands_out_no_more_than_whoever_opened_it(server: Server) {
        let back_end = server.client_key(&["keyswap:keys", "projects:read"]).await;
        server.permissions_for_all(&["projects:read", "projects:write"]).await;
        server.role("worker", &["projects:read", "projects:write", "user-api-keys:manage-self"]).await;
        server.user("alice", &["worker"]).await;
        let open = server.post("/v1/portal-sessions").bearer_auth(&back_end.value).json(&json!({ "user_id": "alice" }));
        let session = crate::support::body_of(open.send().await.unwrap(), StatusCode::CREATED).await;
        for (permission, status) in [("projects:read", 201), ("projects:write", 422)] {
            let body = json!({ "name": "a", "permissions": [permission] });
            let made = server.post("/v1/api-keys").bearer_auth(session["token"].as_str().unwrap()).json(&body).send().await.unwrap();
            assert_eq!(made.status(), status, "{permission}");
        }
    }

    async fn the_last_administrator_cannot_shut_itself_out(server: Server) {
        let all = server.manage("GET", "/v1/api-keys", None, 200).await;
        let path = format!("/v1/api-keys/{}", all["data"][0]["id"].as_str().unwrap());
        let soon = server.app.store.now().await.unwrap().after(keyswap::domain::time::Span::from_secs(60)).to_string();
        for patch in [json!({ "audiences": ["http://keyswap.test"] }), json!({ "expires_at": soon }), json!({ "permissions": [] })] {
            server.manage("PATCH", &path, Some(patch), 409).await;
        }
        server.manage("POST", &format!("{path}/revoke"), None, 409).await;
    }

    async fn who_gets_an_id_next_sees_nothing_of_the_one_before(server: Server) {
        server.permissions_for_all(&PRODUCT).await;
        server.role("boss", &ALL).await;
        server.user("boss", &[]).await;
        for round in 0..2 {
            server.organization("acme").await;
            server.member("acme", "boss", &["boss"]).await;
            let seen = server.on_behalf("boss; organization=acme", "GET", "/v1/api-keys").send().await.unwrap();
            let seen = crate::support::body_of(seen, StatusCode::OK).await;
            assert_eq!(seen["data"], json!([]), "round {round}");
            let key = server.key_of(json!({ "type": "organization", "id": "acme" }), &["projects:read"]).await;
            let path = format!("/v1/api-keys/{}", key.id);
            let get = || server.on_behalf("boss; organization=acme", "GET", &path).send();
            assert_eq!(get().await.unwrap().status(), 200);
            server.manage("DELETE", "/v1/organizations/acme", None, 204).await;
            server.organization("acme").await;
            server.member("acme", "boss", &["boss"]).await;
            assert_eq!(get().await.unwrap().status(), 404);
            server.manage("DELETE", "/v1/organizations/acme", None, 204).await;
        }
    }
}
