//! Every pair of changes that lock the same organization, user, member, record, role and
//! permissions, at the same time. PostgreSQL aborts one of two changes that wait for each other,
//! and its client receives 503.

use std::sync::Arc;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::{Key, Server};

/// Applies each pair of changes concurrently, on both servers.
pub async fn pairs_of_changes(server: Arc<Server>, replica: Arc<Server>, rounds: usize) {
    let shared = Shared::create(&server).await;
    let changes = shared.changes(0).len();
    for (one, other) in (0..changes).flat_map(|one| (one..changes).map(move |other| (one, other))) {
        for round in 0..rounds {
            let request = |server: &Server, change: usize| {
                let (name, method, path, body) = shared.changes(round).swap_remove(change);
                let sent = send(server, method, &path, body).send();
                async move { (name, sent.await.unwrap()) }
            };
            let answers = tokio::join!(
                request(&server, one),
                request(&replica, other),
                request(&replica, one),
                request(&server, other)
            );
            for (name, answer) in [answers.0, answers.1, answers.2, answers.3] {
                let status = answer.status();
                let names = (shared.changes(0)[one].0, shared.changes(0)[other].0);
                let body = answer.text().await.unwrap();
                // An import reports its failure in its last line.
                let has_failed = body.contains("\"error\":") || name == "import" && !body.contains("\"refused\":0");
                assert!(
                    matches!(status, StatusCode::OK | StatusCode::CREATED) && !has_failed,
                    "{name} of {names:?}, round {round}: {status} {body}"
                );
            }
        }
    }
}

fn send(server: &Server, method: Method, path: &str, body: Value) -> RequestBuilder {
    let request = server.http.request(method, server.url(path)).bearer_auth(&server.admin);
    match body {
        // The lines of an import.
        Value::String(lines) => request.header("content-type", "application/x-ndjson").body(lines),
        body => request.json(&body),
    }
}

type Change = (&'static str, Method, String, Value);

/// The rows that all changes lock.
struct Shared {
    record: String,
    client: String,
    key: Key,
}

impl Shared {
    async fn create(server: &Server) -> Self {
        server.permissions_for_all(&["a:b", "c:d", "e:f"]).await;
        server.role("reader", &["c:d"]).await;
        server.role("worker", &["a:b", "e:f"]).await;
        server.organization("acme").await;
        server.user("alice", &["worker", "reader"]).await;
        server.member("acme", "alice", &["worker", "reader"]).await;
        let record = json!({
            "name": "r", "organization_id": "acme", "principals": [{ "type": "user", "id": "alice" }],
            "statements": statements(0),
        });
        let record = server.manage("POST", "/v1/access-records", Some(record), 201).await;
        let client = json!({ "name": "c", "owner": alice(), "permissions": ["a:b"] });
        let client = server.manage("POST", "/v1/service-clients", Some(client), 201).await;
        Self {
            record: record["id"].as_str().unwrap().to_owned(),
            client: client["id"].as_str().unwrap().to_owned(),
            key: server.key_of(alice(), &["a:b"]).await,
        }
    }

    fn changes(&self, round: usize) -> Vec<Change> {
        let Self { record, client, key } = self;
        let is_even = round.is_multiple_of(2);
        let metadata = json!({ "round": round.to_string() });
        let roles = if is_even { ["worker", "reader"] } else { ["reader", "worker"] };
        let permissions = if is_even { vec!["a:b"] } else { vec!["c:d", "a:b"] };
        let access_record = json!({ "name": "r", "statements": statements(round) });
        let lines = [
            json!({ "type": "organization", "id": "acme", "name": "Acme", "metadata": metadata }),
            json!({ "type": "user", "id": "alice", "blocked": false, "profile": {}, "roles": roles, "metadata": metadata }),
            json!({ "type": "member", "organization_id": "acme", "user_id": "alice", "roles": roles, "metadata": metadata }),
        ];
        let change = |name, method, path: &str, body| (name, method, path.to_owned(), body);
        let with_roles = json!({ "roles": roles, "metadata": metadata });
        let member = "/v1/organizations/acme/members/alice";
        let new_client = json!({
            "name": "c", "owner": alice(), "permissions": ["c:d", "a:b"], "access_record": access_record,
            "api_key": { "name": "k", "permissions": permissions },
        });
        let new_record = json!({
            "name": "r", "organization_id": "acme", "statements": statements(round),
            "principals": [{ "type": "user", "id": "alice" }, { "type": "service_client", "id": client }],
        });
        vec![
            change("PUT organization", Method::PUT, "/v1/organizations/acme", json!({ "metadata": metadata })),
            change("PUT user", Method::PUT, "/v1/users/alice", with_roles.clone()),
            change("PATCH user", Method::PATCH, "/v1/users/alice", with_roles.clone()),
            change("PUT member", Method::PUT, member, with_roles.clone()),
            change("PATCH member", Method::PATCH, member, with_roles),
            change("import", Method::POST, "/v1/import", lines.map(|line| line.to_string()).join("\n").into()),
            change(
                "PUT role",
                Method::PUT,
                "/v1/roles/worker",
                json!({ "permissions": if is_even { ["a:b", "e:f"] } else { ["c:d", "a:b"] } }),
            ),
            change(
                "PUT permission",
                Method::PUT,
                "/v1/permissions/a:b",
                json!({ "description": round.to_string(), "assignable_to": ["user", "organization", "service_client"] }),
            ),
            change("POST record", Method::POST, "/v1/access-records", new_record),
            change(
                "PATCH record",
                Method::PATCH,
                &format!("/v1/access-records/{record}"),
                json!({ "statements": statements(round) }),
            ),
            change(
                "POST key",
                Method::POST,
                "/v1/api-keys",
                json!({ "name": "k", "owner": alice(), "permissions": permissions, "access_record": access_record }),
            ),
            change(
                "PATCH key",
                Method::PATCH,
                &format!("/v1/api-keys/{}", key.id),
                json!({ "permissions": permissions }),
            ),
            change("POST client", Method::POST, "/v1/service-clients", new_client),
            change(
                "PATCH client",
                Method::PATCH,
                &format!("/v1/service-clients/{client}"),
                json!({ "permissions": permissions, "metadata": metadata }),
            ),
            change(
                "POST session",
                Method::POST,
                "/v1/portal-sessions",
                json!({ "user_id": "alice", "organization_id": "acme" }),
            ),
        ]
    }
}

fn alice() -> Value {
    json!({ "type": "user", "id": "alice", "organization_id": "acme" })
}

fn statements(round: usize) -> Value {
    json!([{ "roles": ["worker", "reader"], "resources": [format!("app://{round}")] }])
}
