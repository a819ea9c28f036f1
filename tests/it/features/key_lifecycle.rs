//! The lifecycle of a key, observed by a service that accepts its tokens.

use reqwest::StatusCode;
use serde_json::json;

use super::{acme, as_user, call, key_of, product};
use crate::support::{body_of, both, service::Service};

both! {
    // Features: W22.
    async fn read_is_200_write_is_403_and_401_after_revocation(server: Server) {
        product(&server).await;
        let service = Service::trusting(&server, "http://keyswap.test").await;
        let made = as_user(&server, "ann", "POST", "/v1/api-keys", Some(json!({
            "name": "ci", "owner": { "type": "organization" }, "permissions": ["projects:read"],
        }))).await;
        let key = body_of(made, StatusCode::CREATED).await;
        let (id, value) = (key["id"].as_str().unwrap(), key["value"].as_str().unwrap());

        let token = server.fetch_token(value).await;
        assert_eq!(service.ask("GET", &token).await, (200, json!({ "sub": "organization:acme", "iss": "http://keyswap.test" })));
        assert_eq!(service.ask("POST", &token).await, (403, json!({ "error": "Forbidden", "missing": "projects:write" })));

        let revoked = as_user(&server, "ann", "POST", &format!("/v1/api-keys/{id}/revoke"), None).await;
        assert_eq!(revoked.status(), 200);
        let refused = server.exchange(value).await;
        assert_eq!(refused.status(), 401, "the next swap");
        // The response contains no token, and the service does not accept the key itself.
        let answer: serde_json::Value = refused.json().await.unwrap();
        assert_eq!(answer.get("access_token"), None);
        assert_eq!(service.ask("GET", value).await, (401, json!({ "error": "Unauthorized" })));
    }

    // Features: W16.
    async fn missing_permission_is_named_in_the_403(server: Server) {
        let service = Service::trusting(&server, "http://keyswap.test").await;
        for (permissions, method, missing) in [
            (&["projects:read"][..], "POST", Some("projects:write")),
            (&["projects:write"], "GET", Some("projects:read")),
            (&[], "GET", Some("projects:read")),
            (&["projects:read", "projects:write"], "POST", None),
        ] {
            let key = server.generic_key(permissions).await;
            let (status, body) = service.ask(method, &server.fetch_token(&key.value).await).await;
            match missing {
                Some(missing) => assert_eq!((status, &body["missing"]), (403, &json!(missing))),
                None => assert_eq!(status, 200),
            }
        }
        // Keyswap reports a missing permission in the same way.
        let key = server.client_key(&["keyswap:events"]).await;
        let answer = call(&server, &key.value, "GET", "/v1/api-keys", None, &[]).await;
        let body = body_of(answer, StatusCode::FORBIDDEN).await;
        assert!(body["detail"].as_str().unwrap().contains("keyswap:keys"), "{body}");
    }

    // Features: A18.
    async fn token_yields_an_identity_or_401(server: Server) {
        product(&server).await;
        let service = Service::trusting(&server, "http://keyswap.test").await;
        let key = key_of(&server, acme(), &["projects:read"]).await;
        let token = server.fetch_token(&key.value).await;
        let (status, identity) = service.ask("GET", &token).await;
        assert_eq!((status, &identity["sub"]), (200, &json!("organization:acme")));
        let (head, _) = token.rsplit_once('.').unwrap();
        for bad in ["", "x", &key.value, head, &format!("{head}.AAAA"), &token[..token.len() - 8]] {
            assert_eq!(service.ask("GET", bad).await.0, 401, "{bad}");
        }
    }

    // Features: W18.
    async fn read_only_key_cannot_gain_permissions(server: Server) {
        product(&server).await;
        // The key may manage the keys of its organization and has one application permission.
        let key = key_of(&server, acme(), &["projects:read", "api-keys:manage"]).await;
        let reader = key_of(&server, acme(), &["projects:read"]).await;
        let body = body_of(server.exchange(&key.value).await, StatusCode::OK).await;
        assert_eq!(body["scope"], "projects:read", "what was given to it, and not what its organization may do");
        let more = server.exchange_for(&key.value, json!({ "scope": "projects:read projects:write" })).await;
        assert_eq!(more.status(), 400);
        let wider = json!({ "permissions": ["projects:read", "projects:write", "api-keys:manage"] });
        let path = format!("/v1/api-keys/{}", key.id);
        assert_eq!(call(&server, &key.value, "PATCH", &path, Some(wider.clone()), &[]).await.status(), 422);
        let another = json!({ "name": "wider", "owner": { "type": "organization" }, "permissions": ["projects:write"] });
        assert_eq!(call(&server, &key.value, "POST", "/v1/api-keys", Some(another.clone()), &[]).await.status(), 422);
        // A key without management permissions is refused earlier, with 403.
        let path = format!("/v1/api-keys/{}", reader.id);
        assert_eq!(call(&server, &reader.value, "PATCH", &path, Some(wider), &[]).await.status(), 403);
        assert_eq!(call(&server, &reader.value, "POST", "/v1/api-keys", Some(another), &[]).await.status(), 403);
        let body = body_of(server.exchange(&reader.value).await, StatusCode::OK).await;
        assert_eq!(body["scope"], "projects:read");
    }
}
