//! What callers without an account see while the deployment is in trouble: no error names a command,
//! a file, a setting, a version or a statement of the server.

use keyswap::service::{
    encryption::rollback_guard,
    health::{NoteDetail, check_readiness},
};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use super::tables::lines_of;
use crate::support::{
    Key, Kind, Server, both,
    wire::{Wire, form, unknown},
};

/// What no public error contains, in lower case.
const FORBIDDEN: &[&str] = &[
    "`keyswap ",
    "restore",
    "keyswap integrity",
    "keys.dir",
    "master.",
    "master key",
    "rollback_guard",
    "/tmp",
    ".db",
    ".toml",
    "sqlite",
    "postgres",
    "sql",
    "column",
    " table",
    "trigger",
    "relation",
    "disk",
    "space left",
    env!("CARGO_PKG_VERSION"),
];

/// `/readyz` names the condition, and nothing else.
const FORBIDDEN_IN_READYZ: &[&str] =
    &["keyswap", "restore", "keys.dir", "master.", "rollback_guard", "/tmp", "run ", "sql"];

/// A state of the deployment, made with SQL and ended with SQL.
struct Trouble {
    name: &'static str,
    sql: &'static str,
    end: &'static str,
    /// The status of an exchange with a valid key.
    exchange: u16,
    /// The status of a change by an administrator.
    change: u16,
}

const TROUBLES: [Trouble; 4] = [
    Trouble { name: "none", sql: "SELECT 1", end: "SELECT 1", exchange: 200, change: 200 },
    Trouble {
        name: "an altered row",
        sql: "UPDATE api_keys SET max_token_ttl = 60000 WHERE id = '{key}'",
        end: "UPDATE api_keys SET max_token_ttl = NULL WHERE id = '{key}'",
        exchange: 401,
        change: 409,
    },
    Trouble {
        name: "a database that cannot be read",
        sql: "ALTER TABLE credentials RENAME COLUMN encrypted_secret TO unreadable",
        end: "ALTER TABLE credentials RENAME COLUMN unreadable TO encrypted_secret",
        exchange: 503,
        change: 503,
    },
    Trouble {
        name: "a missing master key",
        sql: "INSERT INTO master_keys (version, fingerprint, state, created_at) VALUES (9, 'none', 'retiring', 0); \
              UPDATE credentials SET master_version = 9",
        end: "UPDATE credentials SET master_version = 1; DELETE FROM master_keys WHERE version = 9",
        exchange: 503,
        change: 503,
    },
];

/// The SQL after which the database has no space for another event, and the SQL that ends this.
fn fill_database(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Sqlite => (
            "CREATE TRIGGER no_space BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
            "DROP TRIGGER no_space",
        ),
        Kind::Postgres => (
            "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             RAISE EXCEPTION 'could not extend file \"base/1/2\": No space left on device' USING ERRCODE = '53100'; END $$; \
             CREATE TRIGGER no_space BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION no_space()",
            "DROP TRIGGER no_space ON events",
        ),
    }
}

/// Requests of callers that have no account, or only a key without permissions.
fn requests(server: &Server, key: &str, revocable: &str, list: &str) -> Vec<(String, RequestBuilder)> {
    let mut all = Vec::new();
    let unknown = unknown();
    for value in [key, unknown.as_str(), "malformed"] {
        for wire in Wire::ALL {
            all.push((format!("{wire:?} {value}"), wire.request(server, value)));
        }
        let explain = server.post("/v1/exchange/explain").bearer_auth(value).json(&json!({}));
        all.push((format!("explain {value}"), explain));
        let validate = server.post("/v1/api-keys/validate").bearer_auth(value).json(&json!({ "value": value }));
        all.push((format!("validate {value}"), validate));
        let introspect = form(server.post("/oauth/introspect").bearer_auth(value), &[("token", value)]);
        all.push((format!("introspect {value}"), introspect));
        let create = server.post("/v1/api-keys").bearer_auth(value).json(&json!({ "name": "n" }));
        all.push((format!("create {value}"), create));
        let sign_in = server.post("/console/sign-in").header("keyswap-page", "console").json(&json!({ "key": value }));
        all.push((format!("console {value}"), sign_in));
        let code = server.post("/portal/sign-in").header("keyswap-page", "1").json(&json!({ "code": value }));
        all.push((format!("portal {value}"), code));
    }
    let revoke = form(server.post("/oauth/revoke").bearer_auth(revocable), &[("token", revocable)]);
    all.push(("revoke".to_owned(), revoke));
    for path in [
        "/.well-known/jwks.json",
        "/.well-known/jwks.json?alg=none",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource/v1",
        "/v1/status-lists",
        "/v1/status-lists/none",
        list,
        "/healthz",
        "/metrics",
        "/nowhere",
        "/oauth/nowhere",
    ] {
        all.push((path.to_owned(), server.get(path)));
    }
    all
}

/// Gives the key another name than it had.
async fn rename(server: &Server, key: &Key, name: &str) -> Response {
    let request = server.http.patch(server.url(&format!("/v1/api-keys/{}", key.id))).bearer_auth(&server.admin);
    request.json(&json!({ "name": name })).send().await.unwrap()
}

async fn check_error(trouble: &str, what: &str, response: Response) {
    let status = response.status().as_u16();
    let retry = response.headers().contains_key("retry-after");
    let text = response.text().await.unwrap().to_lowercase();
    if status < 400 {
        return;
    }
    assert!(status != 503 || retry, "{trouble}, {what}: 503 without Retry-After");
    assert_ne!(status, 500, "{trouble}, {what}: {text}");
    for word in FORBIDDEN {
        assert!(!text.contains(word), "{trouble}, {what}: {status} names {word:?}: {text}");
    }
}

/// Asserts what every request gets in the present state.
async fn check_errors(server: &Server, trouble: &str, key: &Key, revocable: &str, list: &str) {
    for (what, request) in requests(server, &key.value, revocable, list) {
        check_error(trouble, &what, request.send().await.unwrap()).await;
    }
    check_error(trouble, "a change", rename(server, key, "a change").await).await;
    let text = server.get("/readyz").send().await.unwrap().text().await.unwrap().to_lowercase();
    for word in FORBIDDEN_IN_READYZ {
        assert!(!text.contains(word), "{trouble}: /readyz names {word:?}: {text}");
    }
}

both! {
    async fn public_errors_name_nothing_of_the_server(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&[]).await;
        server.run_jobs().await;
        let list = lines_of(&server.database, "SELECT '/v1/status-lists/' || id AS line FROM status_lists").remove(0);
        let mut revocable = Vec::new();
        for _ in 0..TROUBLES.len() + 2 {
            revocable.push(server.generic_key(&[]).await.value);
        }
        for (trouble, revocable) in TROUBLES.iter().zip(&revocable) {
            let name = trouble.name;
            server.database.sql(&trouble.sql.replace("{key}", &key.id));
            server.refresh_keys().await;
            assert_eq!(server.exchange(&key.value).await.status(), trouble.exchange, "{name}");
            assert_eq!(rename(&server, &key, name).await.status(), trouble.change, "{name}");
            check_errors(&server, name, &key, revocable, &list).await;
            server.database.sql(&trouble.end.replace("{key}", &key.id));
            server.refresh_keys().await;
            assert_eq!(server.exchange(&key.value).await.status(), 200, "{name} has ended");
        }

        let (sql, end) = fill_database(server.database.kind);
        server.database.sql(sql);
        assert_eq!(rename(&server, &key, "a full disk").await.status(), 503);
        check_errors(&server, "a full disk", &key, &revocable[TROUBLES.len()], &list).await;
        server.database.sql(end);

        rollback_guard::update(&server.services).await.unwrap();
        server.database.sql(
            "UPDATE event_chain_head SET hash = (SELECT prev_hash FROM events WHERE events.seq = event_chain_head.seq), seq = seq - 1; \
             DELETE FROM events WHERE seq > (SELECT seq FROM event_chain_head)",
        );
        rollback_guard::update(&server.services).await.unwrap();
        assert_eq!(server.exchange(&key.value).await.status(), 503);
        assert_eq!(rename(&server, &key, "a rolled back database").await.status(), 503);
        check_errors(&server, "a rolled back database", &key, &revocable[TROUBLES.len() + 1], &list).await;
        // The body is that of any other temporary failure.
        let body: Value = server.exchange(&key.value).await.json().await.unwrap();
        assert_eq!(
            body["detail"],
            "the request failed temporarily and probably changed nothing; try again in a moment"
        );
        // An operator learns the cause and the remedy.
        let readiness = check_readiness(&server.services, NoteDetail::Remedy).await;
        assert!(readiness.notes[0].contains("keyswap restore accept"), "{:?}", readiness.notes);
        let public = check_readiness(&server.services, NoteDetail::Condition).await;
        assert_eq!(public.notes, ["the database was rolled back"]);
    }
}
