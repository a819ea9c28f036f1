//! Rotation of signing keys on a running server.

use futures_util::future::join;
use keyswap::service::signing::live_tokens::LiveTokenCounts;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Kind, MANUAL_JOBS, Server, both, header_of, run_jobs_of, until_jobs, wire::problem};

/// The lock that every operation on signing keys takes.
pub(super) const LOCK: i64 = 0x006b_6579_7377_0001;

pub(super) async fn keys(server: &Server) -> Value {
    server.manage("GET", "/v1/signing-keys", None, 200).await
}

pub(super) async fn in_state(server: &Server, state: &str) -> Vec<Value> {
    let all = keys(server).await;
    all["data"].as_array().unwrap().iter().filter(|key| key["state"] == state).cloned().collect()
}

pub(super) async fn kid_of_next(server: &Server) -> String {
    in_state(server, "next").await[0]["kid"].as_str().unwrap().to_owned()
}

async fn served(server: &Server) -> Vec<String> {
    let jwks: Value = server.get("/.well-known/jwks.json").send().await.unwrap().json().await.unwrap();
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn scraped(server: &Server) -> String {
    server.get("/metrics").bearer_auth(&server.admin).send().await.unwrap().text().await.unwrap()
}

/// Waits until `holds` returns true, for up to 30 seconds.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..3000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("not within half a minute: {what}");
}

async fn events(server: &Server, kind: &str) -> usize {
    server.events().await.iter().filter(|event| event["type"] == kind).count()
}

both! {
    async fn keys_rotate_automatically_after_their_period(server: Server, "jobs=by_hand", "signing_keys.rotation_period=2h") {
        let key = server.generic_key(&[]).await.value;
        let (first, next) = (server.fetch_token(&key).await, kid_of_next(&server).await);
        let plan = keys(&server).await["plan"].clone();
        assert_eq!((&plan[0]["step"], &plan[0]["kid"], &plan[0]["waits_for"]), (&json!("activate"), &json!(next), &json!("period")));
        server.advance(2 * 3600 - 60);
        run_jobs_of(&[&server, &server]).await;
        assert_eq!(kid_of_next(&server).await, next, "not before its time");
        server.advance(61);
        server.run_jobs().await;
        assert_eq!(in_state(&server, "active").await[0]["kid"], json!(next), "in the next run of the job");
        assert_eq!(in_state(&server, "next").await.len(), 1, "another one follows");
        assert_eq!(header_of(&server.fetch_token(&key).await)["kid"], json!(next));
        assert!(served(&server).await.contains(&header_of(&first)["kid"].as_str().unwrap().to_owned()));
        // The private key is destroyed first, and the key is removed later.
        let retiring = in_state(&server, "retiring").await[0].clone();
        let kid = retiring["kid"].clone();
        server.advance(61);
        until_jobs(&[&server], "the private half is destroyed", async || !in_state(&server, "retiring").await[0]["destroyed_at"].is_null()).await;
        server.advance(3600 + 60 + 30);
        until_jobs(&[&server], "the key is removed", async || in_state(&server, "removed").await.iter().any(|key| key["kid"] == kid)).await;
        assert!(!served(&server).await.contains(&kid.as_str().unwrap().to_owned()));
        assert_eq!(events(&server, "signing_key.destroyed").await, 1);
        assert_eq!(events(&server, "signing_key.removed").await, 1);
    }

    async fn two_replicas_rotate_once(server: Server, "jobs=by_hand", "signing_keys.rotation_period=2h") {
        let replica = server.replica().await;
        run_jobs_of(&[&server, &replica]).await;
        assert_eq!(keys(&server).await["replicas"].as_array().unwrap().len(), 2, "both are up");
        server.advance(2 * 3600 + 1);
        // Both replicas run their jobs concurrently and then again. A completed step is not
        // repeated.
        let held = server.database.hold(LOCK);
        let release = async {
            if server.database.kind == Kind::Postgres {
                until("both wait for the lock", async || server.database.waiting_for_locks() >= 2).await;
            }
            held.release();
        };
        join(run_jobs_of(&[&server, &replica]), release).await;
        assert_eq!(in_state(&server, "retiring").await.len(), 1);
        assert_eq!(events(&server, "signing_key.retired").await, 1);
        assert_eq!((in_state(&replica, "active").await.len(), in_state(&replica, "next").await.len()), (1, 1));
        assert_eq!(served(&server).await, served(&replica).await);
    }

    async fn dry_run_reports_the_plan_and_changes_nothing(server: Server) {
        let early = server.post("/v1/signing-keys/rotate").bearer_auth(&server.admin).json(&json!({ "dry_run": true }));
        let reported = problem(early.send().await.unwrap(), 409, "too_early").await;
        assert!(reported["detail"].as_str().unwrap().contains("may sign from"), "{reported}");
        server.advance(3661);
        let (before, events) = (keys(&server).await["data"].clone(), server.events().await.len());
        let planned = server.manage("POST", "/v1/signing-keys/rotate", Some(json!({ "dry_run": true })), 200).await;
        assert_eq!(planned["activated"]["kid"], json!(kid_of_next(&server).await));
        assert_eq!((planned["retired"].as_array().unwrap().len(), &planned["next"]), (1, &Value::Null));
        assert_eq!((keys(&server).await["data"].clone(), server.events().await.len()), (before, events));
        let done = server.manage("POST", "/v1/signing-keys/rotate", None, 200).await;
        assert_eq!(done["activated"]["kid"], planned["activated"]["kid"]);
        // Invariant K13: a second rotation finds a next key that is too young.
        let again = server.post("/v1/signing-keys/rotate").bearer_auth(&server.admin).send().await.unwrap();
        problem(again, 409, "too_early").await;
    }

    async fn emergency_revocation_reports_how_long_tokens_are_accepted(server: Server) {
        let key = server.generic_key(&[]).await.value;
        let active = in_state(&server, "active").await[0]["kid"].as_str().unwrap().to_owned();
        let next = kid_of_next(&server).await;
        let now = server.manage("GET", "/v1/events?limit=1", None, 200).await["data"][0]["at"].clone();
        let revoked = server.manage("POST", &format!("/v1/signing-keys/{active}/revoke"), None, 200).await;
        assert_eq!((&revoked["revoked"]["state"], &revoked["activated"]["kid"]), (&json!("revoked"), &json!(next)));
        for member in ["unpublished_by", "accepted_until", "last_token_ends", "successor_known_by"] {
            assert!(revoked[member].as_str().unwrap() > now.as_str().unwrap(), "{member} is never at once: {revoked}");
        }
        assert!(!served(&server).await.contains(&active));
        assert_eq!(header_of(&server.fetch_token(&key).await)["kid"], json!(next), "another one signs at once");
        assert_eq!(in_state(&server, "next").await.len(), 1);
        let again = server.post(&format!("/v1/signing-keys/{active}/revoke")).bearer_auth(&server.admin).send().await.unwrap();
        problem(again, 409, "conflict").await;
        let unknown = format!("/v1/signing-keys/{}/revoke", "A".repeat(43));
        let unknown = server.post(&unknown).bearer_auth(&server.admin).send().await.unwrap();
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
        assert_eq!(events(&server, "signing_key.revoked").await, 1);
        // Revoking a next key activates no other key.
        let revoked = server.manage("POST", &format!("/v1/signing-keys/{}/revoke", kid_of_next(&server).await), None, 200).await;
        assert_eq!(revoked["activated"], Value::Null);
        assert_eq!(in_state(&server, "next").await.len(), 1);
    }

    async fn emergency_revocation_skips_a_key_that_cannot_sign(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&[]).await.value;
        let spoil = [
            // Encrypted for another kid, so decryption fails.
            "encrypted_private_key = (SELECT encrypted_private_key FROM signing_keys WHERE state = 'active') WHERE state = 'next'",
            // Decryptable, but not the private key of the published public key.
            r#"public_jwk = REPLACE(public_jwk, '"x":"', '"x":"A') WHERE state = 'next'"#,
            "public_jwk = '{}' WHERE state = 'next'",
            // The key to be revoked is itself unreadable.
            "public_jwk = '{}' WHERE state = 'active'",
        ];
        for corrupted in spoil {
            let (active, next) = (in_state(&server, "active").await[0]["kid"].as_str().unwrap().to_owned(), kid_of_next(&server).await);
            server.database.sql(&format!("UPDATE signing_keys SET {corrupted}"));
            server.accept_altered_rows().await;
            let bad = if corrupted.ends_with("'next'") { &next } else { &active };
            server.refresh_keys().await;
            let reported = server.get("/readyz").send().await.unwrap().text().await.unwrap();
            assert!(reported.contains(bad.as_str()), "before it is its turn: {reported}");
            let revoked = server.manage("POST", &format!("/v1/signing-keys/{active}/revoke"), None, 200).await;
            let signs = header_of(&server.fetch_token(&key).await)["kid"].clone();
            assert_eq!(signs, revoked["activated"]["kid"], "{corrupted}");
            assert_eq!(signs == json!(next), bad != &next, "{corrupted}");
            assert!(served(&server).await.contains(&signs.as_str().unwrap().to_owned()));
            assert_eq!((in_state(&server, "next").await.len(), in_state(&server, "active").await.len()), (1, 1));
        }
    }

    async fn next_key_with_mismatched_halves_is_not_activated(server: Server, "jobs=by_hand") {
        server.database.sql(r#"UPDATE signing_keys SET public_jwk = REPLACE(public_jwk, '"x":"', '"x":"A') WHERE state = 'next'"#);
        server.accept_altered_rows().await;
        let next = kid_of_next(&server).await;
        server.run_jobs().await;
        assert!(server.get("/readyz").send().await.unwrap().text().await.unwrap().contains(&next), "the key is reported");
        server.advance(3661);
        for body in [None, Some(json!({ "dry_run": true }))] {
            let refused = server.manage("POST", "/v1/signing-keys/rotate", body, 409).await;
            assert!(refused["detail"].as_str().unwrap().contains("cannot be decrypted on this server"), "{refused}");
        }
    }

    async fn clock_set_forward_shortens_no_delay(server: Server, "jobs=by_hand", "signing_keys.rotation_period=2h") {
        let next = kid_of_next(&server).await;
        // From here on, the server has a reference for the clock.
        server.run_jobs().await;
        server.database.set_clock(5 * 3600 * 1000);
        for _ in 0..3 {
            server.run_jobs().await;
            assert_eq!(events(&server, "clock.jumped").await, 1, "noticed, and once");
            assert_eq!(kid_of_next(&server).await, next, "nothing was moved");
        }
        let refused = server.post("/v1/signing-keys/rotate").bearer_auth(&server.admin).send().await.unwrap();
        problem(refused, 409, "too_early").await;
        assert!(!keys(&server).await["rules"]["stable_since"].is_null());
        server.advance(2 * 3600 - 60);
        run_jobs_of(&[&server, &server]).await;
        assert_eq!(kid_of_next(&server).await, next, "the period begins with the jump");
        server.advance(121);
        until_jobs(&[&server], "after the whole wait it is", async || in_state(&server, "active").await[0]["kid"] == json!(next)).await;
        server.database.set_clock(-5 * 3600 * 1000);
        server.run_jobs().await;
        assert_eq!(events(&server, "clock.jumped").await, 2, "back is noticed too");
        assert_eq!(in_state(&server, "active").await[0]["kid"], json!(next), "and nothing is taken back");
    }

    async fn clock_set_back_while_stopped_shortens_no_delay(server: Server, "jobs=by_hand", "signing_keys.rotation_period=2h") {
        server.advance(2 * 3600 + 1);
        until_jobs(&[&server], "one key retires", async || in_state(&server, "retiring").await.len() == 1).await;
        until_jobs(&[&server], "the next one counts", async || keys(&server).await["plan"][0]["step"] != "see").await;
        let (next, retiring) = (kid_of_next(&server).await, in_state(&server, "retiring").await[0]["kid"].clone());
        let database = server.stop().await;
        // The machine clock equals the database clock, as with SQLite.
        database.set_clock(-3600 * 1000);
        let server = Server::on(database, &[MANUAL_JOBS, "signing_keys.rotation_period=2h"]).await;
        for _ in 0..3 {
            server.run_jobs().await;
            assert_eq!(events(&server, "clock.jumped").await, 1, "noticed, and once");
            assert_eq!(kid_of_next(&server).await, next, "nothing was moved");
        }
        let kept = in_state(&server, "retiring").await;
        assert_eq!((kept.len(), &kept[0]["kid"], &kept[0]["destroyed_at"]), (1, &retiring, &Value::Null), "{kept:?}");
        assert!(served(&server).await.contains(&retiring.as_str().unwrap().to_owned()));
    }

    async fn strictest_setting_of_replicas_applies(server: Server) {
        let other = Server::on(std::sync::Arc::clone(&server.database), &["signing_keys.verifier_cache_ttl=6h", "tokens.max_ttl=4h"]).await;
        let rules = keys(&server).await["rules"].clone();
        assert_eq!((&rules["verifier_cache_ttl"], &rules["max_ttl"]), (&json!("6h"), &json!("4h")));
        assert_eq!(in_state(&server, "active").await[0]["longest_ttl"], "4h", "before the first token that lives so long (K9)");
        server.advance(3661);
        let early = server.post("/v1/signing-keys/rotate").bearer_auth(&server.admin).send().await.unwrap();
        problem(early, 409, "too_early").await;
        // The replica has stopped, but its tokens are still in use.
        other.stop().await;
        server.advance(3600);
        let early = server.post("/v1/signing-keys/rotate").bearer_auth(&server.admin).send().await.unwrap();
        problem(early, 409, "too_early").await;
        server.advance(4 * 3600);
        server.manage("POST", "/v1/signing-keys/rotate", None, 200).await;
    }

    async fn clock_set_after_its_check_shortens_no_delay(server: Server, "jobs=by_hand") {
        let next = kid_of_next(&server).await;
        if server.database.kind == Kind::Postgres {
            // A transaction in progress does not see a replaced function, but it does see changed
            // rows that the function reads.
            server.database.sql(
                "CREATE TABLE set_by (millis BIGINT); INSERT INTO set_by VALUES (0); \
                 CREATE OR REPLACE FUNCTION keyswap_now() RETURNS BIGINT LANGUAGE SQL VOLATILE \
                 AS 'SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT + (SELECT millis FROM set_by)'",
            );
        }
        let before = server.services.clock_monitor.last();
        let held = server.database.hold(LOCK);
        let rotation = server.post("/v1/signing-keys/rotate").bearer_auth(&server.admin).send();
        let rotation = tokio::spawn(rotation);
        // No job checks the clock, so this check belongs to the rotation, which then waits for the
        // lock.
        until("it has looked at the clock", async || server.services.clock_monitor.last() != before).await;
        match server.database.kind {
            Kind::Sqlite => server.database.set_clock(5 * 3600 * 1000),
            Kind::Postgres => server.database.sql("UPDATE set_by SET millis = 18000000"),
        }
        held.release();
        let refused = rotation.await.unwrap().unwrap();
        let (status, said) = (refused.status(), refused.text().await.unwrap());
        assert_eq!(status, 503, "{said}");
        assert_eq!(kid_of_next(&server).await, next, "nothing was moved");
        server.run_jobs().await;
        assert_eq!(events(&server, "clock.jumped").await, 1, "it is noticed");
        assert_eq!(kid_of_next(&server).await, next);
    }

    async fn metrics_of_the_alerts_exist(server: Server, "jobs=by_hand", "signing_keys.rotation_period=2h") {
        server.run_jobs().await;
        // As the start of the jobs does.
        server.services.metrics.process.add_job("rotate signing keys");
        let scraped = scraped(&server).await;
        let rules = include_str!("../../../docs/operations/alerts.yml");
        let named = rules.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let named: std::collections::BTreeSet<_> = named.filter(|word| word.starts_with("keyswap_")).collect();
        assert!(named.len() >= 7, "{named:?}");
        // A next key succeeds only keys of its own algorithm.
        let follows = rules.lines().find(|line| line.contains("unless")).unwrap();
        assert_eq!(follows.matches("by (instance, algorithm)").count(), 2, "{follows}");
        for name in named {
            assert!(scraped.contains(&format!("# TYPE {name} ")), "{name} is not measured");
        }
        for line in [
            r#"keyswap_signing_key_age_seconds{algorithm="ES256",state="active"}"#,
            r#"keyswap_signing_key_age_seconds{algorithm="ES256",state="next"}"#,
        ] {
            assert!(scraped.contains(line), "{line}");
        }
    }

    async fn replicas_add_to_the_counts_of_live_tokens_at_the_same_time(server: Server) {
        let active = in_state(&server, "active").await.remove(0);
        let before = active["live_tokens"].as_i64().unwrap();
        let (kid, now) = (active["kid"].as_str().unwrap().parse().unwrap(), server.services.store.now().await.unwrap());
        let replicas = [(); 2].map(|()| LiveTokenCounts::new(server.services.store.clone()));
        for round in 1..=20 {
            let ends_at = now.millis() / 1000 + 60 * round;
            replicas.iter().for_each(|replica| replica.count_token(&kid, ends_at));
            let (one, other) = join(replicas[0].flush(), replicas[1].flush()).await;
            assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
        }
        assert!(in_state(&server, "active").await[0]["live_tokens"].as_i64().unwrap() >= before + 40);
    }

    async fn live_tokens_are_counted_for_each_key(server: Server) {
        let key = server.generic_key(&[]).await.value;
        for _ in 0..7 {
            server.fetch_token(&key).await;
        }
        server.services.live_tokens.flush().await.unwrap();
        // The job may hold some of the counts and be about to write them.
        until("all are counted", async || in_state(&server, "active").await[0]["live_tokens"] == 7).await;
        server.advance(3600);
        assert_eq!(in_state(&server, "active").await[0]["live_tokens"], 0);
        // A graceful stop writes the counts that are in memory.
        server.fetch_token(&key).await;
        let server = Server::on(server.stop().await, &["signing_keys.rotation_period="]).await;
        assert_eq!(in_state(&server, "active").await[0]["live_tokens"], 1);
    }
}
