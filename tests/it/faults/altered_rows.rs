//! Rows that were altered with SQL: none of them creates trust or raises a key (invariant 14).

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use keyswap::{
    domain::events::{Actor, Origin},
    service::integrity::{self, IntegrityFault},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::tables::lines_of;
use crate::{
    portal::key_management::session,
    support::{Key, Server, body_of, both, calls::call, wire::form},
};

/// An alteration of the rows of one key, and what the key must be for it to make a difference.
struct Alteration {
    name: &'static str,
    /// Members of the request that creates the key.
    key: fn() -> serde_json::Value,
    /// A transition before the alteration.
    step: Option<&'static str>,
    /// The statement. `{key}` is the id of the key, and `{admin}` that of the administrator's key.
    sql: &'static str,
}

const fn alteration(name: &'static str, sql: &'static str) -> Alteration {
    Alteration { name, key: || json!({}), step: None, sql }
}

const ALTERATIONS: [Alteration; 19] = [
    alteration("metadata", "UPDATE api_keys SET metadata = '{\"plan\":\"gold\"}' WHERE id = '{key}'"),
    Alteration {
        key: || json!({ "record_bound": true }),
        ..alteration("bound to records", "UPDATE api_keys SET record_bound = 0 WHERE id = '{key}'")
    },
    alteration("permissions", "UPDATE api_keys SET permissions = 'a:read a:write' WHERE id = '{key}'"),
    alteration("management permissions", "UPDATE api_keys SET permissions = 'keyswap:admin' WHERE id = '{key}'"),
    Alteration {
        key: || json!({ "audiences": ["https://narrow.test"] }),
        ..alteration("audiences", "UPDATE api_keys SET audiences = NULL WHERE id = '{key}'")
    },
    Alteration {
        key: || json!({ "max_token_ttl": "60s" }),
        ..alteration("lifetime", "UPDATE api_keys SET max_token_ttl = NULL WHERE id = '{key}'")
    },
    Alteration {
        key: || json!({ "exchanges_per_minute": 100 }),
        ..alteration("rate limit", "UPDATE api_keys SET exchanges_per_minute = NULL WHERE id = '{key}'")
    },
    Alteration {
        key: || json!({ "expires_at": "2100-01-01T00:00:00Z" }),
        ..alteration("end", "UPDATE api_keys SET expires_at = NULL WHERE id = '{key}'")
    },
    Alteration {
        step: Some("suspend"),
        ..alteration("suspension", "UPDATE api_keys SET suspended_at = NULL WHERE id = '{key}'")
    },
    Alteration {
        step: Some("revoke"),
        ..alteration("revocation", "UPDATE api_keys SET revoked_at = NULL WHERE id = '{key}'")
    },
    alteration(
        "owner",
        "UPDATE api_keys SET owner_id = (SELECT owner_id FROM api_keys WHERE id = '{admin}') WHERE id = '{key}'",
    ),
    alteration("type of owner", "UPDATE api_keys SET owner_type = 'none', owner_id = NULL WHERE id = '{key}'"),
    alteration(
        "scope of the owner",
        "INSERT INTO organizations (id, generation_id, name, metadata, created_at, version) \
         VALUES ('planted', 'inc_00000000000000000000000001', NULL, '{}', 0, 1); \
         UPDATE api_keys SET organization_id = 'planted', generation_id = 'inc_00000000000000000000000001' WHERE id = '{key}'",
    ),
    alteration("version", "UPDATE api_keys SET version = version + 1 WHERE id = '{key}'"),
    alteration("key of the credential", "UPDATE credentials SET key_id = '{admin}' WHERE key_id = '{key}'"),
    alteration(
        "status index",
        "UPDATE credentials SET status_index = (status_index + 1) % 1000 WHERE key_id = '{key}'",
    ),
    alteration("end of the credential", "UPDATE credentials SET expires_at = 4102444800000 WHERE key_id = '{key}'"),
    alteration(
        "secret of another credential",
        "UPDATE credentials SET encrypted_secret = (SELECT encrypted_secret FROM credentials WHERE key_id = '{admin}' LIMIT 1) \
         WHERE key_id = '{key}'",
    ),
    alteration(
        "creator",
        "UPDATE api_keys SET creator_id = 'someone', creator_generation_id = 'inc_00000000000000000000000001' WHERE id = '{key}'",
    ),
];

async fn create_key(server: &Server, client: &str, alteration: &Alteration) -> Key {
    let mut body = json!({
        "name": alteration.name, "permissions": ["a:read"], "owner": { "type": "service_client", "id": client },
    });
    body.as_object_mut().unwrap().extend((alteration.key)().as_object().unwrap().clone());
    server.key(body).await
}

/// Whether the key is exchanged, for an audience that every key of these tests may use.
async fn is_exchanged(server: &Server, key: &Key) -> bool {
    let response = server.exchange_for(&key.value, json!({ "audience": "https://narrow.test" })).await;
    match response.status() {
        StatusCode::OK => true,
        StatusCode::UNAUTHORIZED => false,
        other => panic!("{other}: {}", response.text().await.unwrap()),
    }
}

async fn is_exchanged_by_default(server: &Server, key: &Key) -> bool {
    server.exchange(&key.value).await.status() == StatusCode::OK
}

/// Who granted the only access record.
fn granted_by(server: &Server) -> String {
    lines_of(&server.database, "SELECT granted_by AS line FROM access_records").remove(0)
}

/// The rows that a check reports, by table.
pub async fn faults(server: &Server) -> Vec<(&'static str, IntegrityFault)> {
    let report = integrity::check(&server.services, Duration::ZERO).await.unwrap();
    report.faults.into_iter().map(|row| (row.table.as_str(), row.fault)).collect()
}

both! {
    async fn no_altered_row_of_a_key_is_accepted(server: Server) {
        server.permissions(&["a:read", "a:write"]).await;
        server.audience("https://narrow.test", None).await;
        let client = server.manage(
            "POST", "/v1/service-clients", Some(json!({ "name": "owner", "permissions": ["a:read", "a:write"] })), 201,
        ).await["id"].as_str().unwrap().to_owned();
        let keys = server.manage("GET", "/v1/api-keys", None, 200).await;
        let admin = keys["data"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
        for alteration in &ALTERATIONS {
            let key = create_key(&server, &client, alteration).await;
            assert!(is_exchanged(&server, &key).await, "{}: the key works before", alteration.name);
            if let Some(step) = alteration.step {
                server.step(&key, step).await;
            }
            server.database.sql(&alteration.sql.replace("{key}", &key.id).replace("{admin}", &admin));
            assert!(!is_exchanged(&server, &key).await, "{}: the altered key is refused", alteration.name);
            if alteration.name == "key of the credential" {
                // Neither the key that has lost its credential nor the one that has got it is changed.
                let rename = Some(json!({ "name": "another" }));
                server.manage("PATCH", &format!("/v1/api-keys/{admin}"), rename, 409).await;
            }
            // No change makes the altered row authentic.
            for (method, path, body) in [
                ("PATCH", String::new(), Some(json!({ "name": "another" }))),
                ("POST", "/suspend".to_owned(), None),
                ("POST", "/rotate".to_owned(), Some(json!({ "grace": "1h" }))),
            ] {
                let path = format!("/v1/api-keys/{}{path}", key.id);
                let response = call(&server, &server.admin, method, &path, body, &[]).await;
                let body = body_of(response, StatusCode::CONFLICT).await;
                assert!(body["detail"].as_str().unwrap().contains("altered outside of Keyswap"), "{}: {body}", alteration.name);
            }
            assert!(!is_exchanged(&server, &key).await, "{}: and is refused after it", alteration.name);
        }
        let control = create_key(&server, &client, &alteration("control", "")).await;
        assert!(is_exchanged(&server, &control).await, "other keys work");
    }

    async fn tokens_of_an_altered_key_are_refused(server: Server) {
        let key = server.client_key(&["keyswap:events"]).await;
        let asked = json!({ "audience": "http://keyswap.test/v1" });
        let body = body_of(server.exchange_for(&key.value, asked).await, StatusCode::OK).await;
        let token = body["access_token"].as_str().unwrap();
        let list = async || call(&server, token, "GET", "/v1/events", None, &[]).await.status();
        assert_eq!(list().await, StatusCode::OK);
        server.database.sql(&format!("UPDATE api_keys SET permissions = 'keyswap:admin keyswap:events' WHERE id = '{}'", key.id));
        assert_eq!(list().await, StatusCode::UNAUTHORIZED);
    }

    async fn an_altered_audience_is_refused(server: Server) {
        let key = server.generic_key(&["a:read", "a:write"]).await;
        server.audience("https://narrow.test", Some(&["a:read"])).await;
        let asked = json!({ "audience": "https://narrow.test" });
        let exchange = async || server.exchange_for(&key.value, asked.clone()).await;
        assert_eq!(exchange().await.status(), StatusCode::OK);
        let alterations = [
            ("permissions = 'a:read a:write'", "permissions = 'a:read'"),
            ("permissions = NULL", "permissions = 'a:read'"),
            ("token_ttl = 3600000", "token_ttl = NULL"),
            ("algorithm = 'ES384'", "algorithm = NULL"),
            ("typ = 'JWT'", "typ = NULL"),
            ("claims = '{\"role\":\"api_key.metadata.role\"}'", "claims = NULL"),
            ("record_bound = 1", "record_bound = 0"),
            ("version = version + 1", "version = version - 1"),
        ];
        for (altered, restored) in alterations {
            let set = |to: &str| {
                server.database.sql(&format!("UPDATE audiences SET {to} WHERE identifier = 'https://narrow.test'"));
            };
            set(altered);
            assert_eq!(exchange().await.status(), StatusCode::BAD_REQUEST, "{altered}");
            set(restored);
            assert_eq!(exchange().await.status(), StatusCode::OK, "{restored}");
        }
    }

    async fn an_altered_access_record_grants_nothing(server: Server) {
        server.permissions_for_all(&["a:read", "a:write"]).await;
        server.role("reader", &["a:read"]).await;
        server.role("writer", &["a:read", "a:write"]).await;
        server.user("ada", &["writer"]).await;
        let owner = json!({ "type": "user", "id": "ada" });
        let key = server.key_of(owner.clone(), &["a:read"]).await;
        let other = server.key_of(owner, &["a:read"]).await;
        let record = server.manage("POST", "/v1/access-records", Some(json!({
            "name": "r", "principals": [{ "type": "api_key", "id": key.id }],
            "statements": [{ "roles": ["reader"], "resources": ["/ada/*"] }],
        })), 201).await;
        let id = record["id"].as_str().unwrap();
        let path = format!("/v1/access-records/{id}");
        let details = async |key: &Key| {
            let body = body_of(server.exchange(&key.value).await, StatusCode::OK).await;
            let payload = body["access_token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
            let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
            claims["authorization_details"].as_array().map_or(0, Vec::len)
        };
        let scope = async |key: &Key| body_of(server.exchange(&key.value).await, StatusCode::OK).await.get("scope").cloned();
        let checked = async || {
            let body = json!({
                "principal": { "type": "api_key", "id": key.id }, "permission": "a:read", "resource": "/ada/1",
            });
            server.manage("POST", "/v1/access/check", Some(body), 200).await["allowed"] == true
        };
        assert_eq!((details(&key).await, details(&other).await, checked().await), (1, 0, true));
        for (altered, restored) in [
            ("UPDATE access_record_statements SET resources = '/*'", "UPDATE access_record_statements SET resources = '/ada/*'"),
            ("UPDATE access_record_statement_roles SET role = 'writer'", "UPDATE access_record_statement_roles SET role = 'reader'"),
            (
                "INSERT INTO access_record_statements (record_id, position, resources) SELECT record_id, 1, '/b/*' FROM access_record_statements",
                "DELETE FROM access_record_statements WHERE position = 1",
            ),
            (
                &format!("UPDATE access_record_principals SET unique_id = '{}', principal_id = '{}'", other.id, other.id),
                &format!("UPDATE access_record_principals SET unique_id = '{}', principal_id = '{}'", key.id, key.id),
            ),
            (
                &format!("INSERT INTO access_record_principals (record_id, unique_id, kind, principal_id, position) VALUES ('{id}', '{0}', 'api_key', '{0}', 1)", other.id),
                "DELETE FROM access_record_principals WHERE position = 1",
            ),
            (
                &format!("UPDATE access_record_principals SET unique_id = '{}'", other.id),
                &format!("UPDATE access_record_principals SET unique_id = '{}'", key.id),
            ),
            ("UPDATE access_record_principals SET kind = 'service_client', principal_id = 'svc_01JD8V3T6Q4Z9R7M2N5K8P1XYA'",
             &format!("UPDATE access_record_principals SET kind = 'api_key', principal_id = '{}'", key.id)),
            (
                &format!("INSERT INTO access_record_admins (record_id, generation_id, user_id, position) VALUES ('{id}', 'inc_00000000000000000000000001', 'eve', 0)"),
                "DELETE FROM access_record_admins",
            ),
            ("UPDATE access_records SET granted_by = 'user:ada'", "UPDATE access_records SET granted_by = 'GRANTED_BY'"),
            ("UPDATE access_records SET version = version + 1", "UPDATE access_records SET version = version - 1"),
        ] {
            let restored = restored.replace("GRANTED_BY", &granted_by(&server));
            server.database.sql(altered);
            assert_eq!((details(&key).await, details(&other).await, checked().await), (0, 0, false), "{altered}");
            let used = if altered.contains(&other.id) && !altered.contains("INSERT") { &other } else { &key };
            assert_eq!(scope(used).await, None, "{altered}: the key is bound to records");
            let widened = Some(json!({ "permissions": ["a:read", "a:write"] }));
            server.manage("PATCH", &format!("/v1/api-keys/{}", used.id), widened, 409).await;
            server.manage("PATCH", &path, Some(json!({ "name": "another" })), 409).await;
            assert_eq!(faults(&server).await, [("access_records", IntegrityFault::Altered)], "{altered}");
            server.database.sql(&restored);
            assert_eq!((details(&key).await, details(&other).await, checked().await), (1, 0, true), "{restored}");
        }
        server.database.sql("UPDATE access_record_statements SET resources = '/*'");
        server.accept_altered_rows().await;
        assert_eq!(faults(&server).await, []);
        assert!(checked().await);
        // A record that is accepted is found by the ids of its principals again.
        server.database.sql(&format!("UPDATE access_record_principals SET unique_id = '{}'", other.id));
        server.accept_altered_rows().await;
        assert_eq!((faults(&server).await, details(&key).await, details(&other).await), (vec![], 1, 0));
        server.manage("PATCH", &path, Some(json!({ "name": "another" })), 200).await;
        assert_eq!(faults(&server).await, []);
    }

    async fn older_access_records_are_reported_and_not_changed(server: Server) {
        server.permissions_for_all(&["a:read"]).await;
        server.role("reader", &["a:read"]).await;
        let key = server.generic_key(&["a:read"]).await;
        let create = async || server.manage("POST", "/v1/access-records", Some(json!({
            "name": "r", "principals": [{ "type": "api_key", "id": key.id }],
            "statements": [{ "roles": ["reader"], "resources": ["/a/*"] }],
        })), 201).await["id"].as_str().unwrap().to_owned();
        let (changed, deleted) = (create().await, create().await);
        let tables = ["access_records", "access_record_principals", "access_record_statements", "access_record_statement_roles"];
        for table in tables {
            server.database.sql(&format!("CREATE TABLE saved_{table} AS SELECT * FROM {table}"));
        }
        let path = format!("/v1/access-records/{changed}");
        let narrow = json!({ "statements": [{ "roles": ["reader"], "resources": ["/a/b"] }] });
        server.manage("PATCH", &path, Some(narrow.clone()), 200).await;
        server.manage("DELETE", &format!("/v1/access-records/{deleted}"), None, 204).await;
        assert_eq!(faults(&server).await, []);
        for table in tables.into_iter().rev() {
            server.database.sql(&format!("DELETE FROM {table}"));
        }
        for table in tables {
            server.database.sql(&format!("INSERT INTO {table} SELECT * FROM saved_{table}"));
        }
        let older = ("access_records", IntegrityFault::OlderVersion);
        assert_eq!(faults(&server).await, [older, older]);
        server.manage("PATCH", &path, Some(narrow.clone()), 409).await;
        server.accept_altered_rows().await;
        assert_eq!(faults(&server).await, []);
        server.manage("PATCH", &path, Some(narrow), 200).await;
    }

    // Revoking a key must not depend on its newest row.
    async fn an_older_row_of_a_key_is_revoked(server: Server) {
        for (number, end) in ["revoke", "delete"].into_iter().enumerate() {
            let key = server.generic_key(&["a:read", "a:write"]).await;
            server.database.sql(&format!(
                "CREATE TABLE saved_keys_{number} AS SELECT * FROM api_keys WHERE id = '{0}'; \
                 CREATE TABLE saved_credentials_{number} AS SELECT * FROM credentials WHERE key_id = '{0}'",
                key.id
            ));
            let path = format!("/v1/api-keys/{}", key.id);
            for name in ["one", "two"] {
                server.manage("PATCH", &path, Some(json!({ "name": name })), 200).await;
            }
            server.database.sql(&format!(
                "DELETE FROM credentials WHERE key_id = '{0}'; DELETE FROM api_keys WHERE id = '{0}'; \
                 INSERT INTO api_keys SELECT * FROM saved_keys_{number}; INSERT INTO credentials SELECT * FROM saved_credentials_{number}",
                key.id
            ));
            assert!(is_exchanged_by_default(&server, &key).await, "the older row works");
            server.manage("POST", &format!("{path}/suspend"), None, 409).await;
            // A caller that may not end the key does not make the row the newest one.
            let stranger = server.client_key(&["a:read"]).await;
            let request = server.post("/oauth/revoke").bearer_auth(&stranger.value);
            let refused = form(request, &[("token", &key.value)]).send().await.unwrap();
            assert_eq!(refused.status(), StatusCode::OK);
            assert_eq!(faults(&server).await, [("credentials", IntegrityFault::OlderVersion)], "{end}");
            match end {
                "revoke" => server.step(&key, end).await,
                _ => drop(server.manage("DELETE", &path, None, 204).await),
            }
            assert!(!is_exchanged_by_default(&server, &key).await, "{end}");
            assert_eq!(faults(&server).await, [], "{end}: it is the newest row");
        }
    }

    async fn a_row_of_an_unknown_master_key_does_not_hide_the_others(server: Server) {
        let keys = [server.generic_key(&["a:read", "a:write"]).await, server.generic_key(&["a:read"]).await];
        server.database.sql(&format!(
            "INSERT INTO master_keys (version, fingerprint, state, created_at) VALUES (99, 'x', 'incoming', 0); \
             UPDATE credentials SET master_version = 99 WHERE key_id = '{}'; \
             UPDATE api_keys SET permissions = 'a:write' WHERE id = '{}'",
            keys[0].id, keys[1].id
        ));
        let mut found = faults(&server).await;
        found.sort();
        assert_eq!(found, [("credentials", IntegrityFault::Altered), ("credentials", IntegrityFault::MissingMasterKey)]);
    }

    // Roles and the catalog are not authenticated.
    async fn no_role_or_catalog_gives_a_tenant_a_permission_over_the_deployment(server: Server) {
        server.permissions_for_all(&["a:read"]).await;
        server.role("member", &["a:read", "user-api-keys:manage-self", "api-keys:manage"]).await;
        server.organization("acme").await;
        server.user("alice", &[]).await;
        server.member("acme", "alice", &["member"]).await;
        let owner = json!({ "type": "user", "id": "alice", "organization_id": "acme" });
        server.offer_management_permissions().await;
        let own = server.key_of(owner, &["a:read", "user-api-keys:manage-self"]).await;
        let session = session(&server, "alice", "acme").await;
        for permission in ["keyswap:admin", "keyswap:keys", "keyswap:sessions", "keyswap:signing-keys"] {
            server.database.sql(&format!(
                "INSERT INTO role_permissions (role, permission) VALUES ('member', '{permission}'); \
                 UPDATE permissions SET assignable_to = (SELECT assignable_to FROM permissions WHERE name = 'a:read') WHERE name = '{permission}'"
            ));
        }
        // The key was created with such a permission before.
        server.database.sql(&format!(
            "UPDATE api_keys SET permissions = 'a:read keyswap:admin user-api-keys:manage-self' WHERE id = '{}'",
            own.id
        ));
        server.accept_altered_rows().await;
        for caller in [&session, &own.value] {
            for permissions in [json!(["keyswap:admin"]), json!(["keyswap:keys"]), json!(["a:read", "keyswap:sessions"])] {
                let body = Some(json!({ "name": "raised", "permissions": permissions }));
                let response = call(&server, caller, "POST", "/v1/api-keys", body, &[]).await;
                assert!([403, 422].contains(&response.status().as_u16()), "{permissions}: {}", response.status());
            }
            for (method, path) in [("GET", "/v1/roles"), ("GET", "/v1/signing-keys"), ("GET", "/v1/users"), ("POST", "/v1/signing-keys/rotate")] {
                assert_eq!(call(&server, caller, method, path, None, &[]).await.status(), StatusCode::FORBIDDEN, "{path}");
            }
            let body = Some(json!({ "name": "usual", "permissions": ["a:read"] }));
            assert_eq!(call(&server, caller, "POST", "/v1/api-keys", body, &[]).await.status(), StatusCode::CREATED, "control");
        }
    }

    async fn the_end_of_the_credential_of_a_token_is_authentic(server: Server) {
        let key = server.client_key(&["keyswap:events"]).await;
        let asked = json!({ "audience": "http://keyswap.test/v1" });
        let body = body_of(server.exchange_for(&key.value, asked).await, StatusCode::OK).await;
        let token = body["access_token"].as_str().unwrap();
        let list = async || call(&server, token, "GET", "/v1/events", None, &[]).await.status();
        let path = format!("/v1/api-keys/{}", key.id);
        server.manage("POST", &format!("{path}/rotate"), Some(json!({ "grace": "60s" })), 200).await;
        assert_eq!(list().await, StatusCode::OK);
        let old = &key.value[3..19];
        server.database.sql(&format!("UPDATE credentials SET expires_at = expires_at + 600000 WHERE id = '{old}'"));
        assert_eq!(list().await, StatusCode::UNAUTHORIZED, "the newest credential of the key is unaltered");
    }

    async fn an_older_row_of_a_key_is_reported_and_not_changed(server: Server) {
        let key = server.generic_key(&["a:read", "a:write"]).await;
        server.database.sql(&format!(
            "CREATE TABLE saved_keys AS SELECT * FROM api_keys WHERE id = '{0}'; \
             CREATE TABLE saved_credentials AS SELECT * FROM credentials WHERE key_id = '{0}'",
            key.id
        ));
        let path = format!("/v1/api-keys/{}", key.id);
        server.manage("PATCH", &path, Some(json!({ "permissions": ["a:read"] })), 200).await;
        assert_eq!(faults(&server).await, []);
        server.database.sql(&format!(
            "DELETE FROM credentials WHERE key_id = '{0}'; DELETE FROM api_keys WHERE id = '{0}'; \
             INSERT INTO api_keys SELECT * FROM saved_keys; INSERT INTO credentials SELECT * FROM saved_credentials",
            key.id
        ));
        let body = body_of(server.exchange(&key.value).await, StatusCode::OK).await;
        assert_eq!(body["scope"], "a:read a:write", "Keyswap has written the row");
        assert_eq!(faults(&server).await, [("credentials", IntegrityFault::OlderVersion)]);
        // No change makes it the newest row.
        let rename = Some(json!({ "name": "another" }));
        let refused = server.manage("PATCH", &path, rename.clone(), 409).await;
        assert!(refused["detail"].as_str().unwrap().contains("older version"), "{refused}");
        assert_eq!(faults(&server).await, [("credentials", IntegrityFault::OlderVersion)]);
        server.accept_altered_rows().await;
        assert_eq!(faults(&server).await, []);
        server.manage("PATCH", &path, rename, 200).await;
        assert_eq!(faults(&server).await, []);
    }

    async fn older_audiences_and_ended_sessions_are_reported(server: Server) {
        server.permissions(&["a:read", "a:write"]).await;
        let audience = server.audience("https://a.test", Some(&["a:read"])).await;
        let id = audience["id"].as_str().unwrap();
        server.manage("PUT", "/v1/users/ada", Some(json!({})), 201).await;
        let opener = server.client_key(&["keyswap:sessions"]).await;
        let asked = Some(json!({ "user_id": "ada" }));
        let opened = body_of(call(&server, &opener.value, "POST", "/v1/portal-sessions", asked, &[]).await, StatusCode::CREATED).await;
        server.database.sql(&format!(
            "CREATE TABLE saved_audiences AS SELECT * FROM audiences WHERE id = '{id}'; \
             CREATE TABLE saved_sessions AS SELECT * FROM portal_sessions"
        ));
        server.manage("PATCH", &format!("/v1/audiences/{id}"), Some(json!({ "permissions": ["a:write"] })), 200).await;
        let session = opened["id"].as_str().unwrap();
        server.manage("DELETE", &format!("/v1/portal-sessions/{session}"), None, 204).await;
        assert_eq!(faults(&server).await, []);
        server.database.sql(&format!(
            "DELETE FROM audiences WHERE id = '{id}'; INSERT INTO audiences SELECT * FROM saved_audiences; \
             INSERT INTO portal_sessions SELECT * FROM saved_sessions WHERE id = '{session}'"
        ));
        let older = IntegrityFault::OlderVersion;
        assert_eq!(faults(&server).await, [("audiences", older), ("portal_sessions", older)]);
        server.manage("PATCH", &format!("/v1/audiences/{id}"), Some(json!({ "permissions": ["a:write"] })), 409).await;
        server.database.sql(&format!("DELETE FROM portal_sessions WHERE id = '{session}'"));
        server.accept_altered_rows().await;
        assert_eq!(faults(&server).await, []);
        server.manage("PATCH", &format!("/v1/audiences/{id}"), Some(json!({ "permissions": ["a:write"] })), 200).await;
        server.database.sql("CREATE TABLE gone AS SELECT * FROM audiences");
        server.manage("DELETE", &format!("/v1/audiences/{id}"), None, 204).await;
        server.database.sql(&format!("INSERT INTO audiences SELECT * FROM gone WHERE id = '{id}'"));
        assert_eq!(faults(&server).await, [("audiences", older)], "an audience that was deleted");
    }

    async fn one_unreadable_row_does_not_hide_the_others(server: Server) {
        let keys = [server.generic_key(&["a:read", "a:write"]).await, server.generic_key(&["a:read"]).await];
        let lost = server.generic_key(&["a:read"]).await;
        server.database.sql(&format!("UPDATE api_keys SET permissions = 'NOT VALID' WHERE id = '{}'", keys[0].id));
        server.database.sql(&format!("UPDATE api_keys SET permissions = 'a:write' WHERE id = '{}'", keys[1].id));
        server.database.sql(&format!("DELETE FROM credentials WHERE key_id = '{}'", lost.id));
        let altered = IntegrityFault::Altered;
        assert_eq!(faults(&server).await, [("api_keys", altered), ("credentials", altered), ("credentials", altered)]);
    }

    async fn every_altered_event_is_found(server: Server, "jobs=by_hand") {
        for number in 0..5 {
            server.permissions(&[&format!("a:p{number}")]).await;
        }
        server.database.sql("UPDATE events SET actor = 'operator' WHERE seq IN (3, 5)");
        let failures = async || {
            integrity::run_background_check(&server.services).await.unwrap();
            let metrics = server.get("/metrics").bearer_auth(&server.admin).send().await.unwrap().text().await.unwrap();
            let line = metrics.lines().find(|line| line.starts_with("keyswap_integrity_failures_total{table=\"events\"}"));
            line.and_then(|line| line.rsplit(' ').next()).unwrap_or("0").to_owned()
        };
        assert_eq!([failures().await, failures().await, failures().await], ["1", "2", "2"]);
    }

    async fn altered_rows_are_listed_until_they_are_accepted(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&["a:read", "a:write"]).await;
        let audience = server.audience("https://a.test", Some(&["a:read"])).await;
        assert_eq!(faults(&server).await, []);
        server.database.sql(&format!("UPDATE api_keys SET permissions = 'a:write' WHERE id = '{}'", key.id));
        server.database.sql("UPDATE audiences SET permissions = 'a:write' WHERE identifier = 'https://a.test'");
        server.database.sql("UPDATE signing_keys SET longest_ttl = longest_ttl + 1 WHERE state = 'next'");
        server.database.sql("UPDATE events SET actor = 'operator' WHERE seq = 3");
        let found = integrity::check(&server.services, Duration::ZERO).await.unwrap().faults;
        let tables: Vec<_> = found.iter().map(|row| row.table.as_str()).collect();
        assert_eq!(tables, ["signing_keys", "credentials", "audiences"]);
        integrity::run_background_check(&server.services).await.unwrap();
        let metrics = server.get("/metrics").bearer_auth(&server.admin).send().await.unwrap().text().await.unwrap();
        for table in ["signing_keys", "credentials", "audiences", "events"] {
            assert!(metrics.contains(&format!("keyswap_integrity_failures_total{{table=\"{table}\"}} 1")), "{table}: {metrics}");
        }
        for row in found {
            integrity::accept(&server.services, row.table.as_str(), row.id, Origin::of(Actor::Operator)).await.unwrap();
        }
        assert_eq!(faults(&server).await, []);
        for (table, id) in [("audiences", audience["id"].as_str().unwrap()), ("credentials", &key.value[3..19])] {
            let again = integrity::accept(&server.services, table, id.to_owned(), Origin::of(Actor::Operator)).await;
            assert!(again.unwrap_err().to_string().contains("nothing to accept"), "{table}: the row is unaltered");
        }
        let asked = json!({ "audience": audience["identifier"] });
        let body = body_of(server.exchange_for(&key.value, asked).await, StatusCode::OK).await;
        assert_eq!(body["scope"], "a:write");
        let accepted = server.events().await.iter().filter(|event| event["type"] == "integrity.accepted").count();
        assert_eq!(accepted, 3);
    }
}
