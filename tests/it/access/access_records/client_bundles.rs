//! Service clients: ownership, per-user limit, and creation together with an access record and a
//! key.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::{
    support::calls::events_after,
    support::{Kind, both, header_of, race::race, wire::problem},
};

fn bundle(permissions: &[&str]) -> Value {
    json!({
        "name": "Reports", "permissions": permissions, "metadata": { "team": "a" },
        "access_record": { "name": "Reports", "statements": [statement(&["Viewer"], &["/reports/*"])] },
        "api_key": { "name": "first", "permissions": ["docs:read"], "expires_at": "2090-01-01T00:00:00Z", "max_token_ttl": "5m" },
    })
}

both! {
    // Features: A3.
    async fn service_clients_belong_to_users_organizations_and_the_account(server: Server) {
        sample_roles(&server).await;
        organization(&server, "acme").await;
        user(&server, "alice", &["Viewer"]).await;
        member(&server, "acme", "alice", &["Viewer"]).await;
        for (owner, organization) in [
            (json!({ "type": "account" }), Value::Null), (json!({ "type": "user", "id": "alice" }), Value::Null),
            (json!({ "type": "user", "id": "alice", "organization_id": "acme" }), json!("acme")),
            (json!({ "type": "organization", "id": "acme" }), json!("acme")),
        ] {
            let mut body = bundle(&["docs:read"]);
            body["owner"] = owner.clone();
            let client = server.manage("POST", "/v1/service-clients", Some(body), 201).await;
            assert_eq!((&client["owner"]["type"], &client["owner"]["organization_id"]), (&owner["type"], &organization));
            assert_eq!(client["access_record"]["organization_id"], organization, "the record is where the client is");
            let key = client["api_key"]["value"].as_str().unwrap();
            // The flow is the same for every owner type.
            assert_eq!(details(&server, key).await, json!([detail(&["docs:read"], &["/reports/*"])]));
            let body = body_of(server.exchange(key).await, StatusCode::OK).await;
            let claims = verify(&server, body["access_token"].as_str().unwrap(), "http://keyswap.test").await;
            assert_eq!((&claims["sub"], &claims["sub_type"]), (&client["id"], &json!("service_client")));
            assert_eq!(claims.get("org_id").unwrap_or(&Value::Null), &organization);
        }
    }

    // Features: A10.
    async fn number_of_service_clients_per_user_is_limited_by_configuration(server: Server, "service_clients.max_per_user=2") {
        sample_roles(&server).await;
        organization(&server, "acme").await;
        for id in ["alice", "bob"] {
            user(&server, id, &["self"]).await;
            member(&server, "acme", id, &["self"]).await;
        }
        let create = async |who: &str| as_user(&server, who, "POST", "/v1/service-clients", Some(json!({ "name": "a" }))).await;
        let first = body_of(create("alice").await, StatusCode::CREATED).await;
        assert_eq!(create("alice").await.status(), 201);
        let before = server.events().await.len();
        let refusal = problem(create("alice").await, 409, "limit_reached").await;
        let detail = refusal["detail"].as_str().unwrap();
        assert!(detail.starts_with("the user has reached the maximum of 2 service clients") && detail.contains("service_clients.max_per_user"), "{detail}");
        let for_alice = json!({ "name": "a", "owner": { "type": "user", "id": "alice" } });
        server.manage("POST", "/v1/service-clients", Some(for_alice), 409).await;
        assert_eq!(server.events().await.len(), before);
        // The limit counts one user in one tenant scope: clients of other users, of other scopes
        // and of the account do not count. Deleting a client frees a slot.
        for who in ["bob", "alice; organization=acme"] {
            assert_eq!(create(who).await.status(), 201);
        }
        for _ in 0..3 {
            server.manage("POST", "/v1/service-clients", Some(json!({ "name": "a" })), 201).await;
        }
        call_on_behalf(&server, "alice", "DELETE", &format!("/v1/service-clients/{}", first["id"].as_str().unwrap()), None, 204).await;
        assert_eq!(create("alice").await.status(), 201);
    }

    async fn concurrent_creations_do_not_exceed_the_client_limit(server: Server, "service_clients.max_per_user=1") {
        let replica = server.replica().await;
        sample_roles(&server).await;
        for user_id in ["alice", "bob"] {
            user(&server, user_id, &["self"]).await;
            let (first, second) = if user_id == "alice" { (&server, &replica) } else { (&replica, &server) };
            let create = |to: &Server| {
                let request = to.post("/v1/service-clients").bearer_auth(&to.admin).header("keyswap-on-behalf-of", user_id);
                request.json(&json!({ "name": "a" }))
            };
            let [one, other] = race([(first, create(first)), (second, create(second))]).await;
            let statuses = [one.status(), other.status()];
            let refused = match statuses.map(|status| status == StatusCode::CREATED) {
                [true, false] => other,
                [false, true] if server.database.kind == Kind::Sqlite => one,
                _ => panic!("the first is made, and no other: {statuses:?}"),
            };
            problem(refused, 409, "limit_reached").await;
        }
    }

    // Features: A24.
    async fn one_call_creates_client_record_and_key(server: Server) {
        sample_roles(&server).await;
        let before = server.events().await.len();
        let post = async || call(&server, &server.admin, "POST", "/v1/service-clients", Some(bundle(&["docs:read"])), &[("idempotency-key", "a")]).await;
        let made = body_of(post().await, StatusCode::CREATED).await;
        assert_eq!(events_after(&server, before).await, ["service_client.created", "access_record.created", "api_key.created"]);
        let (record, key) = (&made["access_record"], &made["api_key"]);
        assert_eq!(record["principals"], json!([{ "type": "service_client", "id": made["id"] }]));
        assert_eq!((&key["owner"]["id"], &key["max_token_ttl"]), (&made["id"], &json!("5m")));
        let value = key["value"].as_str().unwrap();
        assert_eq!(details(&server, value).await, json!([detail(&["docs:read"], &["/reports/*"])]));
        assert_eq!(header_of(&server.fetch_token(value).await)["typ"], "at+jwt");
        // Each object equals the one that a separate creation call returns.
        assert_eq!(&server.manage("GET", &path_of(record), None, 200).await, record);
        let mut shown = key.clone();
        shown.as_object_mut().unwrap().remove("value");
        let found = server.manage("GET", &format!("/v1/api-keys/{}", key["id"].as_str().unwrap()), None, 200).await;
        assert_eq!((&found["id"], &found["masked"], &found["permissions"]), (&shown["id"], &shown["masked"], &shown["permissions"]));
        let client = server.manage("GET", &format!("/v1/service-clients/{}", made["id"].as_str().unwrap()), None, 200).await;
        assert_eq!((client.get("access_record"), client.get("api_key")), (None, None), "in the answer to create alone");
        // A replay returns the same three objects without the secret.
        let again = post().await;
        assert_eq!(again.headers()["idempotency-replayed"], "true");
        let again = body_of(again, StatusCode::CREATED).await;
        assert_eq!((&again["id"], &again["access_record"], &again["api_key"]["id"]), (&made["id"], record, &key["id"]));
        assert_eq!(again["api_key"].get("value"), None);
        assert_eq!(server.events().await.len(), before + 3);
        // A replay omits objects that were deleted after the original request.
        server.manage("DELETE", &path_of(record), None, 204).await;
        server.manage("DELETE", &format!("/v1/api-keys/{}", key["id"].as_str().unwrap()), None, 204).await;
        let again = body_of(post().await, StatusCode::CREATED).await;
        assert_eq!((again.get("access_record"), again.get("api_key")), (None, None));
        // `access_record` and `api_key` are independently optional.
        for part in ["access_record", "api_key"] {
            let mut body = bundle(&["docs:read"]);
            body.as_object_mut().unwrap().remove(part);
            let made = server.manage("POST", "/v1/service-clients", Some(body), 201).await;
            assert_eq!(made.get(part), None);
        }
    }

    // Features: A24.
    async fn failure_of_any_part_creates_nothing(server: Server) {
        sample_roles(&server).await;
        let before = server.events().await.len();
        let mut bad = bundle(&["docs:read"]);
        bad["access_record"]["statements"] = json!([statement(&["Unknown"], &["/a", "b"])]);
        bad["api_key"]["permissions"] = json!(["docs:read", "docs:edit"]);
        bad["api_key"]["expires_at"] = json!("2001-01-01T00:00:00Z");
        let refusal = server.manage("POST", "/v1/service-clients", Some(bad), 422).await;
        let found = messages(&refusal);
        for part in [
            "access_record.statements[0].roles: there is no role Unknown", "access_record.statements[0].resources[1]: a resource",
            "api_key.permissions: docs:edit is not a permission of the service client", "api_key.expires_at: is in the past",
        ] {
            assert!(found.iter().any(|message| message.starts_with(part)), "{part}: {found:#?}");
        }
        for (member, value) in [("permissions", json!(["no-such"])), ("owner", json!({ "type": "user", "id": "absent" }))] {
            let mut body = bundle(&["docs:read"]);
            body[member] = value;
            let refusal = server.manage("POST", "/v1/service-clients", Some(body), 422).await;
            assert_eq!(refusal["errors"][0]["field"], member);
        }
        for part in ["access_record", "api_key"] {
            let mut body = bundle(&["docs:read"]);
            body[part]["owner"] = json!({ "type": "none" });
            server.manage("POST", "/v1/service-clients", Some(body), 422).await;
        }
        assert_eq!(server.events().await.len(), before);
        let clients = server.manage("GET", "/v1/service-clients", None, 200).await;
        assert!(clients["data"].as_array().unwrap().iter().all(|client| client["name"] != "Reports"));
        assert_eq!(server.manage("GET", "/v1/access-records", None, 200).await["data"], json!([]));
    }

    // Features: A11.
    async fn key_and_its_access_record_are_created_together_or_not_at_all(
        server: Server, r#"access_records.user_resources=["/Users/{user}/*"]"#
    ) {
        sample_roles(&server).await;
        user(&server, "alice", &["self", "Viewer"]).await;
        let wanted = |role: &str, over: &str| json!({
            "name": "k", "permissions": ["docs:read"], "access_record": { "name": "k", "statements": [statement(&[role], &[over])] },
        });
        let before = server.events().await.len();
        for (role, over, fault) in [
            ("Editor", "/Users/alice/7", "access_record.statements[0].roles: you cannot grant docs:edit of the role Editor"),
            ("Unknown", "/Users/alice/7", "access_record.statements[0].roles: there is no role Unknown"),
            ("Viewer", "docs", "access_record.statements[0].resources[0]: a resource"),
            ("Viewer", "/Users/bob/7", "access_record.statements[0].resources: you cannot grant /Users/bob/7"),
        ] {
            let refusal = call_on_behalf(&server, "alice", "POST", "/v1/api-keys", Some(wanted(role, over)), 422).await;
            assert!(messages(&refusal)[0].starts_with(fault), "{refusal}");
        }
        assert_eq!(server.events().await.len(), before, "no key without its record");
        let made = call_on_behalf(&server, "alice", "POST", "/v1/api-keys", Some(wanted("Viewer", "/Users/alice/7")), 201).await;
        assert_eq!(events_after(&server, before).await, ["api_key.created", "access_record.created"]);
        assert_eq!(details(&server, made["value"].as_str().unwrap()).await, json!([detail(&["docs:read"], &["/Users/alice/7"])]));
        let records = call_on_behalf(&server, "alice", "GET", "/v1/access-records", None, 200).await;
        assert_eq!(records["data"][0]["principals"], json!([{ "type": "api_key", "id": made["id"] }]));
        let mut imported = wanted("Viewer", "/Users/alice/7");
        imported["import"] = json!({ "sha256": "0".repeat(64) });
        call_on_behalf(&server, "alice", "POST", "/v1/api-keys", Some(imported), 403).await;
    }

    // Features: A24.
    async fn bundle_grants_a_user_no_more_than_separate_calls(
        server: Server, r#"access_records.user_resources=["/Users/{user}/*"]"#
    ) {
        sample_roles(&server).await;
        user(&server, "alice", &["self", "Viewer"]).await;
        let mut own = bundle(&["docs:read"]);
        own["access_record"]["statements"][0]["resources"] = json!(["/Users/alice/*"]);
        let made = call_on_behalf(&server, "alice", "POST", "/v1/service-clients", Some(own.clone()), 201).await;
        assert_eq!(made["access_record"]["admins"], json!(["alice"]));
        assert_eq!(made["owner"], json!({ "type": "user", "id": "alice", "organization_id": null }));
        let mut more = own;
        more["access_record"]["statements"][0]["roles"] = json!(["Editor"]);
        let refusal = call_on_behalf(&server, "alice", "POST", "/v1/service-clients", Some(more), 422).await;
        assert!(messages(&refusal)[0].starts_with("access_record.statements[0].roles: you cannot grant docs:edit of the role Editor"), "{refusal}");
    }
}
