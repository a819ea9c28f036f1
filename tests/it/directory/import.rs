//! Bulk import of the directory: each row has the effect of a PUT, and the report lists refused
//! rows.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    time::Duration,
};

use keyswap::service::events;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Raw, Server, both, wire::problem};

const NDJSON: &str = "application/x-ndjson";

fn ndjson(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

fn organization(id: &str) -> Value {
    json!({ "type": "organization", "id": id, "name": format!("The {id}"), "metadata": { "plan": "pro" } })
}

fn user(id: &str) -> Value {
    json!({ "type": "user", "id": id, "blocked": false, "profile": { "email": format!("{id}@acme.example") }, "metadata": {}, "roles": [] })
}

fn member(organization: &str, user: &str) -> Value {
    json!({ "type": "member", "organization_id": organization, "user_id": user, "roles": ["editor"], "metadata": { "desk": 1 } })
}

fn users(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|number| format!("{}\n", user(&format!("u{number}")))).collect()
}

/// Imports a body and returns every line of the response.
async fn lines(server: &Server, body: impl Into<reqwest::Body>) -> Vec<Value> {
    let request = server.post("/v1/import").bearer_auth(&server.admin).header("content-type", NDJSON).body(body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], NDJSON);
    assert_eq!(response.headers()["cache-control"], "no-store");
    objects(&response.text().await.unwrap())
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn import(server: &Server, body: impl Into<reqwest::Body>) -> Value {
    lines(server, body).await.pop().unwrap()["report"].clone()
}

/// The counts of created, updated, unchanged and refused rows.
fn counts(report: &Value) -> [u64; 4] {
    let counts = ["created", "updated", "unchanged", "refused"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(counts.iter().sum::<u64>(), report["rows"].as_u64().unwrap());
    counts
}

async fn editor(server: &Server) {
    let body = json!({ "permissions": [] });
    server.manage("PUT", "/v1/roles/editor", Some(body), 201).await;
}

/// The head of a raw import request.
fn head(server: &Server, key: &str, more: &str) -> String {
    let host = server.base.strip_prefix("http://").unwrap();
    format!(
        "POST /v1/import HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: {NDJSON}\r\nConnection: close\r\n{more}\r\n"
    )
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

async fn count_users(server: &Server) -> usize {
    let (mut count, mut path) = (0, "/v1/users?limit=100".to_owned());
    loop {
        let page = server.manage("GET", &path, None, 200).await;
        count += page["data"].as_array().unwrap().len();
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/users?limit=100&after={next}"),
            None => return count,
        }
    }
}

async fn until_users(server: &Server, count: usize) {
    for _ in 0..200 {
        if count_users(server).await >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("there are no {count} users");
}

/// Invalid rows, each with the fields of its errors.
fn bad() -> Vec<(String, Vec<&'static str>)> {
    let long = format!(r#"{{"type":"user","id":"long","profile":{{"a":"{}"}}}}"#, "x".repeat(65 * 1024));
    let row = |value: Value| value.to_string();
    vec![
        ("{\"type\":\"user\",\"id\":".to_owned(), vec!["row"]),
        ("not json".to_owned(), vec!["row"]),
        ("[1]".to_owned(), vec!["row"]),
        (long, vec!["row"]),
        ("{}".to_owned(), vec!["type"]),
        (row(json!({ "type": "role", "name": "editor" })), vec!["type"]),
        (row(json!({ "type": "user" })), vec!["id"]),
        (row(json!({ "type": "user", "id": "svc_1" })), vec!["id"]),
        (row(json!({ "type": "user", "id": "a*b", "locked": true })), vec!["id", "locked"]),
        (row(json!({ "type": "user", "id": "x", "blocked": "yes", "profile": [] })), vec!["blocked", "profile"]),
        (row(json!({ "type": "user", "id": "x", "metadata": { "a": "x".repeat(17 * 1024) } })), vec!["metadata"]),
        (row(json!({ "type": "user", "id": "x", "roles": ["absent", "ok!"] })), vec!["roles[1]"]),
        (row(json!({ "type": "user", "id": "x", "roles": ["absent", "no one"] })), vec!["roles[1]"]),
        (row(json!({ "type": "user", "id": "x", "roles": ["editor", "absent", "nothing"] })), vec!["roles", "roles"]),
        (r#"{"type":"user","id":"x","id":"y"}"#.to_owned(), vec!["row"]),
        (r#"{"type":"user","id":"x","profile":{"a":1,"a":2}}"#.to_owned(), vec!["profile"]),
        (row(json!({ "type": "organization", "id": "x", "name": "a\u{202e}b" })), vec!["name"]),
        (row(json!({ "type": "organization", "id": "x", "members": [] })), vec!["members"]),
        (row(json!({ "type": "member", "organization_id": "nowhere", "user_id": "u0" })), vec!["organization_id"]),
        (
            row(json!({ "type": "member", "organization_id": "nowhere", "user_id": "noone", "roles": ["absent"] })),
            vec!["organization_id", "user_id", "roles"],
        ),
    ]
}

both! {
    // Features: D5.
    async fn invalid_rows_are_reported_and_valid_ones_imported(server: Server) {
        editor(&server).await;
        let mut rows: Vec<String> = (0..40).map(|n| organization(&format!("o{n}")).to_string()).collect();
        rows.extend((0..440).map(|n| user(&format!("u{n}")).to_string()));
        let bad = bad();
        let first_bad = rows.len() as u64 + 1;
        rows.extend(bad.iter().map(|(row, _)| row.clone()));
        rows.extend((0..500).map(|n| member(&format!("o{}", n % 39), &format!("u{}", n % 440)).to_string()));
        assert_eq!((rows.len(), bad.len()), (1000, 20));
        let before = server.events().await.len();

        // The last line needs no newline.
        let text = rows.join("\n");
        let report = import(&server, text.clone()).await;
        assert_eq!(counts(&report), [980, 0, 0, 20], "{report}");
        let refused = report["refused_rows"].as_array().unwrap();
        assert_eq!((refused.len(), &report["more"]), (20, &json!(0)));
        for (place, (row, (text, fields))) in refused.iter().zip(&bad).enumerate() {
            assert_eq!(row["line"], first_bad + place as u64, "{row}");
            let found: Vec<_> = row["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
            assert_eq!(found, *fields, "{row} for {}", &text[..text.len().min(100)]);
            assert!(row["errors"].as_array().unwrap().iter().all(|error| !error["message"].as_str().unwrap().is_empty()));
        }

        // The result equals that of individual PUT requests.
        for (path, body) in [
            ("/v1/organizations/o7", json!({ "name": "The o7", "metadata": { "plan": "pro" } })),
            ("/v1/users/u439", json!({ "profile": { "email": "u439@acme.example" } })),
            ("/v1/organizations/o3/members/u3", json!({ "roles": ["editor"], "metadata": { "desk": 1 } })),
        ] {
            let found = server.manage("GET", path, None, 200).await;
            assert_eq!(found["version"], 1);
            assert_eq!(server.manage("PUT", path, Some(body), 200).await, found, "the same put changes nothing");
        }
        server.manage("GET", "/v1/users/x", None, 404).await;
        server.manage("GET", "/v1/organizations/x", None, 404).await;

        // One event per row, in the order of the lines.
        let events = server.events().await;
        let made = &events[before..];
        assert_eq!(made.len(), 980);
        assert_eq!((&made[0]["type"], &made[0]["subject"]["id"]), (&json!("organization.created"), &json!("o0")));
        assert_eq!(made[40]["data"], json!({ "blocked": false, "roles": "" }));
        let last = &made[979];
        assert_eq!((&last["type"], &last["organization_id"], &last["data"]), (&json!("member.created"), &json!("o31"), &json!({ "roles": "editor" })));
        assert!(made.iter().all(|event| event["actor"]["type"] == "api_key" && event["request_id"].is_string()));
        assert_eq!(events::verify_audit_log(&server.services).await.unwrap(), i64::try_from(events.len()).unwrap());

        let again = import(&server, text).await;
        assert_eq!(counts(&again), [0, 0, 980, 20]);
        assert_eq!(again["refused_rows"], report["refused_rows"]);
        assert_eq!(server.events().await.len(), events.len(), "what changes nothing leaves no event");
    }

    async fn row_sees_the_effect_of_earlier_rows(server: Server) {
        editor(&server).await;
        let early = import(&server, ndjson(&[member("acme", "alice"), organization("acme"), user("alice")])).await;
        assert_eq!(counts(&early), [2, 0, 0, 1], "the member came before both");
        let mut blocked = user("alice");
        blocked["blocked"] = json!(true);
        let mut moved = member("acme", "alice");
        moved["roles"] = json!([]);
        let rows = [
            user("alice"), blocked.clone(), blocked, user("alice"), member("acme", "alice"), moved.clone(), moved,
            user("bob"), member("acme", "bob"), member("acme", "bob"),
        ];
        let before = server.events().await.len();
        let report = import(&server, ndjson(&rows)).await;
        assert_eq!(counts(&report), [3, 3, 4, 0], "{report}");
        let events = server.events().await;
        let kinds: Vec<_> = events[before..].iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, [
            "user.blocked", "user.unblocked", "member.created", "member.updated", "user.created", "member.created",
        ]);
        assert_eq!(server.manage("GET", "/v1/users/alice", None, 200).await["version"], 3);
        assert_eq!(server.manage("GET", "/v1/organizations/acme/members/alice", None, 200).await["version"], 2);
        events::verify_audit_log(&server.services).await.unwrap();
    }

    async fn omitted_members_are_empty(server: Server) {
        import(&server, ndjson(&[organization("acme"), user("alice")])).await;
        let bare = [json!({ "type": "organization", "id": "acme" }), json!({ "type": "user", "id": "alice" })];
        assert_eq!(counts(&import(&server, ndjson(&bare)).await), [0, 2, 0, 0]);
        assert_eq!(server.manage("GET", "/v1/organizations/acme", None, 200).await["name"], Value::Null);
        assert_eq!(server.manage("GET", "/v1/users/alice", None, 200).await["profile"], json!({}));
    }

    // Features: P1.
    async fn reimported_user_has_a_new_generation_id(server: Server) {
        server.permissions(&["a:b"]).await;
        server.manage("PUT", "/v1/permissions/a:b", Some(json!({ "assignable_to": ["user"] })), 200).await;
        server.manage("PUT", "/v1/roles/editor", Some(json!({ "permissions": ["a:b"] })), 201).await;
        let rows = ndjson(&[organization("acme"), user("alice"), member("acme", "alice")]);
        import(&server, rows.clone()).await;
        let owner = json!({ "type": "user", "id": "alice", "organization_id": "acme" });
        let key = server.key(json!({ "name": "a key", "owner": owner, "permissions": ["a:b"] })).await;
        server.fetch_token(&key.value).await;
        // Blocking a user by import disables the key at once, and unblocking enables it again.
        for (blocked, status) in [(true, 401), (false, 200)] {
            let mut row = user("alice");
            row["blocked"] = json!(blocked);
            assert_eq!(counts(&import(&server, ndjson(&[row])).await), [0, 1, 0, 0]);
            assert_eq!(server.exchange(&key.value).await.status().as_u16(), status);
        }
        // Deleting an organization leaves membership rows behind, which new memberships replace.
        server.manage("DELETE", "/v1/organizations/acme", None, 204).await;
        assert_eq!(counts(&import(&server, rows.clone()).await), [2, 0, 1, 0]);
        assert_eq!(server.exchange(&key.value).await.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(server.manage("GET", "/v1/organizations/acme/members/alice", None, 200).await["version"], 1);
        server.manage("DELETE", "/v1/users/alice", None, 204).await;
        assert_eq!(counts(&import(&server, rows).await), [2, 0, 1, 0]);
        assert_eq!(server.exchange(&key.value).await.status(), StatusCode::UNAUTHORIZED);
    }

    // Features: D5.
    async fn import_reports_progress_for_any_chunking_of_the_body(server: Server) {
        let mut raw = Raw::open(&server.base);
        raw.send(head(&server, &server.admin, "Transfer-Encoding: chunked\r\n").as_bytes());
        let text = users(0..1100);
        let (first, rest) = text.split_at(text.len() / 2 + 7);
        for piece in first.as_bytes().chunks(997) {
            raw.send(chunk(std::str::from_utf8(piece).unwrap()).as_bytes());
        }
        until_users(&server, 500).await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        for piece in rest.as_bytes().chunks(1009) {
            raw.send(chunk(std::str::from_utf8(piece).unwrap()).as_bytes());
        }
        raw.send(b"0\r\n\r\n");
        let answer = tokio::task::spawn_blocking(move || raw.read_all()).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        let lines = objects(&answer);
        assert!(lines.len() >= 2, "{answer}");
        let progress = &lines[0]["progress"];
        assert_eq!((&progress["rows"], &progress["created"]), (&json!(500), &json!(500)), "{answer}");
        assert_eq!(counts(&lines.last().unwrap()["report"]), [1100, 0, 0, 0]);
    }

    // Features: D1.
    async fn unauthorized_import_is_refused_before_the_body_is_read(server: Server) {
        let key = server.client_key(&["keyswap:keys"]).await;
        let mut raw = Raw::open(&server.base);
        // The announced body is never sent.
        raw.send(head(&server, &key.value, "Content-Length: 1000000\r\n").as_bytes());
        let answer = tokio::task::spawn_blocking(move || raw.read_one()).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        let request = server.post("/v1/import").bearer_auth(&key.value).header("content-type", NDJSON);
        problem(request.body(users(0..5)).send().await.unwrap(), 403, "forbidden").await;
        let request = server.post("/v1/import").header("content-type", NDJSON).body(users(0..5));
        problem(request.send().await.unwrap(), 401, "unauthorized").await;
        let request = server.post("/v1/import").bearer_auth(&server.admin).header("content-type", "application/json");
        problem(request.body(users(0..5)).send().await.unwrap(), 415, "unsupported_media_type").await;
        assert_eq!(count_users(&server).await, 0);
        let key = server.client_key(&["keyswap:directory"]).await;
        let request = server.post("/v1/import").bearer_auth(&key.value).header("content-type", NDJSON).body(users(0..5));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        // The response starts before the rows are processed. Its last line follows the last row.
        assert_eq!(counts(&objects(&answer.text().await.unwrap()).pop().unwrap()["report"]), [5, 0, 0, 0]);
        assert_eq!(count_users(&server).await, 5);
    }

    async fn broken_connection_leaves_whole_chunks_and_a_second_run_completes(server: Server) {
        let text = users(0..1700);
        let mut raw = Raw::open(&server.base);
        raw.send(head(&server, &server.admin, &format!("Content-Length: {}\r\n", text.len())).as_bytes());
        raw.send(&text.as_bytes()[..text.len() * 3 / 4]);
        until_users(&server, 1000).await;
        drop(raw);
        // A graceful stop waits for requests in progress, so the interrupted import writes nothing
        // later.
        let server = Server::on(server.stop().await, &[]).await;
        assert_eq!(count_users(&server).await, 1000, "whole chunks, and nothing of the one that was cut");
        let report = import(&server, text).await;
        assert_eq!(counts(&report), [700, 0, 1000, 0]);
        events::verify_audit_log(&server.services).await.unwrap();
    }

    async fn database_outage_is_the_last_report_line_with_imported_counts(server: Server) {
        let mut raw = Raw::open(&server.base);
        raw.send(head(&server, &server.admin, "Transfer-Encoding: chunked\r\n").as_bytes());
        raw.send(chunk(&users(0..600)).as_bytes());
        until_users(&server, 500).await;
        server.database.sql("ALTER TABLE users RENAME TO gone");
        raw.send(chunk(&users(600..1200)).as_bytes());
        raw.send(b"0\r\n\r\n");
        let answer = tokio::task::spawn_blocking(move || raw.read_all()).await.unwrap();
        let last = objects(&answer).pop().unwrap();
        assert_eq!((&last["error"]["code"], &last["error"]["status"]), (&json!("unavailable"), &json!(503)), "{answer}");
        assert_eq!((&last["progress"]["rows"], &last["progress"]["created"]), (&json!(500), &json!(500)), "{answer}");
        assert!(last["report"].is_null() && !answer.contains("gone"), "{answer}");
        server.database.sql("ALTER TABLE gone RENAME TO users");
        assert_eq!(counts(&import(&server, users(0..1200)).await), [700, 0, 500, 0]);
    }

    async fn concurrent_imports_create_each_object_once(server: Server) {
        let replica = server.replica().await;
        let text = users(0..2000);
        let reversed: String = text.lines().rev().map(|line| format!("{line}\n")).collect();
        let (one, two, three) = tokio::join!(
            import(&server, text.clone()), import(&replica, text.clone()), import(&replica, reversed)
        );
        let created: u64 = [&one, &two, &three].map(|report| counts(report)[0]).iter().sum();
        assert_eq!(created, 2000, "{one} {two} {three}");
        assert_eq!(count_users(&server).await, 2000);
        let events = server.events().await;
        assert_eq!(events.iter().filter(|event| event["type"] == "user.created").count(), 2000);
        events::verify_audit_log(&server.services).await.unwrap();
    }

    async fn report_lists_a_thousand_faults_and_counts_the_rest(server: Server) {
        let text = "{}\n".repeat(1234) + "\n \n" + &users(0..1);
        let report = import(&server, text).await;
        assert_eq!(counts(&report), [1, 0, 0, 1234], "lines without anything are no rows");
        assert_eq!((report["refused_rows"].as_array().unwrap().len(), &report["more"]), (1000, &json!(234)));
        assert_eq!(counts(&import(&server, "").await), [0, 0, 0, 0]);
    }

    // Features: D5.
    async fn command_line_imports_a_file_or_standard_input(server: Server) {
        editor(&server).await;
        let file = server.database.dir.path().join("directory.ndjson");
        let rows = ndjson(&[organization("acme"), user("alice"), member("acme", "alice")]);
        std::fs::write(&file, &rows).unwrap();
        let path = file.display().to_string();
        let done = command(&server, &path, &["--json"], "").await;
        assert!(done.status.success(), "{}", text(&done.stderr));
        let report: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(counts(&report), [3, 0, 0, 0]);
        assert!(text(&done.stderr).contains("3 rows, "), "{}", text(&done.stderr));
        let done = command(&server, "-", &[], &(rows + &member("acme", "bob").to_string())).await;
        assert_eq!(done.status.code(), Some(1));
        let said = text(&done.stdout);
        assert!(said.contains("line 4: user_id: there is no user bob"), "{said}");
        assert!(said.contains("4 rows: 0 created, 0 updated, 3 unchanged, 1 refused"), "{said}");
        assert!(text(&done.stderr).contains("1 of 4 rows were refused"), "{}", text(&done.stderr));
        let done = command(&server, "/nowhere/at/all", &[], "").await;
        assert_eq!(done.status.code(), Some(1));
        let events = server.events().await;
        assert_eq!(events.last().unwrap()["actor"], json!({ "type": "cli", "id": null }));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `keyswap import` on the server's database.
async fn command(server: &Server, file: &str, more: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyswap"));
    command.args(["import", file]).args(more);
    command.args(["--set", &format!("database.url={}", server.database.url)]);
    command.args(["--set", &format!("keys.dir={}", server.database.dir.path().join("keys").display())]);
    command.args(["--set", "server.public_url=http://keyswap.test"]);
    let input = input.to_owned();
    let run = move || {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}
