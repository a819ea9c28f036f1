//! SIGKILL at each statement of a signing key rotation, a master key rotation and a revocation. The
//! database is in the state before or after each transaction, and the next run completes the
//! operation. `scripts/test` covers a quarter of the points, `scripts/prove statements` all of
//! them.

mod child;
mod kill_points;

use serde_json::{Value, json};

use super::process::{Deployment, Running};
use crate::encryption::{Full, quick};
use child::Operation;
use kill_points::{State, Walk};

/// Defines each test for both databases, on a quarter of the points and on all of them.
macro_rules! at_each_statement {
    ($(async fn $name:ident($walk:ident: &mut Walk) $body:block)*) => {
        $(mod $name {
            use super::*;
            async fn test($walk: &mut Walk) $body
            #[test]
            fn sqlite() {
                Walk::on_a_quarter(crate::support::Kind::Sqlite, test);
            }
            #[test]
            fn postgres() {
                Walk::on_a_quarter(crate::support::Kind::Postgres, test);
            }
            #[test]
            #[ignore = "takes minutes: scripts/prove statements"]
            fn all_sqlite() {
                Walk::on_all(crate::support::Kind::Sqlite, test);
            }
            #[test]
            #[ignore = "takes minutes: scripts/prove statements"]
            fn all_postgres() {
                Walk::on_all(crate::support::Kind::Postgres, test);
            }
        })*
    };
}

at_each_statement! {
    async fn killed_signing_key_rotation_is_atomic(walk: &mut Walk) {
        let deployment = Deployment::new(walk.kind);
        let server = deployment.serve();
        let key = server.key(&deployment.admin()).await.1;
        server.stop();
        let mut state = State::of(&deployment);
        let before = state.count("signing_keys");
        // The rotation, which commits twice; a tick at which nothing is due; and the tick that
        // removes the old key.
        for (perform, hours, commits) in [(Operation::Rotate, 3, 2), (Operation::Tick, 0, 0), (Operation::Tick, 3, 1)] {
            state.advance_clock(hours);
            walk.kill_at_each(&state, (perform, ""), commits, async |left, when| {
                keys_and_events_agree(left, when);
                left.exchange_succeeds(&key, when).await;
                left.finish(perform, "").await;
                keys_and_events_agree(left, &format!("{when}, finished"));
            })
            .await;
            state.done(perform, "");
        }
        assert_eq!(state.count("signing_keys"), before + 1, "rotated once");
        assert_eq!(state.count("signing_keys WHERE state = 'removed'"), 1);
    }

    async fn killed_revocation_is_atomic(walk: &mut Walk) {
        let deployment = Deployment::new(walk.kind);
        let server = deployment.serve();
        let admin = deployment.admin();
        let audience = json!({ "identifier": "https://each.test", "status": "token" });
        assert_eq!(server.call(&admin, "POST", "/v1/audiences", Some(audience)).await.status(), 201);
        let (_, dies) = server.key(&admin).await;
        let (_, lives) = server.key(&admin).await;
        let token = issued_token(&server, &lives).await;
        server.stop();
        let state = State::of(&deployment);
        let ended = "api_keys WHERE revoked_at IS NOT NULL";
        let of_token = "token_statuses WHERE revoked_at IS NOT NULL";
        walk.kill_at_each(&state, (Operation::Revoke, &dies), 1, async |left, when| {
            left.is_reported(ended, "api_key.revoked", when);
            let server = left.deployment.serve();
            assert_eq!(server.exchange_succeeds(&dies).await, left.count(ended) == 0, "{when}");
            left.finish(Operation::Revoke, &dies).await;
            left.is_reported(ended, "api_key.revoked", when);
            assert!(!server.exchange_succeeds(&dies).await && server.exchange_succeeds(&lives).await, "{when}");
        })
        .await;
        walk.kill_at_each(&state, (Operation::Revoke, &token), 1, async |left, when| {
            left.is_reported("revoked_tokens", "token.revoked", when);
            left.is_reported(of_token, "token.revoked", when);
            let server = left.deployment.serve();
            assert_eq!(server.is_active(&admin, &token).await, left.count(of_token) == 0, "{when}");
            left.finish(Operation::Revoke, &token).await;
            left.is_reported("revoked_tokens", "token.revoked", when);
            left.is_reported(of_token, "token.revoked", when);
            assert!(!server.is_active(&admin, &token).await && server.exchange_succeeds(&lives).await, "{when}");
        })
        .await;
    }

    async fn killed_master_key_rotation_leaves_every_row_readable(walk: &mut Walk) {
        let deployment = quick(walk.kind);
        let server = deployment.serve();
        let full = Full::on(deployment.with(&[]), &server, 4).await;
        server.stop();
        let state = State::of(&deployment);
        // At least 13 commits: begin, activate, two for each of the five places of encrypted rows,
        // and retire.
        walk.kill_at_each(&state, (Operation::MasterKey, ""), 13, async |left, when| {
            master_keys_and_events_agree(left, when);
            let server = left.deployment.serve();
            full.opens(&server, when).await;
            left.finish(Operation::MasterKey, "").await;
            full.opens(&server, &format!("{when}, finished")).await;
            master_keys_and_events_agree(left, &format!("{when}, finished"));
            let states = crate::encryption::status(&left.deployment);
            let states: Vec<_> = states.iter().map(|(_, state, rows)| (state.as_str(), *rows == 0)).collect();
            assert_eq!(states, [("retired", true), ("current", false)], "{when}");
        })
        .await;
    }
}

fn keys_and_events_agree(left: &State, when: &str) {
    assert_eq!(left.count("signing_keys WHERE state = 'active'"), 1, "{when}");
    assert_eq!(left.count("signing_keys WHERE state = 'next'"), 1, "{when}");
    // The first signing key is activated when it is created, and has a single event for both.
    let published = "signing_keys WHERE activated_at IS NULL OR activated_at > published_at";
    left.is_reported(published, "signing_key.published", when);
    left.is_reported("signing_keys WHERE activated_at IS NOT NULL", "signing_key.activated", when);
    left.is_reported("signing_keys WHERE retired_at IS NOT NULL", "signing_key.retired", when);
    left.is_reported("signing_keys WHERE removed_at IS NOT NULL", "signing_key.removed", when);
    left.is_reported("signing_keys WHERE destroyed_at IS NOT NULL", "signing_key.destroyed", when);
    assert_eq!(
        left.count("signing_keys WHERE (destroyed_at IS NULL) <> (encrypted_private_key IS NOT NULL)"),
        0,
        "{when}"
    );
}

fn master_keys_and_events_agree(left: &State, when: &str) {
    assert_eq!(left.count("master_keys WHERE state = 'current'"), 1, "{when}");
    left.is_reported("master_keys", "master_key.registered", when);
    left.is_reported("master_keys WHERE activated_at IS NOT NULL AND version > 1", "master_key.activated", when);
    left.is_reported("master_keys WHERE state = 'retired'", "master_key.retired", when);
}

/// Issues a token that has its own entry in a status list.
async fn issued_token(server: &Running, key: &str) -> String {
    let body = json!({ "audience": "https://each.test" });
    let answer = server.http.post(server.url("/v1/exchange")).bearer_auth(key).json(&body).send().await.unwrap();
    let body: Value = answer.json().await.unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}
