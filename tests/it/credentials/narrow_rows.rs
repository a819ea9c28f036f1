//! Narrow rows and remembered facts follow every change, also by SQL (invariants 2 and 14).

mod conditions;
mod event_types;
mod triggers;
mod unusual;

use std::time::Duration;

use diesel::{QueryableByName, RunQueryDsl, sql_types::BigInt};
use keyswap::{
    domain::common::derived_id::CredentialId,
    store::{Conn, StoreError},
};
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::sleep;

use crate::support::{Key, Server, both};

const DEFAULT_AUDIENCE: &str = "http://keyswap.test";

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Returns the number of rows of `from`, a table with conditions.
async fn count(server: &Server, from: &str) -> i64 {
    let text = format!("SELECT COUNT(*) AS count FROM {from}");
    let count = move |connection: &mut Conn| {
        let found: Count = match connection {
            Conn::Sqlite(inner) => diesel::sql_query(text).get_result(inner)?,
            Conn::Postgres(inner) => diesel::sql_query(text).get_result(inner)?,
        };
        Ok::<_, StoreError>(found.count)
    };
    server.services.store.read(count).await.unwrap()
}

fn credential_of(key: &Key) -> CredentialId {
    key.value["ks_".len()..][..CredentialId::LENGTH].parse().unwrap()
}

async fn has_narrow_row(server: &Server, key: &Key) -> bool {
    count(server, &format!("narrow_credentials WHERE number = {}", credential_of(key).number())).await == 1
}

/// Whether the narrow row of a key and what is remembered suffice for an exchange.
async fn is_remembered(server: &Server, key: &Key) -> bool {
    let row = server.services.store.load_narrow_credential(credential_of(key)).await.unwrap();
    let (facts, audience) = (&server.services.shared_facts, &server.services.settings.limits.default_audience);
    row.is_some_and(|(row, _)| facts.find(&row, audience).flatten().is_some())
}

/// Exchanges a key until its narrow row and what is remembered suffice for the next exchange.
async fn until_remembered(server: &Server, key: &Key) {
    for _ in 0..250 {
        assert_eq!(server.exchange(&key.value).await.status(), StatusCode::OK);
        if is_remembered(server, key).await {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("the facts of the key are not remembered");
}

/// Creates a key of the user alice, who has the role worker, with these permissions.
async fn key_of_a_worker(server: &Server, permissions: &[&str]) -> Key {
    server.permissions_for_all(permissions).await;
    server.role("worker", permissions).await;
    server.user("alice", &["worker"]).await;
    server.key_of(json!({ "type": "user", "id": "alice" }), permissions).await
}

/// Creates a service client with these permissions and a key of it.
async fn key_of_a_client(server: &Server, permissions: &[&str]) -> Key {
    server.permissions_for_all(permissions).await;
    let body = json!({ "name": "a client", "permissions": permissions });
    let client = server.manage("POST", "/v1/service-clients", Some(body), 201).await;
    server.key_of(json!({ "type": "service_client", "id": client["id"] }), permissions).await
}

/// Changes the default audience.
async fn patch_default_audience(server: &Server, body: serde_json::Value) {
    let page = server.manage("GET", "/v1/audiences", None, 200).await;
    let all = page["data"].as_array().unwrap();
    let audience = all.iter().find(|audience| audience["identifier"] == DEFAULT_AUDIENCE).unwrap();
    let path = format!("/v1/audiences/{}", audience["id"].as_str().unwrap());
    server.manage("PATCH", &path, Some(body), 200).await;
}

async fn scope_of(server: &Server, key: &Key) -> String {
    let response = server.exchange(&key.value).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.json::<serde_json::Value>().await.unwrap()["scope"].as_str().unwrap_or_default().to_owned()
}

async fn is_refused(server: &Server, key: &Key) -> bool {
    server.exchange(&key.value).await.status() == StatusCode::UNAUTHORIZED
}

both! {
    async fn only_usual_credentials_have_narrow_rows(server: Server) {
        server.permissions_for_all(&["a:b"]).await;
        let usual = server.generic_key(&["a:b"]).await;
        assert!(has_narrow_row(&server, &usual).await);
        for unusual in [
            json!({ "exchanges_per_minute": 5 }),
            json!({ "metadata": { "plan": "gold" } }),
            json!({ "record_bound": true }),
        ] {
            let path = format!("/v1/api-keys/{}", usual.id);
            server.manage("PATCH", &path, Some(unusual.clone()), 200).await;
            assert!(!has_narrow_row(&server, &usual).await, "{unusual}");
            let reset = json!({ "exchanges_per_minute": null, "metadata": { "plan": null }, "record_bound": false });
            server.manage("PATCH", &path, Some(reset), 200).await;
            assert!(has_narrow_row(&server, &usual).await, "{unusual} is over");
        }
        for (step, has_row) in [("suspend", false), ("resume", true), ("revoke", false)] {
            server.step(&usual, step).await;
            assert_eq!(has_narrow_row(&server, &usual).await, has_row, "{step}");
        }
    }

    async fn facts_of_owners_that_differ_in_kind_are_remembered_side_by_side(server: Server) {
        let user = key_of_a_worker(&server, &["a:b"]).await;
        server.organization("acme").await;
        server.member("acme", "alice", &["worker"]).await;
        let owner = |kind: &str| json!({ "type": kind, "id": "acme" });
        let keys = [
            user,
            server.key_of(json!({ "type": "user", "id": "alice", "organization_id": "acme" }), &["a:b"]).await,
            server.key_of(owner("organization"), &["a:b"]).await,
            key_of_a_client(&server, &["a:b"]).await,
        ];
        for key in &keys {
            until_remembered(&server, key).await;
        }
        for (kind, key) in keys.iter().enumerate() {
            assert!(is_remembered(&server, key).await, "the facts of owner {kind} were replaced by those of another one");
        }
    }

    async fn changes_of_shared_facts_apply_to_the_next_exchange_of_each_replica(server: Server) {
        let replica = server.replica().await;
        server.permissions_for_all(&["a:b", "a:c"]).await;
        server.role("worker", &["a:b", "a:c"]).await;
        server.user("alice", &["worker"]).await;
        let owner = json!({ "type": "user", "id": "alice" });
        let key = server.key(json!({ "name": "k", "owner": owner, "permissions": ["a:b", "a:c"] })).await;
        let scopes = async || [scope_of(&server, &key).await, scope_of(&replica, &key).await];
        assert_eq!(scopes().await, ["a:b a:c"; 2]);
        assert!(has_narrow_row(&server, &key).await);
        let role = |permissions: &[&str]| Some(json!({ "permissions": permissions }));
        server.manage("PUT", "/v1/roles/worker", role(&["a:b"]), 200).await;
        assert_eq!(scopes().await, ["a:b"; 2]);
        server.manage("PUT", "/v1/roles/worker", role(&["a:b", "a:c"]), 200).await;
        assert_eq!(scopes().await, ["a:b a:c"; 2]);
        server.database.sql("DELETE FROM role_permissions WHERE permission = 'a:c'");
        assert_eq!(scopes().await, ["a:b"; 2], "a change by SQL");
        server.manage("PUT", "/v1/roles/worker", role(&["a:b", "a:c"]), 200).await;
        assert_eq!(scopes().await, ["a:b a:c"; 2]);
        assert!(has_narrow_row(&server, &key).await, "the event of the role is remembered");
        server.manage("PATCH", "/v1/users/alice", Some(json!({ "roles": [] })), 200).await;
        assert_eq!(replica.exchange(&key.value).await.status(), StatusCode::BAD_REQUEST, "no permission is left");
        server.manage("PATCH", "/v1/users/alice", Some(json!({ "roles": ["worker"] })), 200).await;
        assert_eq!(scopes().await, ["a:b a:c"; 2]);
        server.manage("PATCH", "/v1/users/alice", Some(json!({ "blocked": true })), 200).await;
        assert!(is_refused(&server, &key).await && is_refused(&replica, &key).await);
    }

    async fn change_by_sql_deletes_the_narrow_row(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        assert_eq!(scope_of(&server, &key).await, "a:b");
        server.database.sql(&format!("UPDATE api_keys SET name = 'renamed' WHERE id = '{}'", key.id));
        assert!(has_narrow_row(&server, &key).await, "a name decides nothing");
        server.database.sql(&format!("UPDATE api_keys SET suspended_at = 1 WHERE id = '{}'", key.id));
        assert!(!has_narrow_row(&server, &key).await);
        assert!(is_refused(&server, &key).await);
    }

    async fn narrow_row_that_was_put_back_is_found_and_an_altered_one_is_not_used(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        server.database.sql("CREATE TABLE saved_rows AS SELECT * FROM narrow_credentials");
        server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(json!({ "permissions": [] })), 200).await;
        let restore = "DELETE FROM narrow_credentials; INSERT INTO narrow_credentials SELECT * FROM saved_rows";
        server.database.sql(restore);
        let report = keyswap::service::integrity::check(&server.services, std::time::Duration::ZERO).await.unwrap();
        assert_eq!(report.faults.len(), 1, "{report:?}");
        server.database.sql("UPDATE narrow_credentials SET key_expires_at = 4000000000000, version = version + 1");
        assert_eq!(scope_of(&server, &key).await, "", "from all tables");
    }
}
