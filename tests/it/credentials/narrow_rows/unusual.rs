//! Each kind of credential that has no narrow row, because an exchange of it needs all tables.

use keyswap::crypto::sha256_hex;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{count, has_narrow_row};
use crate::support::{Server, body_of, both};

/// Whether a key has a narrow row after it was changed so.
async fn has_row_after(server: &Server, change: Value) -> bool {
    let key = server.generic_key(&[]).await;
    assert!(has_narrow_row(server, &key).await);
    server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(change), 200).await;
    has_narrow_row(server, &key).await
}

/// Whether a key has a narrow row after this transition.
async fn has_row_after_step(server: &Server, step: &str) -> bool {
    let key = server.generic_key(&[]).await;
    assert!(has_narrow_row(server, &key).await);
    server.step(&key, step).await;
    has_narrow_row(server, &key).await
}

both! {
    async fn suspended(server: Server) {
        assert!(!has_row_after_step(&server, "suspend").await);
    }

    async fn revoked(server: Server) {
        assert!(!has_row_after_step(&server, "revoke").await);
    }

    async fn rate_limited(server: Server) {
        assert!(!has_row_after(&server, json!({ "exchanges_per_minute": 5 })).await);
    }

    async fn record_bound(server: Server) {
        assert!(!has_row_after(&server, json!({ "record_bound": true })).await);
    }

    async fn with_metadata(server: Server) {
        assert!(!has_row_after(&server, json!({ "metadata": { "plan": "gold" } })).await);
    }

    async fn replaced(server: Server) {
        let key = server.generic_key(&[]).await;
        let path = format!("/v1/api-keys/{}/rotate", key.id);
        server.manage("POST", &path, Some(json!({ "grace": "1h" })), 200).await;
        assert!(!has_narrow_row(&server, &key).await, "the replaced credential");
        let of_key = format!("narrow_credentials WHERE key_id = '{}'", key.id);
        assert_eq!(count(&server, &of_key).await, 1, "the new credential");
    }

    async fn created_by_a_member(server: Server) {
        server.offer_management_permissions().await;
        server.permissions_for_all(&["a:b"]).await;
        server.role("manager", &["a:b", "api-keys:manage"]).await;
        server.organization("acme").await;
        server.user("bob", &[]).await;
        server.member("acme", "bob", &["manager"]).await;
        let body = json!({ "name": "of acme", "owner": { "type": "organization" }, "permissions": ["a:b"] });
        let request = server.on_behalf("bob; organization=acme", "POST", "/v1/api-keys").json(&body);
        let key = body_of(request.send().await.unwrap(), StatusCode::CREATED).await;
        let of_key = |id: &Value| format!("narrow_credentials WHERE key_id = '{}'", id.as_str().unwrap());
        assert_eq!(count(&server, &of_key(&key["id"])).await, 0, "it may end with the membership of bob");
        let usual = server.key_of(json!({ "type": "organization", "id": "acme" }), &["a:b"]).await;
        assert!(has_narrow_row(&server, &usual).await, "the administrator created it");
    }

    async fn imported(server: Server, "api_keys.imported=true") {
        let imported = json!({ "sha256": sha256_hex(b"acme.live.K3y/=~9fj2LQ8xX"), "masked": "acme.live.…8xX" });
        let body = json!({ "name": "imported", "owner": { "type": "none" }, "permissions": [], "import": imported });
        let key = server.manage("POST", "/v1/api-keys", Some(body), 201).await;
        let of_key = format!("narrow_credentials WHERE key_id = '{}'", key["id"].as_str().unwrap());
        assert_eq!(count(&server, &of_key).await, 0);
    }
}
