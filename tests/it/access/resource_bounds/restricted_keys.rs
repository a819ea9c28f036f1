//! A key that access records restrict, or that is record-bound, grants no more than it has, and
//! does not change what restricts it.

use serde_json::{Value, json};

use super::{
    Credential, record,
    stage::{Stage, grant, key},
    statement,
};
use crate::support::{Server, both};

const MANAGEMENT: &str = "http://keyswap.test/v1";

/// The key itself, and a token of it.
async fn forms_of(server: &Server, value: &str) -> [Credential; 2] {
    let token = server.exchange_for(value, json!({ "audience": MANAGEMENT })).await;
    let token: Value = token.json().await.unwrap();
    let token = token["access_token"].as_str().unwrap().to_owned();
    [Credential::new(value.to_owned()), Credential::new(token)]
}

both! {
    // Create, change and delete, of a key of a user and of an organization, by the key and by a token.
    async fn key_cannot_change_access_records(server: Server) {
        let stage = Stage::new(&server).await;
        let of_acme = server.key_of(json!({ "type": "organization", "id": "acme" }), &["docs:read", "api-keys:manage"]).await;
        for (holder, own) in [(&stage.keys[0], &stage.keys[0]), (&stage.keys[2], &stage.keys[2]), (&of_acme, &of_acme)] {
            let limit = grant(&server, &key(&own.id), &[statement("viewer", "/shared/a")], &["alice", "max"]).await;
            let statements = [statement("viewer", "/shared/a")];
            let initial = json!({ "name": "r", "statements": statements });
            for caller in forms_of(&server, &holder.value).await {
                for (method, path, body) in [
                    ("POST", "/v1/access-records", Some(record(&key(&own.id), &statements))),
                    ("PATCH", &limit, Some(json!({ "statements": [statement("viewer", "/*")] }))),
                    ("PATCH", &limit, Some(json!({ "name": "n" }))),
                    ("DELETE", &limit, None),
                    ("POST", "/v1/service-clients", Some(json!({ "name": "c", "permissions": ["docs:read"], "access_record": initial }))),
                    ("POST", "/v1/api-keys", Some(json!({ "name": "k", "record_bound": true, "permissions": ["docs:read"], "access_record": initial }))),
                ] {
                    let refusal = caller.expect(&server, (method, path), body, 403).await;
                    assert!(refusal["detail"].as_str().unwrap().contains("cannot define its own access"), "{refusal}");
                }
            }
            // The rightful caller succeeds.
            server.manage("DELETE", &limit, None, 204).await;
        }
    }

    // Each case is refused to a restricted key and allowed to one that nothing restricts.
    async fn restricted_key_grants_no_more_than_it_has(server: Server) {
        let stage = Stage::new(&server).await;
        let owner = json!({ "type": "user", "id": "alice", "organization_id": "acme" });
        let other = server.key(json!({ "name": "o", "owner": owner, "permissions": ["docs:read"], "record_bound": true })).await;
        grant(&server, &key(&other.id), &[statement("both", "/other/*")], &[]).await;
        // Operators gave Alice resources, so that a record applies to each of her keys.
        let caller = Credential::new(stage.keys[0].value.clone());
        let other_path = format!("/v1/api-keys/{}", other.id);
        for (method, path, body, status) in [
            ("POST", "/v1/api-keys".to_owned(), json!({ "name": "k", "permissions": ["docs:read"] }), 422),
            ("POST", format!("{other_path}/rotate"), json!({ "grace": "0s" }), 403),
            ("PATCH", other_path.clone(), json!({ "permissions": ["docs:read", "docs:edit"] }), 403),
            ("POST", "/v1/api-keys".to_owned(), json!({ "name": "k", "permissions": ["docs:read"], "record_bound": true }), 201),
            ("POST", format!("/v1/api-keys/{}/rotate", stage.keys[0].id), json!({ "grace": "1h" }), 200),
        ] {
            caller.expect(&server, (method, &path), Some(body), status).await;
        }
        let limited = json!({ "type": "service_client", "id": stage.limited["id"] });
        let of_client = json!({ "name": "k", "owner": limited, "permissions": ["docs:read"], "record_bound": true });
        caller.expect(&server, ("POST", "/v1/api-keys"), Some(of_client), 201).await;
        // The same with a key that no record restricts.
        server.user("carol", &[]).await;
        server.member("acme", "carol", &["both", "self"]).await;
        let owner = json!({ "type": "user", "id": "carol", "organization_id": "acme" });
        let free = server.key_of(owner, &["docs:read", "user-api-keys:manage-self"]).await;
        let free = Credential::new(free.value);
        let made = free.expect(&server, ("POST", "/v1/api-keys"), Some(json!({ "name": "k", "permissions": ["docs:read"] })), 201).await;
        free.expect(&server, ("POST", &format!("/v1/api-keys/{}/rotate", made["id"].as_str().unwrap())), Some(json!({ "grace": "0s" })), 200).await;
    }

    // In a deployment that is record-bound, a key without records has no resources to grant.
    async fn deployment_bound_key_grants_no_more_than_it_has(server: Server, "tokens.record_bound=true") {
        server.offer_management_permissions().await;
        server.permissions_for_all(&["docs:read"]).await;
        server.role("reader", &["docs:read", "user-api-keys:manage-self"]).await;
        server.user("alice", &["reader"]).await;
        let owner = json!({ "type": "user", "id": "alice" });
        let caller = server.key_of(owner.clone(), &["docs:read", "user-api-keys:manage-self"]).await;
        let other = server.key_of(owner, &["docs:read"]).await;
        let caller = Credential::new(caller.value);
        let rotate = format!("/v1/api-keys/{}/rotate", other.id);
        caller.expect(&server, ("POST", &rotate), Some(json!({ "grace": "0s" })), 200).await;
        let body = record(&key(&other.id), &[statement("reader", "/a")]);
        server.manage("POST", "/v1/access-records", Some(body), 201).await;
        caller.expect(&server, ("POST", &rotate), Some(json!({ "grace": "0s" })), 403).await;
        let new = json!({ "name": "k", "permissions": ["docs:read"] });
        caller.expect(&server, ("POST", "/v1/api-keys"), Some(new), 201).await;
    }
}
