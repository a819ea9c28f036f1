//! Signing keys that were inserted, altered or deleted with SQL, and their manifest (invariant 14).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use diesel::connection::SimpleConnection as _;
use keyswap::{
    app::startup::{self, StartMode},
    crypto::signer::Signer,
    domain::{
        events::Origin,
        signing::{Algorithm, SigningKeyState},
    },
    service::{encryption::rollback_guard, integrity::IntegrityFault},
    store::{
        NoEvent, Outcome, StoreError, Tx,
        signing::{manifest, signing_keys},
    },
};
use reqwest::StatusCode;
use serde_json::Value;

use super::{altered_rows::faults, tables::lines_of};
use crate::{
    standards::rfc8725::TokenForger,
    support::{Server, body_of, both},
};

/// A signing key of somebody else.
struct PlantedKey {
    signer: Signer,
}

impl PlantedKey {
    fn generate() -> Self {
        let der = Signer::generate(Algorithm::EdDsa).unwrap();
        Self { signer: Signer::from_pkcs8(Algorithm::EdDsa, &der).unwrap() }
    }

    /// The statement that inserts its row.
    fn sql(&self, state: SigningKeyState) -> String {
        let (jwk, state) = (self.signer.jwk(), state.as_str());
        let json = serde_json::to_string(jwk).unwrap();
        format!(
            "INSERT INTO signing_keys (kid, algorithm, state, public_jwk, published_at, seen_at, activated_at, longest_ttl, version) \
             VALUES ('{}', 'EdDSA', '{state}', '{json}', 0, 0, 0, 600000, 1)",
            jwk.kid
        )
    }

    /// Signs a token with the header of a valid token, apart from the algorithm and the key.
    async fn sign(&self, header: &str, claims: &str) -> String {
        let valid: Value = serde_json::from_str(header).unwrap();
        let header = header
            .replace(valid["alg"].as_str().unwrap(), "EdDSA")
            .replace(valid["kid"].as_str().unwrap(), self.signer.jwk().kid.as_str());
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.signer.sign(signed.as_bytes()).await.unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The keys that the server publishes after a refresh, which fails while the manifest is altered.
async fn published(server: &Server) -> Vec<String> {
    drop(server.services.keys.refresh().await);
    let jwks = body_of(server.get("/.well-known/jwks.json").send().await.unwrap(), StatusCode::OK).await;
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn run(server: &Server, change: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Clone + Send + 'static) {
    let run = move |tx: &mut Tx<'_>| Ok::<_, StoreError>(Outcome::without_event(change(tx)?, NoEvent::InternalState));
    server.services.store.run_transaction(Origin::SYSTEM, run).await.unwrap();
}

both! {
    async fn an_altered_signing_key_is_neither_published_nor_trusted(server: Server) {
        let forger = TokenForger::new(&server).await;
        let before = published(&server).await;
        assert_eq!(before.len(), 2);
        // A key of somebody else: the algorithm of the deployment has its keys, another has none.
        for state in [SigningKeyState::Active, SigningKeyState::Next, SigningKeyState::Retiring] {
            let planted = PlantedKey::generate();
            let kid = planted.signer.jwk().kid.clone();
            server.database.sql(&planted.sql(state));
            let state = state.as_str();
            assert_eq!(published(&server).await, before, "{state}");
            let token = planted.sign(&forger.header, &forger.claims).await;
            assert!(!forger.accepted(&token).await, "{state}");
            if state == "active" {
                // The token lacks nothing but an authentic key.
                let accepted = kid.clone();
                run(&server, move |tx| {
                    assert!(manifest::accept(tx, &accepted)?);
                    Ok(())
                }).await;
                assert_eq!(published(&server).await.len(), 3);
                assert!(forger.accepted(&token).await, "{state}, accepted");
            }
            server.database.sql(&format!("DELETE FROM signing_keys WHERE kid = '{kid}'"));
            assert_eq!(published(&server).await, before);
        }
        // Alterations of a row that Keyswap has written.
        let next = "state = 'next'";
        for (altered, restored) in [
            ("published_at = published_at - 1000", "published_at = published_at + 1000"),
            ("longest_ttl = longest_ttl + 1", "longest_ttl = longest_ttl - 1"),
            ("version = version + 1", "version = version - 1"),
            ("public_jwk = replace(public_jwk, '\"alg\"', ' \"alg\"')", "public_jwk = replace(public_jwk, ' \"alg\"', '\"alg\"')"),
        ] {
            server.database.sql(&format!("UPDATE signing_keys SET {altered} WHERE {next}"));
            assert_eq!(published(&server).await.len(), 1, "{altered}");
            server.database.sql(&format!("UPDATE signing_keys SET {restored} WHERE {next}"));
            assert_eq!(published(&server).await, before, "{restored}");
        }
    }

    async fn a_key_that_is_planted_during_a_change_is_not_trusted(server: Server, "jobs=by_hand") {
        let before = published(&server).await;
        let planted = PlantedKey::generate();
        let sql = planted.sql(SigningKeyState::Active);
        // As if another connection inserted and altered rows after the change has verified them. Of
        // the next key, only what the change writes becomes authentic.
        run(&server, move |tx| {
            let keys = manifest::list_for_change(tx)?;
            let next = keys.iter().find(|key| key.info.state == SigningKeyState::Next).unwrap();
            tx.batch_execute(&sql).unwrap();
            tx.batch_execute("UPDATE signing_keys SET longest_ttl = longest_ttl + 1 WHERE state = 'active' AND published_at > 0").unwrap();
            assert!(signing_keys::transition_state(tx, &next.info, SigningKeyState::Removed, tx.now())?);
            signing_keys::record_first_observation(tx, tx.now())
        }).await;
        assert!(published(&server).await.iter().all(|kid| before.contains(kid)));
        let altered = ("signing_keys", IntegrityFault::Altered);
        assert_eq!(faults(&server).await, [altered, altered], "the planted key, and the active one");
    }

    async fn deleted_signing_keys_are_reported(server: Server, "jobs=by_hand") {
        server.database.sql("DELETE FROM signing_keys");
        let altered = ("signing_keys", IntegrityFault::Altered);
        assert_eq!(faults(&server).await, [altered, altered]);
        // A start does not take the database for a new one.
        let clients = async || server.manage("GET", "/v1/service-clients", None, 200).await["data"].as_array().unwrap().len();
        let before = clients().await;
        let replica = server.replica().await;
        assert_eq!(clients().await, before, "no other administrator");
        let jwks = body_of(replica.get("/.well-known/jwks.json").send().await.unwrap(), StatusCode::OK).await;
        let states = lines_of(&server.database, "SELECT state AS line FROM signing_keys");
        assert_eq!(states, ["next"], "no key signs at once: {jwks}");
    }

    async fn an_altered_manifest_is_refused_and_kept(server: Server, "jobs=by_hand") {
        let before = published(&server).await;
        rollback_guard::update(&server.services).await.unwrap();
        let guard = server.services.settings.keys.rollback_guard();
        let recorded = std::fs::read(&guard).unwrap();
        for alteration in [
            "UPDATE signing_key_manifest SET digests = '{}'",
            "UPDATE signing_key_manifest SET counter = counter + 5",
            "UPDATE signing_key_manifest SET digests = '{}', counter = 0, tag = NULL, master_version = NULL",
            "DELETE FROM signing_key_manifest",
        ] {
            server.database.sql("CREATE TABLE saved_manifest AS SELECT * FROM signing_key_manifest");
            server.database.sql(alteration);
            assert_eq!(published(&server).await, before, "{alteration}: published keys stay published");
            assert_eq!(faults(&server).await, [("signing_key_manifest", IntegrityFault::Altered)], "{alteration}");
            let start = async |mode| startup::start(server.services.settings.clone(), mode, server.database.clock()).await;
            let refused = start(StartMode::Serve).await.map(drop).unwrap_err().to_string();
            assert!(refused.contains("signing_key_manifest"), "{alteration}: no server starts: {refused}");
            assert!(start(StartMode::Command).await.is_ok(), "{alteration}: commands can repair it");
            assert!(rollback_guard::update(&server.services).await.is_err(), "{alteration}");
            assert_eq!(std::fs::read(&guard).unwrap(), recorded, "{alteration}: the guard records nothing");
            let refused = server.manage("POST", "/v1/signing-keys/rotate", None, 409).await;
            assert!(refused["detail"].as_str().unwrap().contains("altered outside of Keyswap"), "{refused}");
            assert_eq!(faults(&server).await, [("signing_key_manifest", IntegrityFault::Altered)], "{alteration}");
            server.database.sql(
                "DELETE FROM signing_key_manifest; INSERT INTO signing_key_manifest SELECT * FROM saved_manifest; DROP TABLE saved_manifest",
            );
            assert_eq!(faults(&server).await, [], "{alteration}");
        }
        // An operator accepts the manifest first, and then the keys that it does not match.
        server.database.sql("UPDATE signing_key_manifest SET digests = '{}'");
        server.accept_altered_rows().await;
        let altered = ("signing_keys", IntegrityFault::Altered);
        assert_eq!(faults(&server).await, [altered, altered]);
        server.accept_altered_rows().await;
        assert_eq!(faults(&server).await, []);
        assert_eq!(published(&server).await, before);
    }
}
