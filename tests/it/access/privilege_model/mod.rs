//! No sequence of operations gives an actor more access than it had (design §3.3, ASVS 8.2).

mod access_records;
mod actor;
mod powers;
mod random_walk;
mod requests;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::both;

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

both! {
    async fn key_cannot_raise_its_own_limits(server: Server) {
        server.offer_management_permissions().await;
        server.permissions_for_all(&["projects:read"]).await;
        server.role("worker", &["projects:read", "user-api-keys:manage-self"]).await;
        server.user("alice", &["worker"]).await;
        let end = server.services.store.now().await.unwrap().plus(keyswap::domain::common::time::Span::from_secs(3600)).to_string();
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

    async fn key_cannot_create_a_key_without_its_limits(server: Server) {
        server.offer_management_permissions().await;
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
        let restrict = json!({ "name": "a", "permissions": ["projects:read"], "exchanges_per_minute": 5, "audiences": ["http://keyswap.test"] });
        assert_eq!(call("POST", "/v1/api-keys".to_owned(), restrict).await.unwrap().status(), 201);
        // The key cannot obtain the value of an unlimited key by rotating it.
        let rotated = call("POST", format!("/v1/api-keys/{}/rotate", unlimited.id), json!({ "grace": "0s" })).await.unwrap();
        assert_eq!(rotated.status(), 403);
        assert_eq!(call("POST", format!("/v1/api-keys/{}/rotate", limited.id), json!({ "grace": "1h" })).await.unwrap().status(), 200);
        // The previous value of a key, valid during its grace period, cannot rotate the key.
        assert_eq!(call("POST", format!("/v1/api-keys/{}/rotate", limited.id), json!({ "grace": "0s" })).await.unwrap().status(), 403);
    }

    async fn session_permits_what_the_roles_of_its_user_permit_and_no_more(server: Server) {
        server.offer_management_permissions().await;
        server.permissions_for_all(&["projects:read", "projects:write", "tasks:read"]).await;
        server.role("worker", &["projects:read", "projects:write", "user-api-keys:manage-self"]).await;
        server.user("alice", &["worker"]).await;
        // The opener holds none of the permissions, or one that the user does not have.
        for opener in [&["keyswap:sessions"][..], &["keyswap:keys"], &["keyswap:keys", "tasks:read"], &["keyswap:admin"]] {
            let back_end = server.client_key(opener).await;
            let open = server.post("/v1/portal-sessions").bearer_auth(&back_end.value).json(&json!({ "user_id": "alice" }));
            let session = crate::support::body_of(open.send().await.unwrap(), StatusCode::CREATED).await;
            let session = session["token"].as_str().unwrap();
            for (permission, status) in [
                ("projects:read", 201), ("projects:write", 201), ("user-api-keys:manage-self", 201), ("tasks:read", 422), ("keyswap:keys", 422),
                ("keyswap:sessions", 422), ("keyswap:admin", 422),
            ] {
                let body = json!({ "name": "a", "permissions": [permission] });
                let made = server.post("/v1/api-keys").bearer_auth(session).json(&body).send().await.unwrap();
                assert_eq!(made.status(), status, "{permission} in a session of {opener:?}");
            }
        }
    }

    async fn keyswap_keys_implies_keyswap_sessions(server: Server) {
        let manager = server.client_key(&["keyswap:keys"]).await;
        let sessions = server.client_key(&["keyswap:sessions"]).await;
        let make = async |key: &crate::support::Key, permission: &str| {
            let client = json!({ "name": "c", "permissions": [permission] });
            server.post("/v1/service-clients").bearer_auth(&key.value).json(&client).send().await.unwrap().status().as_u16()
        };
        assert_eq!((make(&manager, "keyswap:sessions").await, make(&manager, "keyswap:keys").await), (201, 201));
        assert_eq!(make(&manager, "keyswap:directory").await, 422);
        // The reverse does not hold: a key that opens sessions manages no keys and acts on behalf of no user.
        assert_eq!(make(&sessions, "keyswap:sessions").await, 403);
        server.user("alice", &[]).await;
        let on_behalf = server.get("/v1/api-keys").bearer_auth(&sessions.value).header("keyswap-on-behalf-of", "alice");
        assert_eq!(on_behalf.send().await.unwrap().status(), 403);
        assert_eq!(server.get("/v1/api-keys").bearer_auth(&sessions.value).send().await.unwrap().status(), 403);
    }

    async fn last_administrator_cannot_revoke_itself(server: Server) {
        let all = server.manage("GET", "/v1/api-keys", None, 200).await;
        let path = format!("/v1/api-keys/{}", all["data"][0]["id"].as_str().unwrap());
        let soon = server.services.store.now().await.unwrap().plus(keyswap::domain::common::time::Span::from_secs(60)).to_string();
        for patch in [json!({ "audiences": ["http://keyswap.test"] }), json!({ "expires_at": soon }), json!({ "permissions": [] })] {
            server.manage("PATCH", &path, Some(patch), 409).await;
        }
        server.manage("POST", &format!("{path}/revoke"), None, 409).await;
    }

    async fn next_user_with_the_same_id_sees_no_old_objects(server: Server) {
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
