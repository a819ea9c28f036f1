//! The `authorization_details` claim derived from access records.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::support::{
    both,
    wire::{exchange_of, oauth_error, problem},
};

both! {
    // Features: A4.
    async fn access_record_never_adds_permissions(server: Server) {
        sample_roles(&server).await;
        let key = server.generic_key(&["docs:read"]).await;
        assert_eq!(details(&server, &key.value).await, Value::Null, "nothing without a record");
        let record = make(&server, record("api_key", &key.id, json!([
            statement(&["Viewer", "Editor"], &["/docs/*"]), statement(&["Editor"], &["/drafts/*"]),
        ]))).await;
        // The second statement has no remaining actions and is omitted.
        assert_eq!(details(&server, &key.value).await, json!([detail(&["docs:read"], &["/docs/*"])]));
        let body = body_of(server.exchange(&key.value).await, StatusCode::OK).await;
        assert_eq!(body["scope"], "docs:read", "never more");
        // Changes of the key, of a role and of the record take effect at the next exchange.
        server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(json!({ "permissions": ["docs:read", "docs:edit"] })), 200).await;
        let wider = json!([detail(&["docs:edit", "docs:read"], &["/docs/*"]), detail(&["docs:edit"], &["/drafts/*"])]);
        assert_eq!(details(&server, &key.value).await, wider);
        server.manage("PUT", "/v1/roles/Editor", Some(json!({ "permissions": ["docs:create"] })), 200).await;
        assert_eq!(details(&server, &key.value).await, json!([detail(&["docs:read"], &["/docs/*"])]));
        server.manage("PATCH", &path_of(&record), Some(json!({ "statements": [statement(&["Viewer"], &["/other"])] })), 200).await;
        assert_eq!(details(&server, &key.value).await, json!([detail(&["docs:read"], &["/other"])]));
        server.manage("DELETE", &path_of(&record), None, 204).await;
        assert_eq!(details(&server, &key.value).await, Value::Null);
    }

    // Features: A5.
    async fn four_sample_roles_yield_their_details(server: Server) {
        sample_roles(&server).await;
        let key = server.generic_key(&["docs:read", "docs:edit", "docs:create"]).await;
        make(&server, record("api_key", &key.id, json!([
            statement(&["Editor"], &["/e"]), statement(&["Viewer"], &["/v"]), statement(&["Creator"], &["/c"]), statement(&["Admin"], &["/a"]),
            statement(&["Editor", "Viewer"], &["/ev"]),
        ]))).await;
        assert_eq!(details(&server, &key.value).await, json!([
            detail(&["docs:edit"], &["/e"]), detail(&["docs:read"], &["/v"]), detail(&["docs:create"], &["/c"]),
            detail(&["docs:create", "docs:edit", "docs:read"], &["/a"]), detail(&["docs:edit", "docs:read"], &["/ev"]),
        ]));
    }

    // Features: A7.
    async fn records_apply_to_keys_through_key_service_client_and_user(server: Server) {
        sample_roles(&server).await;
        user(&server, "alice", &["Viewer"]).await;
        let of_alice = personal_key(&server, "alice", None, &["docs:read"]).await;
        let other = personal_key(&server, "alice", None, &["docs:read"]).await;
        let of_client = server.client_key(&["docs:read"]).await;
        for (kind, id, at) in [("user", "alice", "/user"), ("service_client", &of_client.client, "/client"), ("api_key", &of_alice.id, "/key")] {
            make(&server, record(kind, id, json!([statement(&["Viewer"], &[at])]))).await;
        }
        assert_eq!(details(&server, &of_alice.value).await, json!([detail(&["docs:read"], &["/user"]), detail(&["docs:read"], &["/key"])]));
        assert_eq!(details(&server, &other.value).await, json!([detail(&["docs:read"], &["/user"])]));
        assert_eq!(details(&server, &of_client.value).await, json!([detail(&["docs:read"], &["/client"])]));
        // Identical statements are merged, within one record and across records.
        let both = json!({ "name": "a", "principals": [{ "type": "user", "id": "alice" }, { "type": "api_key", "id": of_alice.id }],
            "statements": [statement(&["Viewer"], &["/user"])] });
        make(&server, both).await;
        assert_eq!(details(&server, &of_alice.value).await.as_array().unwrap().len(), 2);
    }

    async fn record_is_limited_to_current_permissions_of_its_user(server: Server) {
        sample_roles(&server).await;
        organization(&server, "acme").await;
        user(&server, "alice", &["Admin"]).await;
        member(&server, "acme", "alice", &["Editor", "Viewer"]).await;
        let key = personal_key(&server, "alice", Some("acme"), &["docs:read", "docs:edit"]).await;
        let mut body = record("user", "alice", json!([statement(&["Admin"], &["/docs/*"])]));
        body["organization_id"] = json!("acme");
        make(&server, body).await;
        assert_eq!(details(&server, &key.value).await, json!([detail(&["docs:edit", "docs:read"], &["/docs/*"])]));
        server.manage("PATCH", "/v1/organizations/acme/members/alice", Some(json!({ "roles": ["Viewer"] })), 200).await;
        assert_eq!(details(&server, &key.value).await, json!([detail(&["docs:read"], &["/docs/*"])]));
        // A permission removed from a service client disappears here as well, even if
        // its key still lists it.
        let of_client = server.client_key(&["docs:read", "docs:edit"]).await;
        make(&server, record("service_client", &of_client.client, json!([statement(&["Admin"], &["/docs/*"])]))).await;
        assert_eq!(details(&server, &of_client.value).await[0]["actions"], json!(["docs:edit", "docs:read"]));
        server.manage("PATCH", &format!("/v1/service-clients/{}", of_client.client), Some(json!({ "permissions": ["docs:edit"] })), 200).await;
        assert_eq!(details(&server, &of_client.value).await[0]["actions"], json!(["docs:edit"]));
    }

    async fn token_details_are_limited_to_requested_scope_and_audience(server: Server) {
        sample_roles(&server).await;
        let key = server.generic_key(&["docs:read", "docs:edit"]).await;
        make(&server, record("api_key", &key.id, json!([statement(&["Admin"], &["/docs/*"])]))).await;
        server.audience("https://reader.test/", Some(&["docs:read"])).await;
        for asked in [json!({ "scope": "docs:read" }), json!({ "audience": "https://reader.test/" })] {
            let body = body_of(server.exchange_for(&key.value, asked.clone()).await, StatusCode::OK).await;
            assert_eq!(body["authorization_details"], json!([detail(&["docs:read"], &["/docs/*"])]), "{asked}");
            let explained = server.post("/v1/exchange/explain").bearer_auth(&key.value).json(&asked).send().await.unwrap();
            assert_eq!(body_of(explained, StatusCode::OK).await["authorization_details"], body["authorization_details"]);
        }
        // Every request form returns the details, including the token endpoint (9396-02).
        let body = body_of(server.token(&exchange_of(&key.value)).await, StatusCode::OK).await;
        assert_eq!(body["authorization_details"], json!([detail(&["docs:edit", "docs:read"], &["/docs/*"])]));
        // An unsupported `authorization_details` parameter is refused, not ignored.
        let asked = [exchange_of(&key.value).as_slice(), &[("authorization_details", "[]")]].concat();
        oauth_error(server.token(&asked).await, 400, "invalid_authorization_details").await;
    }

    async fn records_do_not_apply_across_tenants(server: Server) {
        sample_roles(&server).await;
        for id in ["acme", "other"] {
            organization(&server, id).await;
        }
        user(&server, "alice", &["Viewer"]).await;
        for id in ["acme", "other"] {
            member(&server, id, "alice", &["Viewer"]).await;
        }
        let keys = [
            personal_key(&server, "alice", Some("acme"), &["docs:read"]).await,
            personal_key(&server, "alice", Some("other"), &["docs:read"]).await,
            personal_key(&server, "alice", None, &["docs:read"]).await,
        ];
        for (place, at) in [(json!("acme"), "/acme"), (json!("other"), "/other"), (Value::Null, "/outside")] {
            let mut body = record("user", "alice", json!([statement(&["Viewer"], &[at])]));
            body["organization_id"] = place;
            make(&server, body).await;
        }
        for (key, at) in keys.iter().zip(["/acme", "/other", "/outside"]) {
            assert_eq!(details(&server, &key.value).await, json!([detail(&["docs:read"], &[at])]));
        }
        // A principal of another tenant cannot be named, even by the administrator.
        let generic = server.generic_key(&["docs:read"]).await;
        for (place, kind, id) in [
            (json!("acme"), "api_key", keys[1].id.as_str()), (Value::Null, "api_key", &keys[0].id), (json!("acme"), "api_key", &generic.id),
            (json!("acme"), "user", "bob"),
        ] {
            let mut body = record(kind, id, json!([statement(&["Viewer"], &["/x"])]));
            body["organization_id"] = place;
            let refusal = server.manage("POST", "/v1/access-records", Some(body), 422).await;
            assert_eq!(refusal["errors"][0]["field"], "principals[0]", "{refusal}");
        }
        // A record moved to another organization directly in the database grants nothing
        // to the old one's keys.
        server.database.sql("UPDATE access_records SET organization_id = 'other' WHERE organization_id = 'acme'");
        assert_eq!(details(&server, &keys[0].value).await, Value::Null);
        assert_eq!(details(&server, &keys[1].value).await, json!([detail(&["docs:read"], &["/other"])]));
    }

    async fn recreated_principal_has_no_old_records(server: Server) {
        sample_roles(&server).await;
        organization(&server, "acme").await;
        user(&server, "alice", &["Viewer", "self"]).await;
        let mut body = record("user", "alice", json!([statement(&["Viewer"], &["/x"])]));
        body["admins"] = json!(["alice"]);
        let outside = make(&server, body.clone()).await;
        member(&server, "acme", "alice", &["Viewer", "self"]).await;
        body["organization_id"] = json!("acme");
        let inside = make(&server, body).await;
        call_on_behalf(&server, "alice", "GET", &path_of(&outside), None, 200).await;
        call_on_behalf(&server, "alice; organization=acme", "GET", &path_of(&inside), None, 200).await;
        server.manage("DELETE", "/v1/organizations/acme", None, 204).await;
        server.manage("GET", &path_of(&inside), None, 404).await;
        organization(&server, "acme").await;
        member(&server, "acme", "alice", &["Viewer", "self"]).await;
        server.manage("GET", &path_of(&inside), None, 404).await;
        server.manage("PATCH", &path_of(&inside), Some(json!({ "name": "b" })), 404).await;
        assert_eq!(server.manage("GET", "/v1/access-records", None, 200).await["data"].as_array().unwrap().len(), 1);
        let key = personal_key(&server, "alice", Some("acme"), &["docs:read"]).await;
        assert_eq!(details(&server, &key.value).await, Value::Null);
        // A user recreated with the same id neither gets the old user's permissions nor
        // administers its records.
        server.manage("DELETE", "/v1/users/alice", None, 204).await;
        user(&server, "alice", &["Viewer", "self"]).await;
        let key = personal_key(&server, "alice", None, &["docs:read"]).await;
        assert_eq!(details(&server, &key.value).await, Value::Null);
        call_on_behalf(&server, "alice", "GET", &path_of(&outside), None, 404).await;
        assert!(!asked(&server, json!({ "principal": { "type": "user", "id": "alice" }, "permission": "docs:read", "resource": "/x" })).await);
        // Roles named only by records of deleted owners can be deleted.
        server.manage("DELETE", &path_of(&outside), None, 204).await;
        for name in ["Editor", "Creator"] {
            server.manage("DELETE", &format!("/v1/roles/{name}"), None, 204).await;
        }
    }

    async fn too_long_details_are_refused_with_a_reason(server: Server) {
        sample_roles(&server).await;
        let key = server.generic_key(&["docs:read"]).await;
        let of_length = |length: usize| {
            let around = json!([detail(&["docs:read"], &["", "", "", "", "", "", "", "", ""])]).to_string().len();
            let mut rest = length - around;
            let resources: Vec<_> = (0..9).map(|place| {
                let some = if place == 8 { rest } else { (length - around) / 9 };
                rest -= some;
                format!("/{place}{}", "a".repeat(some - 2))
            }).collect();
            record("api_key", &key.id, json!([{ "roles": ["Viewer"], "resources": resources }]))
        };
        let fits = make(&server, of_length(4096)).await;
        assert_eq!(details(&server, &key.value).await.to_string().len(), 4096);
        server.manage("DELETE", &path_of(&fits), None, 204).await;
        let record = make(&server, of_length(4097)).await;
        let refusal = oauth_error(server.token(&exchange_of(&key.value)).await, 400, "invalid_target").await;
        assert!(refusal["error_description"].as_str().unwrap().contains("access records"), "{refusal}");
        problem(server.exchange(&key.value).await, 400, "invalid_target").await;
        let explained = server.post("/v1/exchange/explain").bearer_auth(&key.value).send().await.unwrap();
        let explained = body_of(explained, StatusCode::OK).await;
        assert_eq!((&explained["reason"], &explained["granted"]), (&json!("access"), &json!(false)));
        // `/v1/access/check` still answers for this key.
        let one = &record["statements"][0]["resources"][0];
        assert!(asked(&server, json!({ "value": key.value, "permission": "docs:read", "resource": one })).await);
        server.manage("PATCH", &path_of(&record), Some(json!({ "statements": [statement(&["Viewer"], &["/x"])] })), 200).await;
        details(&server, &key.value).await;
        // The size limit applies to `authorization_details` and metadata claims together.
        server.manage("POST", "/v1/audiences", Some(json!({ "identifier": "https://a.test/", "claims": { "a": "api_key.metadata.a" } })), 201).await;
        server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(json!({ "metadata": { "a": "x".repeat(4000) } })), 200).await;
        problem(server.exchange_for(&key.value, json!({ "audience": "https://a.test/" })).await, 400, "invalid_target").await;
        details(&server, &key.value).await;
    }

    async fn management_audience_has_no_authorization_details(server: Server) {
        sample_roles(&server).await;
        let key = server.client_key(&["keyswap:keys", "docs:read"]).await;
        role(&server, "any", &["api-keys:manage", "docs:read"]).await;
        let many: Vec<_> = (0..32).map(|place| format!("/{place}{}", "a".repeat(400))).collect();
        make(&server, record("service_client", &key.client, json!([{ "roles": ["any"], "resources": many }]))).await;
        // Details that are too large for a service's token do not lock the key out
        // of the management API.
        problem(server.exchange(&key.value).await, 400, "invalid_target").await;
        let body = body_of(server.exchange_for(&key.value, json!({ "audience": "http://keyswap.test/v1" })).await, StatusCode::OK).await;
        assert_eq!(body.get("authorization_details"), None);
        assert_eq!(call(&server, &key.value, "GET", "/v1/access-records", None, &[]).await.status(), 200);
    }
}
