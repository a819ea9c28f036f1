//! Each condition under which an exchange uses a narrow row and what is remembered. Each test shows
//! what would be wrong without one of them (`tests/mutants/exchange.toml`).

use keyswap::{
    crypto::sha256,
    domain::access::audience::Identifier,
    store::{Conn, StoreError, credentials::shared_facts},
};
use reqwest::StatusCode;
use serde_json::json;

use super::{
    DEFAULT_AUDIENCE, credential_of, is_refused, key_of_a_client, key_of_a_worker, patch_default_audience, scope_of,
    until_remembered,
};
use crate::support::{Key, Server, body_of, both, verify, wire::wrong};

/// Whether the facts of a key that was just exchanged are loaded if `change` is made after its row
/// was read.
async fn are_loaded_after(server: &Server, key: &Key, change: impl AsyncFnOnce()) -> bool {
    until_remembered(server, key).await;
    let (row, _) = server.services.store.load_narrow_credential(credential_of(key)).await.unwrap().unwrap();
    change().await;
    let audience: Identifier = DEFAULT_AUDIENCE.parse().unwrap();
    let load = move |connection: &mut Conn| shared_facts::load(connection, &row, &audience, sha256);
    server.services.store.read::<_, StoreError>(load).await.unwrap().is_some()
}

both! {
    async fn another_audience_is_that_of_the_token(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        server.audience("https://other.test", None).await;
        until_remembered(&server, &key).await;
        let body = json!({ "audience": "https://other.test" });
        let token = body_of(server.exchange_for(&key.value, body).await, StatusCode::OK).await;
        assert_eq!(token["scope"], "a:b");
    }

    async fn wrong_secret_of_a_remembered_key_is_refused(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        until_remembered(&server, &key).await;
        assert_eq!(server.exchange(&wrong(&key.value)).await.status(), StatusCode::UNAUTHORIZED);
    }

    async fn altered_row_is_read_from_all_tables(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        until_remembered(&server, &key).await;
        server.database.sql("UPDATE narrow_credentials SET key_expires_at = 4000000000000");
        assert_eq!(scope_of(&server, &key).await, "a:b");
    }

    async fn access_record_applies_to_a_remembered_key(server: Server) {
        let key = key_of_a_client(&server, &["docs:read"]).await;
        server.role("viewer", &["docs:read"]).await;
        until_remembered(&server, &key).await;
        let statements = json!([{ "roles": ["viewer"], "resources": ["/docs/*"] }]);
        let principals = json!([{ "type": "api_key", "id": key.id }]);
        let record = json!({ "name": "a record", "principals": principals, "statements": statements });
        server.manage("POST", "/v1/access-records", Some(record), 201).await;
        let token = body_of(server.exchange(&key.value).await, StatusCode::OK).await;
        assert_eq!(token["authorization_details"][0]["locations"], json!(["/docs/*"]));
    }

    async fn claim_from_metadata_is_read_from_all_tables(server: Server) {
        let key = key_of_a_worker(&server, &["a:b"]).await;
        let metadata = json!({ "metadata": { "plan": "gold" } });
        server.manage("PATCH", "/v1/users/alice", Some(metadata), 200).await;
        until_remembered(&server, &key).await;
        patch_default_audience(&server, json!({ "claims": { "plan": "user.metadata.plan" } })).await;
        for _ in 0..3 {
            let token = server.fetch_token(&key.value).await;
            assert_eq!(verify(&server, &token, DEFAULT_AUDIENCE).await["plan"], "gold");
        }
    }

    async fn second_change_by_sql_applies(server: Server) {
        let key = key_of_a_worker(&server, &["a:b", "a:c", "a:d"]).await;
        until_remembered(&server, &key).await;
        for (removed, scope) in [("a:d", "a:b a:c"), ("a:c", "a:b")] {
            server.database.sql(&format!("DELETE FROM role_permissions WHERE permission = '{removed}'"));
            for _ in 0..3 {
                assert_eq!(scope_of(&server, &key).await, scope);
            }
        }
    }

    async fn facts_of_another_client_are_not_used(server: Server) {
        let key = key_of_a_client(&server, &["a:b", "a:c"]).await;
        let other = key_of_a_client(&server, &["a:b", "a:c"]).await;
        until_remembered(&server, &key).await;
        let path = format!("/v1/service-clients/{}", other.client);
        server.manage("PATCH", &path, Some(json!({ "permissions": ["a:b"] })), 200).await;
        until_remembered(&server, &other).await;
        assert_eq!(scope_of(&server, &other).await, "a:b");
        assert_eq!(scope_of(&server, &key).await, "a:b a:c");
    }

    async fn facts_of_other_roles_are_not_used(server: Server) {
        let key = key_of_a_worker(&server, &["a:b", "a:c"]).await;
        server.user("bob", &["worker"]).await;
        let other = server.key_of(json!({ "type": "user", "id": "bob" }), &["a:b", "a:c"]).await;
        server.role("reader", &["a:b"]).await;
        server.manage("PATCH", "/v1/users/bob", Some(json!({ "roles": ["reader"] })), 200).await;
        until_remembered(&server, &other).await;
        assert_eq!(scope_of(&server, &other).await, "a:b");
        assert_eq!(scope_of(&server, &key).await, "a:b a:c");
    }

    async fn facts_of_an_unowned_key_are_not_used_for_an_organization(server: Server) {
        server.permissions_for_all(&["a:b"]).await;
        server.organization("acme").await;
        let key = server.key_of(json!({ "type": "organization", "id": "acme" }), &["a:b"]).await;
        let unowned = server.key_of(json!({ "type": "none" }), &["a:b"]).await;
        until_remembered(&server, &unowned).await;
        assert_eq!(scope_of(&server, &key).await, "a:b");
    }

    async fn lock_of_the_user_applies(server: Server) {
        let key = key_of_a_worker(&server, &["a:b"]).await;
        until_remembered(&server, &key).await;
        server.database.sql("UPDATE users SET locked_at = 1 WHERE id = 'alice'");
        assert!(is_refused(&server, &key).await);
    }

    async fn roles_in_another_organization_are_not_used(server: Server) {
        server.permissions_for_all(&["a:b", "a:c"]).await;
        server.role("worker", &["a:b"]).await;
        server.role("reader", &["a:c"]).await;
        server.user("alice", &[]).await;
        for organization in ["acme", "other"] {
            server.organization(organization).await;
            server.member(organization, "alice", &["reader", "worker"]).await;
        }
        let owner = json!({ "type": "user", "id": "alice", "organization_id": "acme" });
        let key = server.key_of(owner, &["a:b", "a:c"]).await;
        server.member("acme", "alice", &["worker"]).await;
        until_remembered(&server, &key).await;
        assert_eq!(scope_of(&server, &key).await, "a:b");
    }

    async fn facts_are_not_loaded_after_an_event(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        assert!(are_loaded_after(&server, &key, async || ()).await);
        assert!(!are_loaded_after(&server, &key, async || server.permissions(&["a:c"]).await).await);
    }

    async fn facts_of_another_entitlement_are_not_loaded(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        let path = format!("/v1/api-keys/{}", key.id);
        let change = async || drop(server.manage("PATCH", &path, Some(json!({ "permissions": [] })), 200).await);
        assert!(!are_loaded_after(&server, &key, change).await);
    }

    // After a restore the numbers of events repeat, and the history that follows is another one.
    async fn facts_of_another_history_are_not_used(server: Server, "jobs=by_hand") {
        let key = key_of_a_worker(&server, &["a:b", "a:c"]).await;
        server.database.sql("CREATE TABLE saved_chain AS SELECT * FROM event_chain_head");
        server.role("worker", &["a:b"]).await;
        until_remembered(&server, &key).await;
        assert_eq!(scope_of(&server, &key).await, "a:b");
        server.database.sql(
            "INSERT INTO role_permissions (role, permission) VALUES ('worker', 'a:c'); \
             DELETE FROM events WHERE seq > (SELECT seq FROM saved_chain); \
             UPDATE event_chain_head SET (seq, hash, authority_event) = (SELECT seq, hash, authority_event FROM saved_chain)",
        );
        server.role("worker", &["a:c"]).await;
        assert_eq!(scope_of(&server, &key).await, "a:c");
    }
}
