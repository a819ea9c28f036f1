//! Narrowing a key that carries permissions which the caller does not hold: every operation that
//! takes something from a key or a service client, and the last administrator.

use std::collections::BTreeSet;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    introspection::revoke,
    support::{Key, Server, both, calls::call, wire::problem},
};

/// What an operation on a key or a service client needs of a caller with `keyswap:keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// The caller must hold the permissions of the key.
    Holding,
    /// An emergency: any key may be ended, except that of the last administrator.
    Nothing,
}
use Needs::{Holding, Nothing};

/// Every operation on an existing key or service client.
const OPERATIONS: &[(&str, &str, Needs)] = &[
    ("PATCH", "/v1/api-keys/{id}", Holding),
    ("DELETE", "/v1/api-keys/{id}", Nothing),
    ("POST", "/v1/api-keys/{id}/rotate", Holding),
    ("POST", "/v1/api-keys/{id}/cancel-rotation", Holding),
    ("POST", "/v1/api-keys/{id}/suspend", Nothing),
    ("POST", "/v1/api-keys/{id}/resume", Holding),
    ("POST", "/v1/api-keys/{id}/revoke", Nothing),
    ("PATCH", "/v1/service-clients/{id}", Holding),
    ("DELETE", "/v1/service-clients/{id}", Nothing),
];

/// Every member of a patch of a key, with a value that narrows the key. `None` for members that
/// only describe it.
fn narrower(member: &str, server_now: keyswap::domain::common::time::Timestamp) -> Option<Value> {
    match member {
        "permissions" => Some(json!([])),
        "audiences" => Some(json!(["http://keyswap.test"])),
        "expires_at" => Some(json!(server_now.plus("61m".parse().unwrap()))),
        "max_token_ttl" => Some(json!("30s")),
        "exchanges_per_minute" => Some(json!(1)),
        "record_bound" => Some(json!(true)),
        "name" | "description" | "metadata" => None,
        other => panic!("does {other} narrow a key?"),
    }
}

/// The members of a schema in the OpenAPI document of the server.
async fn members(server: &Server, schema: &str) -> Vec<String> {
    let document: Value = server.get("/openapi.json").send().await.unwrap().json().await.unwrap();
    document["components"]["schemas"][schema]["properties"].as_object().unwrap().keys().cloned().collect()
}

async fn read(server: &Server, path: &str) -> Value {
    server.manage("GET", path, None, 200).await
}

/// Asserts that the caller is refused because of a permission that it does not hold.
async fn refused(answer: Response, what: &str) {
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    assert_eq!((status, &body["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid")), "{what}: {body}");
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("you do not"), "{what}: {body}");
}

async fn administrator(server: &Server, expires_at: Option<&str>) -> Key {
    let client = json!({ "name": "an administrator", "permissions": ["keyswap:admin"] });
    let client = server.manage("POST", "/v1/service-clients", Some(client), 201).await;
    let now = server.services.store.now().await.unwrap();
    let end = expires_at.map(|after| now.plus(after.parse().unwrap()));
    let owner = json!({ "type": "service_client", "id": client["id"] });
    let permissions = ["keyswap:admin"];
    server.key(json!({ "name": "k", "owner": owner, "permissions": permissions, "expires_at": end })).await
}

/// The key of the first administrator, which the server has.
async fn first_administrator(server: &Server) -> Key {
    let all = read(server, "/v1/api-keys?limit=100").await;
    let first = all["data"].as_array().unwrap().last().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Key { id: text(&first["id"]), value: server.admin.clone(), client: text(&first["owner"]["id"]) }
}

fn of_key(key: &Key, step: &str) -> String {
    format!("/v1/api-keys/{}{step}", key.id)
}

/// Every way to end the key of an administrator. A refusal because of the last administrator is 409,
/// also at `/oauth/revoke`, which answers 400.
async fn end(server: &Server, by: &Key, key: &Key, way: usize) -> u16 {
    let send = async |method: &str, path: String| call(server, &by.value, method, &path, None, &[]).await;
    let answer = match way {
        0 => send("POST", of_key(key, "/suspend")).await,
        1 => send("POST", of_key(key, "/revoke")).await,
        2 => send("DELETE", of_key(key, "")).await,
        3 => send("DELETE", format!("/v1/service-clients/{}", key.client)).await,
        _ => revoke::revoked(server, &by.value, &key.value).await,
    };
    match answer.status().as_u16() {
        400 if way == 4 => 409,
        status => status,
    }
}
const WAYS: std::ops::Range<usize> = 0..5;

both! {
    async fn every_operation_on_a_key_has_an_answer(server: Server) {
        let document: Value = server.get("/openapi.json").send().await.unwrap().json().await.unwrap();
        let mut found = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            if path.starts_with("/v1/api-keys/{id}") || path.starts_with("/v1/service-clients/{id}") {
                let methods = operations.as_object().unwrap().keys().filter(|method| *method != "get");
                found.extend(methods.map(|method| (method.to_uppercase(), path.clone())));
            }
        }
        let named = OPERATIONS.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()));
        assert_eq!(named.collect::<BTreeSet<_>>(), found);
        assert_eq!(members(&server, "ServiceClientPatch").await, ["metadata", "name", "permissions"]);
    }

    async fn narrowing_needs_the_permissions_of_the_key(server: Server) {
        let now = server.services.store.now().await.unwrap();
        let manager = server.client_key(&["keyswap:keys", "projects:read"]).await;
        let own = server.client_key(&["projects:read"]).await;
        for carried in ["keyswap:admin", "keyswap:events", "projects:write"] {
            let target = server.client_key(&[carried, "projects:read"]).await;
            let path = of_key(&target, "");
            let before = read(&server, &path).await;
            let patch = async |key: &Key, body: Value| call(&server, &manager.value, "PATCH", &of_key(key, ""), Some(body), &[]).await;
            for member in members(&server, "ApiKeyPatch").await {
                let Some(value) = narrower(&member, now) else { continue };
                refused(patch(&target, json!({ member.clone(): value })).await, &member).await;
            }
            // A part of what it carries, even a permission that the caller holds.
            refused(patch(&target, json!({ "permissions": [carried] })).await, "permissions").await;
            assert_eq!(read(&server, &path).await, before);
            let client = format!("/v1/service-clients/{}", target.client);
            let before = read(&server, &client).await;
            for permissions in [json!([]), json!([carried]), json!(["projects:read"])] {
                let answer = call(&server, &manager.value, "PATCH", &client, Some(json!({ "permissions": permissions })), &[]).await;
                refused(answer, "the permissions of the service client").await;
            }
            assert_eq!(read(&server, &client).await, before);
            // What only describes a key needs nothing.
            assert_eq!(patch(&target, json!({ "name": "b", "description": "c", "metadata": { "d": 1 } })).await.status(), 200);
            let named = call(&server, &manager.value, "PATCH", &client, Some(json!({ "name": "b", "metadata": {} })), &[]).await;
            assert_eq!(named.status(), 200);
        }
        // Control: the same of a key that carries no more than the caller holds.
        for member in members(&server, "ApiKeyPatch").await {
            let Some(value) = narrower(&member, now) else { continue };
            let body = json!({ member.clone(): value });
            let answer = call(&server, &manager.value, "PATCH", &of_key(&own, ""), Some(body), &[]).await;
            assert_eq!(answer.status(), 200, "{member}");
        }
        let client = format!("/v1/service-clients/{}", own.client);
        let narrowed = call(&server, &manager.value, "PATCH", &client, Some(json!({ "permissions": [] })), &[]).await;
        assert_eq!(narrowed.status(), 200);
    }

    async fn rotation_needs_the_permissions_of_the_key(server: Server) {
        let manager = server.client_key(&["keyswap:keys"]).await;
        let target = server.client_key(&["keyswap:admin"]).await;
        let send = async |step: &str, body: Option<Value>| call(&server, &manager.value, "POST", &of_key(&target, step), body, &[]).await;
        for grace in ["0s", "1h"] {
            refused(send("/rotate", Some(json!({ "grace": grace }))).await, "rotate").await;
        }
        server.manage("POST", &of_key(&target, "/rotate"), Some(json!({ "grace": "1h" })), 200).await;
        refused(send("/cancel-rotation", None).await, "cancel-rotation").await;
        server.step(&target, "suspend").await;
        refused(send("/resume", None).await, "resume").await;
    }

    async fn leaked_key_can_be_ended_without_its_permissions(server: Server) {
        let manager = server.client_key(&["keyswap:keys"]).await;
        for way in WAYS {
            let target = server.client_key(&["keyswap:admin", "projects:read"]).await;
            assert_eq!(server.exchange(&target.value).await.status(), 200);
            let status = end(&server, &manager, &target, way).await;
            assert!((200..300).contains(&status), "{way}: {status}");
            assert_eq!(server.exchange(&target.value).await.status(), 401, "{way}");
        }
    }

    async fn key_may_narrow_itself(server: Server) {
        let now = server.services.store.now().await.unwrap();
        let key = server.client_key(&["keyswap:keys", "projects:read", "projects:write"]).await;
        // A permission that its owner has lost is no obstacle.
        let client = format!("/v1/service-clients/{}", key.client);
        server.manage("PATCH", &client, Some(json!({ "permissions": ["keyswap:keys", "projects:read"] })), 200).await;
        let patch = async |body: Value| call(&server, &key.value, "PATCH", &of_key(&key, ""), Some(body), &[]).await.status();
        assert_eq!(patch(json!({ "permissions": ["keyswap:keys", "projects:read"] })).await, 200);
        assert_eq!(patch(json!({ "expires_at": now.plus("2h".parse().unwrap()) })).await, 200);
    }

    async fn key_manager_cannot_end_the_last_lasting_administrator(server: Server) {
        let manager = server.client_key(&["keyswap:keys"]).await;
        let first = first_administrator(&server).await;
        for way in WAYS {
            assert_eq!(end(&server, &manager, &first, way).await, 409, "the only administrator, {way}");
        }
        // An administrator that ends soon does not count.
        for (other, status) in [("61m", 409), ("6d", 409)] {
            administrator(&server, Some(other)).await;
            for way in WAYS {
                assert_eq!(end(&server, &manager, &first, way).await, status, "{other}, {way}");
            }
        }
        // Ending it shortens nothing: the first administrator lasts longer.
        let soon = administrator(&server, Some("2h")).await;
        assert_eq!(end(&server, &manager, &soon, 1).await, 200);
        administrator(&server, Some("8d")).await;
        assert_eq!(end(&server, &manager, &first, 1).await, 200);
    }

    async fn required_administration_is_within_the_maximum_lifetime(server: Server) {
        // The first administrator never expires: it was created before the setting.
        let server = Server::on(server.database.clone(), &["api_keys.max_lifetime=4d"]).await;
        let first = first_administrator(&server).await;
        let now = server.services.store.now().await.unwrap();
        let client = json!({ "name": "c", "permissions": ["keyswap:keys"] });
        let client = server.manage("POST", "/v1/service-clients", Some(client), 201).await;
        let owner = json!({ "type": "service_client", "id": client["id"] });
        let end_of_manager = now.plus("3d".parse().unwrap());
        let manager = server.key(json!({ "name": "k", "owner": owner, "permissions": ["keyswap:keys"], "expires_at": end_of_manager })).await;
        administrator(&server, Some("47h")).await;
        let revoke = async || call(&server, &manager.value, "POST", &of_key(&first, "/revoke"), None, &[]).await;
        // Half of the maximum lifetime must remain, and the message says until when.
        let refusal = problem(revoke().await, 409, "conflict").await;
        let (detail, required) = (refusal["detail"].as_str().unwrap(), now.plus("2d".parse().unwrap()).to_string());
        assert!(detail.contains("keyswap:admin") && detail.contains(&format!("valid until {}", &required[..14])), "{detail}");
        administrator(&server, Some("95h")).await;
        assert_eq!(revoke().await.status(), 200);
    }

    async fn administrator_cannot_end_the_last_administrator(server: Server) {
        let first = first_administrator(&server).await;
        for way in WAYS {
            assert_eq!(end(&server, &first, &first, way).await, 409, "{way}");
        }
        let now = server.services.store.now().await.unwrap();
        let patch = async |body: Value| call(&server, &server.admin, "PATCH", &of_key(&first, ""), Some(body), &[]).await;
        for body in [
            json!({ "expires_at": now.plus("59m".parse().unwrap()) }), json!({ "permissions": [] }),
            json!({ "audiences": ["http://keyswap.test"] }),
        ] {
            problem(patch(body).await, 409, "conflict").await;
        }
        // An administrator has the time to create another one. A description changes nothing.
        assert_eq!(patch(json!({ "name": "b" })).await.status(), 200);
        assert_eq!(patch(json!({ "expires_at": now.plus("2h".parse().unwrap()) })).await.status(), 200);
        server.advance(3600 + 60);
        assert_eq!(patch(json!({ "name": "c" })).await.status(), 200, "near its end");
        problem(patch(json!({ "expires_at": now.plus("90m".parse().unwrap()) })).await, 409, "conflict").await;
    }

    // A caller with `keyswap:directory` could block or delete any other owner later.
    async fn only_service_clients_of_the_account_administrate(server: Server) {
        // No role carries it either.
        server.manage("PUT", "/v1/roles/boss", Some(json!({ "permissions": ["keyswap:admin"] })), 422).await;
        server.manage("PUT", "/v1/users/root", Some(json!({})), 201).await;
        server.organization("acme").await;
        for owner in [json!({ "type": "user", "id": "root" }), json!({ "type": "organization", "id": "acme" })] {
            let client = json!({ "name": "c", "owner": owner, "permissions": ["keyswap:admin"] });
            server.manage("POST", "/v1/service-clients", Some(client), 422).await;
            let key = json!({ "name": "k", "owner": owner, "permissions": ["keyswap:admin"] });
            server.manage("POST", "/v1/api-keys", Some(key), 422).await;
        }
    }
}
