//! Management tokens of one replica at another one, while signing keys rotate.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join;
use keyswap::domain::signing::SigningKeyState;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::rotation::kid_of_next;
use crate::{
    introspection::MANAGEMENT,
    standards::rfc8725::{TokenForger, changed},
    support::{Server, body_of, both, header_of},
};

/// Signing keys that each replica has signed with before the test ends.
const ROTATIONS: usize = 4;

async fn management_token(server: &Server) -> String {
    let answer = server.exchange_for(&server.admin, json!({ "audience": MANAGEMENT })).await;
    body_of(answer, StatusCode::OK).await["access_token"].as_str().unwrap().to_owned()
}

async fn status_at(server: &Server, token: &str) -> u16 {
    server.get("/v1/events?limit=1").bearer_auth(token).send().await.unwrap().status().as_u16()
}

/// The state of a signing key in the snapshot of a server.
fn state_at(server: &Server, kid: &str) -> SigningKeyState {
    server.services.keys.view().find_published(&kid.parse().unwrap()).unwrap().state
}

both! {
    async fn token_of_a_key_that_another_replica_activated_is_accepted(server: Server, "jobs=by_hand") {
        let replica = server.replica().await;
        let next = kid_of_next(&server).await;
        let forger = TokenForger::in_state(&server, SigningKeyState::Next).await;
        // It expires after the rotation, so that only the time of its issue is wrong.
        let valid = TokenForger::new(&server).await.claims;
        let issued_at = serde_json::from_str::<Value>(&valid).unwrap()["iat"].as_i64().unwrap();
        let early = forger.token(&forger.header, &changed(&valid, json!({ "exp": issued_at + 10_000 }))).await;
        server.advance(3600 + 61);
        server.manage("POST", "/v1/signing-keys/rotate", None, 200).await;
        let token = management_token(&server).await;
        assert_eq!(header_of(&token)["kid"], json!(next));
        assert_eq!(state_at(&replica, &next), SigningKeyState::Next, "the replica does not know of the rotation");

        // A stranger causes no read of the signing keys: the signature is verified first.
        let view = replica.services.keys.view();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
        assert_eq!(status_at(&replica, &forged).await, 401);
        assert!(Arc::ptr_eq(&view, &replica.services.keys.view()));

        // A database that does not answer is not a refusal.
        server.database.sql("ALTER TABLE signing_keys RENAME TO hidden");
        assert_eq!(status_at(&replica, &token).await, 503);
        server.database.sql("ALTER TABLE hidden RENAME TO signing_keys");
        server.advance(2);
        assert_eq!(status_at(&replica, &token).await, 200);
        assert_eq!(state_at(&replica, &next), SigningKeyState::Active);
        assert_eq!(status_at(&replica, &early).await, 401, "signed while the key was next");
    }

    async fn tokens_are_accepted_by_every_replica_during_rotations(server: Server,
        "signing_keys.rotation_period=2s", "signing_keys.verifier_cache_ttl=0s", "signing_keys.replica_staleness=3s",
        "signing_keys.clock_skew=1s", "signing_keys.verifier_leeway=0s", "tokens.max_ttl=10s", "tokens.default_ttl=10s"
    ) {
        let replica = server.replica().await;
        let until = Instant::now() + Duration::from_secs(60);
        let present = async |from: &Server, to: &Server| {
            let (mut kids, mut tokens) = (BTreeSet::new(), 0);
            while Instant::now() < until && kids.len() < ROTATIONS {
                let token = management_token(from).await;
                assert_eq!(status_at(to, &token).await, 200, "{}", header_of(&token));
                kids.insert(header_of(&token)["kid"].as_str().unwrap().to_owned());
                tokens += 1;
            }
            (kids.len(), tokens)
        };
        let (one, other) = join(present(&server, &replica), present(&replica, &server)).await;
        eprintln!("signing keys and tokens, in each direction: {one:?}, {other:?}");
        assert!(one.0 == ROTATIONS && other.0 == ROTATIONS, "too few rotations: {one:?}, {other:?}");
    }
}
