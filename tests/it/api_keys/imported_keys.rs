//! Imported keys (P13): keys of another system, imported as SHA-256 digests, remain valid
//! unchanged.

use std::{
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use keyswap::{
    crypto::{master_key_file::MasterKey, master_keys::MasterKeys, random::SystemEntropy, sha256_hex},
    domain::{
        common::entropy::Entropy,
        credentials::format::{ApiKeyValue, Secret},
    },
};
use serde_json::{Value, json};

use crate::support::{
    Kind, Server, body_of, both,
    race::race,
    verify,
    wire::{CLIENT_CREDENTIALS, Wire, form, problem, snapshot, unknown},
};

/// Contains dots, as tokens do, and characters that are not URL-safe.
const TEXT: &str = "acme.live.K3y/=~9fj2LQ8xX";

fn body(text: &str) -> Value {
    json!({
        "name": "taken over", "owner": { "type": "none" }, "permissions": [],
        "import": { "sha256": sha256_hex(text.as_bytes()), "masked": "acme.live.…8xX" },
    })
}

async fn import(server: &Server, text: &str) -> String {
    let key = server.manage("POST", "/v1/api-keys", Some(body(text)), 201).await;
    key["id"].as_str().unwrap().to_owned()
}

/// Like `Wire::request`, with the key's id as the client id.
fn present(wire: Wire, server: &Server, id: &str, text: &str) -> reqwest::RequestBuilder {
    match wire {
        Wire::Basic => form(server.post("/oauth/token").basic_auth(id, Some(text)), &[CLIENT_CREDENTIALS]),
        Wire::Body => {
            form(server.post("/oauth/token"), &[CLIENT_CREDENTIALS, ("client_id", id), ("client_secret", text)])
        }
        Wire::TokenExchange | Wire::Ibm | Wire::Bearer | Wire::Header | Wire::Management => wire.request(server, text),
    }
}

both! {
    // Features: P13.
    async fn imported_key_works_in_its_own_format(server: Server, "jobs=by_hand", "api_keys.imported=true") {
        server.permissions(&["projects:read"]).await;
        let permissions = ["projects:read", "keyswap:keys"];
        let client = json!({ "name": "a client", "permissions": permissions });
        let client = server.manage("POST", "/v1/service-clients", Some(client), 201).await;
        let mut new = body(TEXT);
        new["owner"] = json!({ "type": "service_client", "id": client["id"] });
        new["permissions"] = json!(permissions);
        let made = server.manage("POST", "/v1/api-keys", Some(new), 201).await;
        let id = made["id"].as_str().unwrap();
        assert!(made.get("value").is_none(), "the value is unknown: {made}");
        assert_eq!(made["masked"], "acme.live.…8xX");
        assert_eq!(made["credentials"].as_array().unwrap().len(), 1);

        for wire in Wire::ALL {
            let answer = present(wire, &server, id, TEXT).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{wire:?}: {}", answer.text().await.unwrap());
        }
        let wrong_id = present(Wire::Body, &server, "key_01JD8V3T6Q4Z9R7M2N5K8P1XYA", TEXT);
        assert_eq!(wrong_id.send().await.unwrap().status(), 401);
        let token = server.fetch_token(TEXT).await;
        let claims = verify(&server, &token, "http://keyswap.test").await;
        assert_eq!(claims["key_id"], id);
        assert_eq!(claims["scope"], "projects:read", "{claims}");

        server.services.last_used.flush().await.unwrap();
        let key = server.manage("GET", &format!("/v1/api-keys/{id}"), None, 200).await;
        assert!(key["last_used_at"].is_string(), "the credential that was found is the one that was used: {key}");
        assert_eq!(key["masked"], "acme.live.…8xX");
        let events = server.events().await;
        let event = events.iter().find(|event| event["subject"]["id"] == id).unwrap();
        assert_eq!(event["data"]["imported"], true, "{event}");
        let digest = sha256_hex(TEXT.as_bytes());
        assert!(!json!(events).to_string().contains(&digest), "no event contains the digest");
    }

    // Features: P13.
    async fn refusals_of_imported_keys_are_identical(server: Server, "api_keys.imported=true") {
        let [right, revoked, suspended] = ["right", "revoked", "suspended"].map(|name| format!("acme.{name}.0123456789abcdef"));
        let id = import(&server, &right).await;
        let key = server.manage("GET", &format!("/v1/api-keys/{id}"), None, 200).await;
        let credential = key["credentials"][0]["id"].as_str().unwrap().parse().unwrap();
        let secret = Secret::generate(&SystemEntropy::default()).unwrap();
        let ours = ApiKeyValue::format(&"ks".parse().unwrap(), &credential, &secret);
        let id = import(&server, &revoked).await;
        server.manage("POST", &format!("/v1/api-keys/{id}/revoke"), None, 200).await;
        let id = import(&server, &suspended).await;
        server.manage("POST", &format!("/v1/api-keys/{id}/suspend"), None, 200).await;
        let bad = [
            ("malformed", "no-key-at-all".to_owned()),
            ("one of ours, mistyped", format!("{}0", unknown())),
            ("in our shape, with the id of a foreign one", ours.expose().to_owned()),
            ("beginning as ours do", "ks_acme.live.0123456789abcdef".to_owned()),
            ("unknown", "acme.absent.0123456789abcdef".to_owned()),
            ("nearly right", right[..right.len() - 1].to_owned()),
            ("ours and unknown", unknown()),
            ("revoked", revoked),
            ("suspended", suspended),
            ("long", "a".repeat(600)),
            // The digest is not a credential.
            ("the digest", sha256_hex(right.as_bytes())),
        ];
        for wire in Wire::ALL {
            let mut answers = Vec::new();
            for (name, key) in &bad {
                answers.push((*name, snapshot(wire.request(&server, key).send().await.unwrap()).await));
            }
            for (name, answer) in &answers {
                assert_eq!(*answer, answers[0].1, "{wire:?}: {name} and {} differ", answers[0].0);
            }
            assert_eq!(answers[0].1.0, wire.refusal().0, "{wire:?}");
        }
        for (name, key) in bad.iter().filter(|(name, _)| ["unknown", "nearly right", "ours and unknown", "revoked", "suspended"].contains(name)) {
            let started = Instant::now();
            server.exchange(key).await;
            assert!(started.elapsed() >= Duration::from_millis(5), "{name}: refused on the tick");
        }
    }

    // Features: P13.
    async fn other_formats_are_not_looked_up_unless_imports_are_enabled(server: Server) {
        let answer = server.post("/v1/api-keys").bearer_auth(&server.admin).json(&body(TEXT)).send().await.unwrap();
        let faults = problem(answer, 422, "invalid").await;
        assert_eq!(faults["errors"][0]["field"], "import");
        assert!(faults["errors"][0]["message"].as_str().unwrap().contains("api_keys.imported"), "{faults}");
        server.database.sql("ALTER TABLE credentials RENAME TO hidden");
        assert_eq!(server.exchange(&unknown()).await.status(), 503, "it would be looked up");
        assert_eq!(server.exchange(TEXT).await.status(), 401);
        server.database.sql("ALTER TABLE hidden RENAME TO credentials");
    }

    // Features: P13.
    async fn mistyped_native_key_is_never_looked_up(server: Server, "api_keys.imported=true", "api_keys.accepted_prefixes=[\"sk_live\"]") {
        server.database.sql("ALTER TABLE credentials RENAME TO hidden");
        assert_eq!(server.exchange(TEXT).await.status(), 503, "it would be looked up");
        let mistyped = unknown();
        for key in [&mistyped[..mistyped.len() - 1], "ks_acme.live.0123456789abcdef", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"] {
            assert_eq!(server.exchange(key).await.status(), 401, "{key}");
        }
        server.database.sql("ALTER TABLE hidden RENAME TO credentials");
    }

    // Features: P13.
    async fn all_faults_of_an_import_are_reported_at_once(server: Server, "api_keys.imported=true") {
        let send = async |import: Value| {
            let mut new = body(TEXT);
            new["import"] = import;
            let answer = server.post("/v1/api-keys").bearer_auth(&server.admin).json(&new).send().await.unwrap();
            let problem = problem(answer, 422, "invalid").await;
            (problem["errors"][0]["field"].as_str().unwrap().to_owned(), problem.to_string())
        };
        let digest = sha256_hex(TEXT.as_bytes());
        for (import, field) in [
            (json!({ "sha256": &digest[1..] }), "import.sha256"),
            (json!({ "sha256": TEXT }), "import.sha256"),
            (json!({ "sha256": digest, "masked": "without what it hides" }), "import.masked"),
            (json!({ "sha256": digest, "masked": format!("{}…", "a".repeat(40)) }), "import.masked"),
            (json!({ "sha256": digest, "masked": format!("{}...", unknown()) }), "import.masked"),
            (json!({ "sha256": digest, "masked": "ks_…abcd" }), "import.masked"),
            (json!({ "sha256": digest, "value": TEXT }), "import.value"),
        ] {
            let (found, text) = send(import).await;
            assert_eq!(found, field, "{text}");
            assert!(!text.contains(TEXT) && !text.contains(&digest[1..]), "{text}");
        }
        let mut both = body(TEXT);
        both["import"]["masked"] = json!("ks_…abcd");
        both["permissions"] = json!(["no:such"]);
        let answer = server.post("/v1/api-keys").bearer_auth(&server.admin).json(&both).send().await.unwrap();
        assert_eq!(problem(answer, 422, "invalid").await["errors"].as_array().unwrap().len(), 2);
        let masked = json!({ "name": "a key", "owner": { "type": "none" }, "import": { "sha256": digest } });
        assert_eq!(server.manage("POST", "/v1/api-keys", Some(masked), 201).await["masked"], "imported…");
    }

    // Features: P13.
    async fn digest_can_be_imported_once(server: Server, "api_keys.imported=true") {
        let replica = server.replica().await;
        let import = |to: &Server| to.post("/v1/api-keys").bearer_auth(&to.admin).json(&body(TEXT));
        let requests = [&server, &replica, &replica, &server].map(|to| (to, import(to)));
        let mut answers = Vec::from(race(requests).await);
        let made = answers.iter().position(|answer| answer.status() == 201).unwrap();
        if server.database.kind == Kind::Postgres {
            assert_eq!(made, 0, "the first one has it");
        }
        answers.remove(made);
        for refused in answers {
            problem(refused, 409, "conflict").await;
        }
        let keys = server.manage("GET", "/v1/api-keys?owner_type=none", None, 200).await;
        let id = keys["data"][0]["id"].as_str().unwrap();
        assert_eq!(keys["data"].as_array().unwrap().len(), 1);
        server.manage("DELETE", &format!("/v1/api-keys/{id}"), None, 204).await;
        let again = server.post("/v1/api-keys").bearer_auth(&server.admin).json(&body(TEXT)).send().await.unwrap();
        problem(again, 409, "conflict").await;
        assert_eq!(server.exchange(TEXT).await.status(), 401, "what was revoked stays so");
    }

    // Features: P13.
    async fn repeated_import_request_creates_one_key(server: Server, "api_keys.imported=true") {
        let send = async || {
            let request = server.post("/v1/api-keys").bearer_auth(&server.admin).header("idempotency-key", "once");
            request.json(&body(TEXT)).send().await.unwrap()
        };
        let first = send().await;
        assert!(first.headers().get("idempotency-replayed").is_none());
        let second = send().await;
        assert_eq!(second.headers()["idempotency-replayed"], "true");
        let created = reqwest::StatusCode::CREATED;
        assert_eq!(body_of(first, created).await, body_of(second, created).await);
    }

    // Features: P13.
    async fn rotated_imported_key_works_until_its_grace_ends(server: Server, "api_keys.imported=true") {
        let id = import(&server, TEXT).await;
        let rotated = server.manage("POST", &format!("/v1/api-keys/{id}/rotate"), Some(json!({ "grace": "1h" })), 200).await;
        let value = rotated["value"].as_str().unwrap();
        assert!(value.starts_with("ks_"));
        assert!(rotated["masked"].as_str().unwrap().starts_with("ks_"), "the one in use is shown: {rotated}");
        assert_eq!((server.exchange(TEXT).await.status(), server.exchange(value).await.status()), (200.try_into().unwrap(), 200.try_into().unwrap()));
        server.advance(3601);
        assert_eq!((server.exchange(TEXT).await.status(), server.exchange(value).await.status()), (401.try_into().unwrap(), 200.try_into().unwrap()));
    }

    // Features: P13.
    async fn guesses_at_one_imported_key_share_a_budget(
        server: Server, "api_keys.imported=true", "brute_force.per_credential=2", "brute_force.refill=60s"
    ) {
        for _ in 0..2 {
            assert_eq!(server.exchange(TEXT).await.status(), 401);
        }
        assert_eq!(server.exchange(TEXT).await.status(), 429);
        assert_eq!(server.exchange("acme.live.another-0123456789").await.status(), 401, "another is not concerned");
    }

    // Features: P13.
    async fn imported_key_is_found_under_an_older_master_key(server: Server, "api_keys.imported=true") {
        let id = import(&server, TEXT).await;
        let (admin, database) = (server.admin.clone(), server.stop().await);
        // Emulates a rotation of the master key: version 2 encrypts from now on.
        let mut bytes = [0; 32];
        SystemEntropy::default().fill(&mut bytes).unwrap();
        let path = database.dir.path().join("keys/master.2");
        std::fs::write(&path, STANDARD.encode(bytes)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let keys = MasterKeys::read_dir(&database.dir.path().join("keys")).unwrap().unwrap();
        let fingerprint = keys.snapshot().version(2).map(MasterKey::fingerprint).unwrap();
        database.sql("UPDATE master_keys SET state = 'retiring'");
        database.sql(&format!(
            "INSERT INTO master_keys (version, fingerprint, created_at, state) VALUES (2, '{fingerprint}', 0, 'current')"
        ));
        let server = Server::on(database, &["api_keys.imported=true"]).await;
        assert_eq!(server.admin, admin);
        let token = server.fetch_token(TEXT).await;
        assert_eq!(verify(&server, &token, "http://keyswap.test").await["key_id"], id);
        let again = server.post("/v1/api-keys").bearer_auth(&server.admin).json(&body(TEXT)).send().await.unwrap();
        problem(again, 409, "conflict").await;
        import(&server, "acme.live.another-0123456789").await;
        server.fetch_token("acme.live.another-0123456789").await;
    }
}
