//! A member cannot widen a service client that an operator limited, in any way.

use serde_json::{Value, json};

use super::{
    Credential, is_allowed, record,
    stage::{ALICE, MAX, Stage},
    statement,
};
use crate::support::{Server, body_of, both};

/// The resources of a token: its scope if it has one, which holds everywhere, and its locations.
async fn token_of(server: &Server, value: &str) -> (Value, Value) {
    let body = body_of(server.exchange(value).await, reqwest::StatusCode::OK).await;
    (body["scope"].clone(), body["authorization_details"].clone())
}

both! {
    async fn limited_client_cannot_be_widened(server: Server, r#"access_records.user_resources=["/users/{user}/*"]"#) {
        let stage = Stage::new(&server).await;
        let limited = &stage.limited;
        let id = limited["id"].as_str().unwrap();
        let owner = json!({ "type": "service_client", "id": id });
        let wide = [statement("viewer", "/users/alice/*")];
        let also_shared = [statement("viewer", "/shared/b")];
        let initial = json!({ "name": "r", "statements": wide });
        let bound = json!({ "name": "k", "owner": owner, "permissions": ["docs:read"], "record_bound": true });
        let mut bound_with_record = bound.clone();
        bound_with_record["access_record"] = initial;
        for caller in stage.credentials(&server, ALICE).await {
            let unbound = json!({ "name": "k", "owner": owner, "permissions": ["docs:read"] });
            let key = caller.expect(&server, ("POST", "/v1/api-keys"), Some(bound.clone()), 201).await;
            let key_path = format!("/v1/api-keys/{}", key["id"].as_str().unwrap());
            let of_key = json!({ "type": "api_key", "id": key["id"] });
            for (method, path, body, status) in [
                // A further record, for the client and for a key of it.
                ("POST", "/v1/access-records", Some(record(limited, &wide)), 422),
                ("POST", "/v1/access-records", Some(record(limited, &also_shared)), 422),
                ("POST", "/v1/access-records", Some(record(&of_key, &wide)), 422),
                ("POST", "/v1/api-keys", Some(bound_with_record.clone()), 422),
                // The record of the operator, which she may change as its admin.
                ("PATCH", &stage.limit, Some(json!({ "statements": wide })), 422),
                ("PATCH", &stage.limit, Some(json!({ "principals": [stage.alice] })), 422),
                ("DELETE", &stage.limit, None, 403),
                // A key whose tokens hold for every resource.
                ("POST", "/v1/api-keys", Some(unbound), 422),
                ("PATCH", &key_path, Some(json!({ "record_bound": false })), 403),
                // Permissions that the record of the operator extends to its resources.
                ("PATCH", &format!("/v1/service-clients/{id}"), Some(json!({ "permissions": ["docs:read", "docs:edit"] })), 422),
            ] {
                caller.expect(&server, (method, path), body, status).await;
            }
            let (scope, details) = token_of(&server, key["value"].as_str().unwrap()).await;
            assert_eq!((scope, details[0]["locations"].clone()), (Value::Null, json!(["/shared/a"])));
            // Controls: she may narrow it, and rename the record.
            caller.expect(&server, ("PATCH", &stage.limit), Some(json!({ "name": "n" })), 200).await;
            caller.expect(&server, ("POST", "/v1/access-records"), Some(record(limited, &[statement("viewer", "/shared/a")])), 201).await;
        }
        for resource in ["/users/alice/1", "/shared/b", "/x"] {
            assert!(!is_allowed(&server, limited, "docs:read", resource).await, "{resource}");
        }
        assert!(is_allowed(&server, limited, "docs:read", "/shared/a").await);
        assert!(!is_allowed(&server, limited, "docs:edit", "/shared/a").await);
        // The operator lifts the limit.
        server.manage("DELETE", &stage.limit, None, 204).await;
        let alice = Credential { value: server.admin.clone(), on_behalf_of: Some(ALICE) };
        alice.expect(&server, ("POST", "/v1/access-records"), Some(record(limited, &wide)), 201).await;
    }

    async fn limited_client_of_an_organization_cannot_be_widened(server: Server) {
        let stage = Stage::new(&server).await;
        for caller in stage.credentials(&server, MAX).await {
            let body = record(&stage.shared, &[statement("viewer", "/acme/*")]);
            caller.expect(&server, ("POST", "/v1/access-records"), Some(body), 422).await;
            for one in server.manage("GET", "/v1/access-records?limit=100", None, 200).await["data"].as_array().unwrap() {
                if one["principals"][0] == stage.shared {
                    let path = format!("/v1/access-records/{}", one["id"].as_str().unwrap());
                    caller.expect(&server, ("DELETE", &path), None, 403).await;
                }
            }
        }
        assert!(!is_allowed(&server, &stage.shared, "docs:read", "/acme/2").await);
    }

    // A change of an operator makes the record one of the operator.
    async fn operator_takes_over_a_record_that_it_changes(server: Server) {
        let stage = Stage::new(&server).await;
        let alice = Credential { value: server.admin.clone(), on_behalf_of: Some(ALICE) };
        let made = alice.expect(&server, ("POST", "/v1/access-records"),
            Some(record(&stage.alice, &[statement("viewer", "/shared/x")])), 201).await;
        assert_eq!(made["granted_by"], json!({ "type": "user", "id": "alice" }));
        let path = format!("/v1/access-records/{}", made["id"].as_str().unwrap());
        let renamed = server.manage("PATCH", &path, Some(json!({ "name": "n" })), 200).await;
        assert_eq!(renamed["granted_by"], made["granted_by"]);
        let more = json!({ "statements": [statement("viewer", "/more/*")] });
        let changed = server.manage("PATCH", &path, Some(more), 200).await;
        assert_eq!((&changed["granted_by"]["type"], &changed["created_by"]), (&json!("api_key"), &made["created_by"]));
        alice.expect(&server, ("POST", "/v1/access-records"),
            Some(record(&stage.alice, &[statement("viewer", "/more/1")])), 201).await;
    }
}
