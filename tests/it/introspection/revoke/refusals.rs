//! Revocations that are refused, and responses that reveal nothing.

use reqwest::StatusCode;
use serde_json::json;

use super::{PATH, events_of, revoke, revoked};
use crate::{
    introspection::{MANAGEMENT, is_active, token},
    portal::key_management::{people, personal},
    support::{
        both,
        wire::{form, oauth_error, snapshot, unknown, wrong},
    },
};

both! {
    // Requirements: 7009-01.
    async fn tokens_of_others_are_indistinguishable_from_missing_ones(server: Server) {
        people(&server).await;
        let key = server.client_key(&["a"]).await;
        let issued = server.fetch_token(&key.value).await;
        let management = token(&server, &server.admin, json!({ "audience": MANAGEMENT })).await;
        let theirs = server.key(json!({
            "name": "of umbrella", "owner": { "type": "user", "id": "eve", "organization_id": "umbrella" }, "permissions": [],
        })).await;
        let of_theirs = server.fetch_token(&theirs.value).await;
        // The callers: another key of the same client, a key that manages its user's own keys, and
        // a key that may only validate.
        let owner = json!({ "type": "service_client", "id": key.client });
        let sibling = server.key(json!({ "name": "sibling", "owner": owner, "permissions": ["a"] })).await;
        let manager = personal(&server, "self", &["user-api-keys:manage-self"]).await;
        let validator = server.client_key(&["keyswap:validate"]).await;
        let (head, signature) = issued.rsplit_once('.').unwrap();
        let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
        let before = server.events().await.len();
        let mut answers = Vec::new();
        for caller in [&sibling, &manager, &validator] {
            for shown in [
                unknown().as_str(), "nonsense", "..", &forged, &wrong(&key.value), &key.value, &issued, &theirs.value, &of_theirs, &server.admin,
                &management,
            ] {
                let started = std::time::Instant::now();
                answers.push(snapshot(revoked(&server, &caller.value, shown).await).await);
                assert!(started.elapsed() >= keyswap::service::credentials::verify::REFUSAL_DEADLINE);
            }
        }
        assert_eq!(answers[0].0, StatusCode::OK);
        assert!(answers.iter().all(|answer| answer == &answers[0]));
        // A successful revocation has the same response.
        assert_eq!(snapshot(revoked(&server, &key.value, &issued).await).await, answers[0]);
        assert_eq!(server.events().await.len(), before + 1);
        for shown in [&key.value, &theirs.value, &of_theirs] {
            assert!(is_active(&server, shown).await);
        }
        assert_eq!(server.get("/v1/events").bearer_auth(&management).send().await.unwrap().status(), 200);
    }

    // Requirements: 7009-03.
    async fn refused_revocation_names_its_reason(server: Server) {
        let pairs = [("token_type_hint", "access_token")];
        oauth_error(form(server.post(PATH).bearer_auth(&server.admin), &pairs).send().await.unwrap(), 400, "invalid_request").await;
        oauth_error(form(server.post(PATH), &[("token", &unknown())]).send().await.unwrap(), 401, "invalid_client").await;
        oauth_error(server.get(&format!("{PATH}?token=a")).send().await.unwrap(), 405, "invalid_request").await;
        let in_url = form(server.post(&format!("{PATH}?token=a")).bearer_auth(&server.admin), &[("token", "a")]);
        oauth_error(in_url.send().await.unwrap(), 400, "invalid_request").await;
        let twice = form(server.post(PATH).bearer_auth(&server.admin), &[("token", "a"), ("token", "a")]);
        oauth_error(twice.send().await.unwrap(), 400, "invalid_request").await;
    }

    async fn last_administrator_cannot_be_revoked(server: Server) {
        let administrator = server.manage("GET", "/v1/api-keys", None, 200).await["data"][0]["id"].as_str().unwrap().to_owned();
        oauth_error(revoked(&server, &server.admin, &server.admin).await, 400, "invalid_request").await;
        assert!(events_of(&server, "api_key.revoked", &administrator).await.is_empty());
        let issued = token(&server, &server.admin, json!({ "audience": MANAGEMENT })).await;
        revoke(&server, &server.admin, &issued).await;
        assert_eq!(events_of(&server, "token.revoked", &administrator).await.len(), 1);
    }

    async fn expired_token_is_not_recorded(server: Server) {
        let key = server.generic_key(&[]).await;
        let issued = server.fetch_token(&key.value).await;
        server.advance(601);
        revoke(&server, &key.value, &issued).await;
        assert!(events_of(&server, "token.revoked", &key.id).await.is_empty());
    }
}
