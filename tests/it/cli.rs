//! The command line: the real program, run beside a server on the same database.

use std::{
    process::{Command, Output, Stdio},
    sync::Arc,
};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Database, Kind, Server, both};

fn keyswap(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keyswap")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command on the server's database.
fn on(server: &Server, arguments: &[&str]) -> Output {
    let settings = [
        format!("database.url={}", server.database.url),
        format!("keys.dir={}", server.database.dir.path().join("keys").display()),
        "server.public_url=http://keyswap.test".to_owned(),
    ];
    let flags = settings.iter().flat_map(|setting| ["--set", setting]);
    keyswap(&arguments.iter().copied().chain(flags).collect::<Vec<_>>())
}

/// Runs a command with `--json`, asserts success and returns its output.
fn json_of(server: &Server, arguments: &[&str]) -> Value {
    let output = on(server, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

both! {
    async fn commands_cover_the_lifecycle_of_a_key(server: Server) {
        server.permissions(&["projects:read", "projects:write"]).await;
        let made = json_of(&server, &[
            "api-key", "create", "--name", "ci", "--permission", "projects:read", "--expires-in", "90d", "--metadata", r#"{"team":"a"}"#,
        ]);
        let (id, value) = (made["id"].as_str().unwrap().to_owned(), made["value"].as_str().unwrap().to_owned());
        assert_eq!(made["created_by"], json!({ "type": "cli", "id": null }));
        assert_eq!(made["metadata"], json!({ "team": "a" }));
        server.fetch_token(&value).await;

        let patched = json_of(&server, &["api-key", "patch", &id, "--name", "nightly", "--permission", "projects:write", "--never-expires"]);
        assert_eq!(patched["name"], "nightly");
        assert_eq!(patched["permissions"], json!(["projects:write"]));
        assert_eq!(patched["expires_at"], Value::Null);

        let rotated = json_of(&server, &["api-key", "rotate", &id, "--grace", "1h"]);
        let new = rotated["value"].as_str().unwrap().to_owned();
        server.fetch_token(&new).await;
        server.fetch_token(&value).await;

        // A running server applies changes made on the command line at once.
        json_of(&server, &["api-key", "suspend", &id]);
        assert_eq!(server.exchange(&new).await.status(), StatusCode::UNAUTHORIZED);
        json_of(&server, &["api-key", "resume", &id]);
        server.fetch_token(&new).await;
        assert_eq!(json_of(&server, &["api-key", "revoke", &id])["state"], "revoked");
        assert_eq!(server.exchange(&new).await.status(), StatusCode::UNAUTHORIZED);

        assert_eq!(json_of(&server, &["api-key", "show", &id])["state"], "revoked");
        let listed = json_of(&server, &["api-key", "list"]);
        assert!(listed.as_array().unwrap().iter().any(|key| key["id"] == id.as_str()));
        let kinds: Vec<_> = server.events().await.iter().map(|event| event["type"].clone()).collect();
        let wanted = ["created", "updated", "rotated", "suspended", "resumed", "revoked"].map(|what| json!(format!("api_key.{what}")));
        assert!(kinds.ends_with(&wanted), "the same events as through the API: {kinds:?}");
    }

    async fn only_the_value_goes_to_standard_output(server: Server) {
        let output = on(&server, &["api-key", "create", "--name", "piped"]);
        let value = text(&output.stdout);
        server.fetch_token(value.trim()).await;
        assert_eq!(value.lines().count(), 1);
        assert!(!text(&output.stderr).contains(value.trim()));
    }

    async fn refusal_gives_advice_and_exits_with_1(server: Server) {
        let output = on(&server, &["api-key", "create", "--name", "x", "--permission", "not:there"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("not:there is not in the catalog"), "{}", text(&output.stderr));
        let output = on(&server, &["api-key", "show", "key_01JD0000000000000000000000"]);
        assert_eq!((output.status.code(), text(&output.stderr).trim()), (Some(1), "keyswap: no such API key"));
    }

    async fn signing_keys_and_master_keys_are_listed(server: Server) {
        let keys = json_of(&server, &["signing-key", "list"]);
        let states: Vec<_> = keys.as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap()).collect();
        assert!(states.contains(&"active") && states.contains(&"next"), "{states:?}");
        let output = on(&server, &["signing-key", "rotate"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("may sign from"), "{}", text(&output.stderr));
        let output = on(&server, &["signing-key", "rotate", "--dry-run"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("may sign from"), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("Planned steps:"), "pending steps are listed: {}", text(&output.stdout));
        let status = json_of(&server, &["master-key", "status"]);
        assert_eq!((&status[0]["version"], &status[0]["file"]), (&json!(1), &json!("present")));
        let status = json_of(&server, &["migrate", "--status"]);
        assert_eq!(status["pending"], json!([]));
    }

    async fn doctor_reports_a_healthy_deployment(server: Server) {
        let checks = json_of(&server, &["doctor"]);
        for check in checks.as_array().unwrap() {
            assert_ne!(check["status"], "fault", "{check}");
        }
        server.database.sql("DELETE FROM events WHERE seq = 2");
        let output = on(&server, &["doctor"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stdout).contains("the audit log is broken at event 2"), "{}", text(&output.stdout));
    }
}

both! {
    // Features: P13.
    async fn command_imports_a_key(server: Server, "api_keys.imported=true") {
        let digest = keyswap::crypto::sha256_hex(b"acme.live.K3y/=~9fj2LQ8xX");
        let create = ["api-key", "create", "--name", "taken over", "--import-sha256", &digest, "--import-masked", "acme.live.…8xX"];
        let refused = on(&server, &create);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains("api_keys.imported"), "{}", text(&refused.stderr));
        let made = json_of(&server, &[&create[..], &["--set", "api_keys.imported=true"]].concat());
        assert_eq!(made["masked"], "acme.live.…8xX");
        assert!(made.get("value").is_none(), "{made}");
        server.fetch_token("acme.live.K3y/=~9fj2LQ8xX").await;
        let wrong = on(&server, &["api-key", "create", "--name", "a key", "--import-sha256", "acme.live.K3y/=~9fj2LQ8xX"]);
        assert_eq!(wrong.status.code(), Some(2));
    }
}

#[test]
fn inspect_works_without_a_database() {
    let good = "ks_0000000000000000_00000000000000000000000000000000";
    let checked = format!("{good}{}", checksum_of(good));
    let dir = tempfile::tempdir().unwrap();
    let inspect = |key: &str, options: &[&str]| {
        let file = dir.path().join("key");
        std::fs::write(&file, format!("{key}\n")).unwrap();
        let by_file = keyswap(&[&["api-key", "inspect", &file.display().to_string()], options].concat());
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyswap"));
        let stdin = std::fs::File::open(&file).unwrap();
        let by_stdin = command.args(["api-key", "inspect"]).args(options).stdin(stdin).output().unwrap();
        assert_eq!(by_file, by_stdin);
        by_stdin
    };
    let output = inspect(&checked, &["--json"]);
    assert!(serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok(), "{output:?}");
    let output = inspect(&checked, &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("ks_0000000000000000_…"));
    for (bad, why) in [
        (good.to_owned(), "length"),
        (format!("{good}000000"), "checksum"),
        ("no-key".to_owned(), "letters, digits and underscores"),
    ] {
        let output = inspect(&bad, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(why), "{bad}: {}", text(&output.stderr));
        assert!(!text(&output.stderr).contains(&bad), "a mistyped key is still a secret");
        assert_eq!(text(&output.stderr).contains("imported keys have other formats"), bad.len() >= 16, "{bad}");
    }
}

/// An independent implementation of the key checksum (CRC-32 in base62), written from the design.
fn checksum_of(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes());
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = Vec::new();
    for _ in 0..6 {
        text.push(digits[rest as usize % 62]);
        rest /= 62;
    }
    text.reverse();
    String::from_utf8(text).unwrap()
}

#[test]
fn usage_error_exits_with_2_and_help_has_examples() {
    for arguments in
        [&["no-such-command"][..], &["api-key", "create"], &["api-key", "show", "no-id"], &["serve", "--set", "x"]]
    {
        assert_eq!(keyswap(arguments).status.code(), Some(2), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["api-key", "create", "--help"], &["api-key", "patch", "--help"]] {
        let output = keyswap(arguments);
        assert!(output.status.success() && text(&output.stdout).contains("Examples:"), "{arguments:?}");
    }
}

#[test]
fn demo_runs_to_the_end_and_leaves_no_files() {
    let output = keyswap(&["demo", "--once"]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}{}", text(&output.stderr));
    for part in
        ["An API key in, a signed JWT out", "\"scope\": \"projects:read\"", "The next exchange was refused with 401"]
    {
        assert!(shown.to_lowercase().contains(&part.to_lowercase()), "{part}: {shown}");
    }
    assert!(!shown.contains("curl"), "nothing to try on a server that is gone");
}

fn the_first_start_after_master_key_init(kind: Kind) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let database = Arc::new(Database::empty(kind));
        let settings = [
            format!("database.url={}", database.url),
            format!("keys.dir={}", database.dir.path().join("keys").display()),
        ];
        let output = keyswap(&["master-key", "init", "--set", &settings[0], "--set", &settings[1]]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        // Reads the administrator's key from the file that this start writes.
        let server = Server::on(database, &["keys.create=false"]).await;
        server.manage("GET", "/v1/api-keys", None, 200).await;
    });
}

#[test]
fn master_key_init_does_not_create_the_administrator_sqlite() {
    the_first_start_after_master_key_init(Kind::Sqlite);
}

#[test]
fn master_key_init_does_not_create_the_administrator_postgres() {
    the_first_start_after_master_key_init(Kind::Postgres);
}
