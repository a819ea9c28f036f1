//! Validations and introspections of usual keys read one narrow row for the caller and one for the
//! key, and return the same as with all tables.

use std::{sync::Mutex, time::Duration};

use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};
use serde_json::{Value, json};

use crate::{
    introspection::introspected,
    portal::key_management::{of_organization, people, personal, put},
    support::{Database, Server, both},
};

const VALIDATE: &str = "/v1/api-keys/validate";

/// Statements, each with the URL of its connection: tests of one process have databases of their
/// own.
static STATEMENTS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Records the statements of one connection.
#[derive(Default)]
struct Recorder {
    url: String,
}

impl Instrumentation for Recorder {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartEstablishConnection { url, .. } => url.clone_into(&mut self.url),
            InstrumentationEvent::StartQuery { query, .. } => {
                STATEMENTS.lock().unwrap().push((self.url.clone(), query.to_string()));
            }
            _ => {}
        }
    }
}

fn take_statements(database: &Database) -> Vec<String> {
    let url = database.url.trim_start_matches("sqlite://");
    STATEMENTS.lock().unwrap().extract_if(.., |(at, _)| at.starts_with(url)).map(|(_, statement)| statement).collect()
}

/// Repeats a request until it reads two narrow rows and nothing else: the first ones remember the
/// facts and open connections, and other reads of the server may fall into the time of a request.
async fn assert_reads_two_narrow_rows(server: &Server, send: impl AsyncFn() -> Value) {
    let mut statements = Vec::new();
    for _ in 0..50 {
        take_statements(&server.database);
        send().await;
        statements = take_statements(&server.database);
        if statements.len() == 2 && statements.iter().all(|statement| statement.contains("narrow_lookups")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("more was read: {statements:#?}");
}

async fn validated(server: &Server, value: &str) -> Value {
    server.manage("POST", VALIDATE, Some(json!({ "value": value })), 200).await
}

both! {
    async fn usual_key_is_validated_with_two_narrow_rows(server: Server, "jobs=by_hand") {
        people(&server).await;
        let key = personal(&server, "self", &["projects:read"]).await;
        server.audience("https://projects.test", None).await;
        // Statements of connections that are opened from here on are recorded.
        set_default_instrumentation(|| Some(Box::<Recorder>::default())).unwrap();
        let replica = server.replica().await;
        let at_audience = json!({ "value": key.value, "audience": "https://projects.test" });
        assert_reads_two_narrow_rows(&replica, async || validated(&replica, &key.value).await).await;
        assert_reads_two_narrow_rows(&replica, async || {
            replica.manage("POST", VALIDATE, Some(at_audience.clone()), 200).await
        })
        .await;
        assert_reads_two_narrow_rows(&replica, async || introspected(&replica, &key.value).await).await;
    }

    async fn answers_by_narrow_rows_are_those_of_all_tables(server: Server, "jobs=by_hand") {
        people(&server).await;
        let profile = json!({ "email": "self@acme.test" });
        let user = json!({ "profile": profile, "metadata": { "plan": "pro" }, "roles": ["self"] });
        put(&server, "/v1/users/self", user).await;
        let owner = json!({ "type": "user", "id": "self" });
        let rotated = server.generic_key(&["internal"]).await;
        let mut values = vec![
            server.key_of(owner, &["projects:read"]).await.value,
            personal(&server, "self", &["projects:read"]).await.value,
            of_organization(&server, "acme", &["projects:read"]).await.value,
            server.client_key(&["internal"]).await.value,
            rotated.value.clone(),
        ];
        // The credentials of a key are one row each.
        let path = format!("/v1/api-keys/{}/rotate", rotated.id);
        let new = server.manage("POST", &path, Some(json!({ "grace": "1h" })), 200).await;
        values.push(new["value"].as_str().unwrap().to_owned());
        let answers = async || {
            let mut all = Vec::new();
            for value in &values {
                all.push(validated(&server, value).await);
                all.push(introspected(&server, value).await);
            }
            all
        };
        // The facts are remembered, and the last-used times are written.
        answers().await;
        server.services.last_used.flush().await.unwrap();
        let narrow = answers().await;
        assert!(narrow.iter().step_by(2).all(|answer| answer["api_key"]["last_used_at"].is_string()), "{narrow:#?}");
        assert!(narrow.iter().skip(1).step_by(2).all(|answer| answer["active"] == true), "{narrow:#?}");
        server.database.sql("DELETE FROM narrow_credentials");
        assert_eq!(answers().await, narrow);
    }

    async fn facts_are_remembered_for_each_audience(server: Server) {
        server.permissions(&["internal", "projects:read"]).await;
        let key = server.generic_key(&["internal"]).await;
        server.audience("https://projects.test", Some(&["projects:read"])).await;
        server.audience("https://internal.test", Some(&["internal"])).await;
        for _ in 0..3 {
            for (audience, missing) in [("projects", json!(["internal"])), ("internal", json!([]))] {
                let audience = format!("https://{audience}.test");
                let body = json!({ "value": key.value, "audience": audience, "required_permissions": ["internal"] });
                let answer = server.manage("POST", VALIDATE, Some(body), 200).await;
                assert_eq!(answer["missing_permissions"], missing, "{audience}");
            }
        }
    }

    async fn changes_of_what_a_validation_shows_apply_to_the_next_one(server: Server) {
        people(&server).await;
        put(&server, "/v1/users/self", json!({ "profile": { "email": "old@acme.test" } })).await;
        let key = personal(&server, "self", &["projects:read"]).await;
        for _ in 0..2 {
            assert_eq!(validated(&server, &key.value).await["user"]["profile"]["email"], "old@acme.test");
        }
        let path = format!("/v1/api-keys/{}", key.id);
        server.manage("PATCH", &path, Some(json!({ "name": "renamed", "description": "of the build" })), 200).await;
        put(&server, "/v1/users/self", json!({ "profile": { "email": "new@acme.test" } })).await;
        put(&server, "/v1/organizations/acme", json!({ "name": "Acme Inc.", "metadata": { "plan": "pro" } })).await;
        let shown = validated(&server, &key.value).await;
        assert_eq!([&shown["api_key"]["name"], &shown["api_key"]["description"]], ["renamed", "of the build"]);
        assert_eq!(shown["user"]["profile"]["email"], "new@acme.test");
        assert_eq!(shown["organization"], json!({ "id": "acme", "name": "Acme Inc.", "metadata": { "plan": "pro" } }));
        server.manage("PATCH", "/v1/users/self", Some(json!({ "blocked": true })), 200).await;
        assert_eq!(validated(&server, &key.value).await, json!({ "api_key": null }));
    }
}
