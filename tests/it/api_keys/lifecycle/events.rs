//! The audit log: one event per resource that a change affects, for every actor and every
//! interface, and no event that a reader misses.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{acme, of_acme, of_acme_by_ada, personal, put};
use crate::support::{Kind, Server, both};

/// A reader that follows the audit log.
struct EventReader<'a> {
    server: &'a Server,
    seen: i64,
    /// The id of the administrator's key.
    admin: String,
}

impl<'a> EventReader<'a> {
    async fn of(server: &'a Server) -> Self {
        let events = server.events().await;
        let first = events.iter().find(|event| event["type"] == "api_key.created").unwrap();
        let admin = first["subject"]["id"].as_str().unwrap().to_owned();
        Self { server, seen: events.last().unwrap()["seq"].as_i64().unwrap(), admin }
    }

    /// Returns the events since the last read.
    async fn grown(&mut self) -> Vec<Value> {
        let page = self.server.manage("GET", &format!("/v1/events?limit=100&after={}", self.seen), None, 200).await;
        let new = page["data"].as_array().unwrap().clone();
        self.seen += i64::try_from(new.len()).unwrap();
        new
    }

    /// Makes a change that must record exactly the event `left` (type, subject, organization), or
    /// none. Returns the response body.
    async fn change(
        &mut self,
        method: &str,
        path: &str,
        body: Value,
        left: Option<(&str, Option<&str>, Option<&str>)>,
    ) -> Value {
        let request =
            self.server.http.request(method.parse().unwrap(), self.server.url(path)).bearer_auth(&self.server.admin);
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{method} {path}: {}", answer.text().await.unwrap());
        let request_id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default();
        let events = self.grown().await;
        let Some((kind, subject, organization)) = left else {
            assert_eq!(events, [Value::Null; 0], "{method} {path} changes nothing");
            return answer;
        };
        assert_eq!(events.len(), 1, "{method} {path}: {events:?}");
        let event = &events[0];
        let made = answer["id"].as_str().unwrap_or_default();
        assert_eq!(event["type"], kind);
        assert_eq!(event["subject"], json!({ "type": kind.split_once('.').unwrap().0, "id": subject.unwrap_or(made) }));
        assert_eq!(event["actor"], json!({ "type": "api_key", "id": self.admin }), "{kind}");
        assert_eq!(event["organization_id"], json!(organization), "{kind}");
        assert_eq!((&event["cause"], &event["on_behalf_of"]), (&Value::Null, &Value::Null), "{kind}");
        assert_eq!((&event["request_id"], &event["address"]), (&json!(request_id), &json!("127.0.0.1")), "{kind}");
        answer
    }
}

both! {
    // Features: W23, W24.
    async fn every_change_leaves_one_event_with_actor_and_source(server: Server, "jobs=by_hand") {
        let mut reader = EventReader::of(&server).await;
        let everyone = json!({ "assignable_to": ["user", "organization", "service_client"] });
        let described = json!({ "assignable_to": ["user", "organization", "service_client"], "description": "To do it" });
        reader.change("PUT", "/v1/permissions/p:a", everyone.clone(), Some(("permission.created", Some("p:a"), None))).await;
        reader.change("PUT", "/v1/permissions/p:a", everyone, None).await;
        reader.change("PUT", "/v1/permissions/p:a", described, Some(("permission.updated", Some("p:a"), None))).await;
        reader.change("PUT", "/v1/roles/r", json!({ "permissions": ["p:a"] }), Some(("role.created", Some("r"), None))).await;
        reader.change("PUT", "/v1/roles/r", json!({ "permissions": ["p:a"] }), None).await;
        reader.change("PUT", "/v1/roles/r", json!({ "permissions": [] }), Some(("role.updated", Some("r"), None))).await;
        let acme = Some("acme");
        reader.change("PUT", "/v1/organizations/acme", json!({ "name": "A" }), Some(("organization.created", acme, acme))).await;
        reader.change("PUT", "/v1/organizations/acme", json!({ "name": "A" }), None).await;
        reader.change("PATCH", "/v1/organizations/acme", json!({ "name": "B" }), Some(("organization.updated", acme, acme))).await;
        let ada = Some("ada");
        reader.change("PUT", "/v1/users/ada", json!({}), Some(("user.created", ada, None))).await;
        reader.change("PATCH", "/v1/users/ada", json!({ "profile": { "email": "a@example.com" } }), Some(("user.updated", ada, None))).await;
        reader.change("PATCH", "/v1/users/ada", json!({ "blocked": true }), Some(("user.blocked", ada, None))).await;
        reader.change("PATCH", "/v1/users/ada", json!({ "blocked": true }), None).await;
        reader.change("PATCH", "/v1/users/ada", json!({ "blocked": false }), Some(("user.unblocked", ada, None))).await;
        for (step, kind) in [("lock", "user.locked"), ("unlock", "user.unlocked")] {
            let path = format!("/v1/users/ada/{step}");
            reader.change("POST", &path, Value::Null, Some((kind, ada, None))).await;
            reader.change("POST", &path, Value::Null, None).await;
        }
        let member = "/v1/organizations/acme/members/ada";
        reader.change("PUT", member, json!({ "roles": ["r"] }), Some(("member.created", ada, acme))).await;
        reader.change("PUT", member, json!({ "roles": ["r"] }), None).await;
        reader.change("PATCH", member, json!({ "roles": [] }), Some(("member.updated", ada, acme))).await;
        let audience = reader.change("POST", "/v1/audiences", json!({ "identifier": "billing" }), Some(("audience.created", None, None))).await;
        let audience = format!("/v1/audiences/{}", audience["id"].as_str().unwrap());
        reader.change("PATCH", &audience, json!({ "token_ttl": "5m" }), Some(("audience.updated", None, None))).await;
        let owner = json!({ "type": "organization", "id": "acme" });
        let client = reader.change("POST", "/v1/service-clients", json!({ "name": "a", "owner": owner }), Some(("service_client.created", None, acme))).await;
        let (client, client_id) = (format!("/v1/service-clients/{}", client["id"].as_str().unwrap()), client["id"].as_str().unwrap().to_owned());
        reader.change("PATCH", &client, json!({ "name": "b" }), Some(("service_client.updated", None, acme))).await;

        let key = reader.change("POST", "/v1/api-keys", json!({ "name": "a", "owner": owner, "permissions": ["p:a"] }), Some(("api_key.created", None, acme))).await;
        let key_id = key["id"].as_str().unwrap().to_owned();
        let key = format!("/v1/api-keys/{key_id}");
        reader.change("PATCH", &key, json!({ "name": "b" }), Some(("api_key.updated", None, acme))).await;
        reader.change("PATCH", &key, json!({ "name": "b" }), None).await;
        for (step, kind) in [("rotate", "rotated"), ("cancel-rotation", "rotation_cancelled"), ("suspend", "suspended"), ("resume", "resumed"), ("revoke", "revoked")] {
            reader.change("POST", &format!("{key}/{step}"), Value::Null, Some((&format!("api_key.{kind}"), None, acme))).await;
        }
        reader.change("POST", &format!("{key}/revoke"), Value::Null, None).await;
        reader.change("DELETE", &key, Value::Null, Some(("api_key.deleted", Some(&key_id), acme))).await;

        reader.change("DELETE", &client, Value::Null, Some(("service_client.deleted", Some(&client_id), acme))).await;
        let id = audience.rsplit('/').next().unwrap().to_owned();
        reader.change("DELETE", &audience, Value::Null, Some(("audience.deleted", Some(&id), None))).await;
        reader.change("DELETE", member, Value::Null, Some(("member.deleted", ada, acme))).await;
        reader.change("DELETE", "/v1/organizations/acme", Value::Null, Some(("organization.deleted", acme, acme))).await;
        reader.change("DELETE", "/v1/users/ada", Value::Null, Some(("user.deleted", ada, None))).await;
        reader.change("DELETE", "/v1/roles/r", Value::Null, Some(("role.deleted", Some("r"), None))).await;
        reader.change("DELETE", "/v1/permissions/p:a", Value::Null, Some(("permission.deleted", Some("p:a"), None))).await;
        server.run_jobs().await;
        assert_eq!(reader.grown().await, [Value::Null; 0], "nothing comes after that");
    }

    // Features: W24.
    async fn event_names_the_user_acted_for_and_organizations_find_their_events(server: Server) {
        acme(&server).await;
        personal(&server, None).await;
        let mut reader = EventReader::of(&server).await;
        let own = of_acme_by_ada(&server).await;
        let event = reader.grown().await.pop().unwrap();
        assert_eq!((&event["on_behalf_of"], &event["actor"]["id"]), (&json!("ada"), &json!(reader.admin)));
        assert_eq!(event["subject"]["id"], own.id.as_str());
        put(&server, "/v1/organizations/beta", json!({})).await;
        let of = async |organization: &str| -> Vec<String> {
            let page = server.manage("GET", &format!("/v1/events?limit=100&organization={organization}"), None, 200).await;
            page["data"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(of("acme").await, ["organization.created", "member.created", "api_key.created"]);
        assert_eq!(of("beta").await, ["organization.created"]);
        assert_eq!(of("acm").await, [""; 0]);
        // A deletion also records the deletion of dependent objects in their
        // organization, with the cause.
        server.manage("DELETE", "/v1/users/ada", None, 204).await;
        let left = reader.grown().await;
        let gone: Vec<_> = left.iter().filter(|event| event["type"] == "member.deleted").collect();
        assert_eq!((gone.len(), &gone[0]["cause"], &gone[0]["organization_id"]), (1, &json!("user_deleted"), &json!("acme")));
    }

    // Features: W23, D9.
    async fn command_line_leaves_the_same_events(server: Server) {
        let settings = [
            format!("database.url={}", server.database.url),
            format!("keys.dir={}", server.database.dir.path().join("keys").display()),
            "server.public_url=http://keyswap.test".to_owned(),
        ];
        let run = |arguments: &[&str]| -> Value {
            let mut command = Command::new(env!("CARGO_BIN_EXE_keyswap"));
            command.args(arguments).arg("--json").args(settings.iter().flat_map(|setting| ["--set", setting]));
            let output = command.stdin(Stdio::null()).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            serde_json::from_slice(&output.stdout).unwrap()
        };
        acme(&server).await;
        let mut reader = EventReader::of(&server).await;
        let made = run(&["api-key", "create", "--name", "ci", "--organization", "acme", "--permission", "projects:read"]);
        let id = made["id"].as_str().unwrap();
        run(&["api-key", "patch", id, "--name", "nightly"]);
        let rotated = run(&["api-key", "rotate", id, "--grace", "1h"]);
        let kept = run(&["api-key", "cancel-rotation", id]);
        assert_eq!(kept["credentials"].as_array().unwrap().len(), 1);
        server.fetch_token(made["value"].as_str().unwrap()).await;
        assert_eq!(server.exchange(rotated["value"].as_str().unwrap()).await.status(), 401, "a running server notices at once");
        for step in ["suspend", "resume", "revoke"] {
            run(&["api-key", step, id]);
        }
        let events = reader.grown().await;
        let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap().strip_prefix("api_key.").unwrap()).collect();
        assert_eq!(kinds, ["created", "updated", "rotated", "rotation_cancelled", "suspended", "resumed", "revoked"]);
        for event in &events {
            assert_eq!(event["actor"], json!({ "type": "cli", "id": null }));
            assert_eq!((&event["subject"]["id"], &event["organization_id"]), (&json!(id), &json!("acme")));
            assert_eq!((&event["request_id"], &event["address"]), (&Value::Null, &Value::Null));
        }
    }
}

/// Reads the audit log by long polling up to the sequence number `last`.
async fn follow(server: &Server, limit: usize, from: i64, last: i64) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), from);
    while after < last {
        let page = server.manage("GET", &format!("/v1/events?limit={limit}&after={after}&wait=10s"), None, 200).await;
        let new = page["data"].as_array().unwrap();
        assert!(!new.is_empty(), "nothing came after {after} for ten seconds");
        after = new.last().unwrap()["seq"].as_i64().unwrap();
        all.extend(new.iter().cloned());
    }
    all
}

// Features: W24.
#[test]
fn two_followers_on_two_servers_read_each_event_once() {
    Server::run(Kind::Postgres, &[], async |server| {
        acme(&server).await;
        let other = server.replica().await;
        let from = server.events().await.last().unwrap()["seq"].as_i64().unwrap();
        let last = from + 240;
        let write = async |server: &Server| {
            for _ in 0..30 {
                let key = of_acme(server).await;
                server.step(&key, "revoke").await;
            }
        };
        let (one, two, ..) = tokio::join!(
            follow(&server, 7, from, last),
            follow(&other, 100, from, last),
            write(&server),
            write(&server),
            write(&other),
            write(&other),
        );
        let numbers: Vec<_> = one.iter().map(|event| event["seq"].as_i64().unwrap()).collect();
        assert_eq!(numbers, (from + 1..=last).collect::<Vec<_>>());
        assert!(one == two, "both have seen the same");
        let count = |kind: &str| one.iter().filter(|event| event["type"] == kind).count();
        assert_eq!((count("api_key.created"), count("api_key.revoked")), (120, 120));
    });
}
