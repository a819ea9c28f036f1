//! The effects of a revocation and their timing.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use keyswap::{
    domain::{
        common::time::Span,
        events::{Actor, Origin},
    },
    store::{NoEvent, Outcome, StoreError, credentials::revoked_tokens},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{PATH, events_of, revoke, revoked};
use crate::{
    introspection::{MANAGEMENT, accepted_at_v1, at_every_endpoint, introspected, is_active, token, tokens},
    portal::key_management::{of_organization, people, personal},
    support::{
        Kind, Server, both,
        race::race,
        wire::{client_id, form, oauth_error},
    },
};

fn jti(token: &str) -> String {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["jti"].as_str().unwrap().to_owned()
}

both! {
    // Requirements: 7009-01.
    async fn key_revokes_its_own_tokens(server: Server) {
        let (key, product, management) = at_every_endpoint(&server).await;
        let (other_product, other_management) = tokens(&server, &key.value).await;
        revoke(&server, &key.value, &product).await;
        assert_eq!(accepted_at_v1(&server, &product, &management).await, [false, false, false, true]);
        revoke(&server, &key.value, &management).await;
        assert_eq!(accepted_at_v1(&server, &product, &management).await, [false; 4]);
        assert_eq!(accepted_at_v1(&server, &other_product, &other_management).await, [true; 4], "the key and its other tokens are as they were");

        let events = events_of(&server, "token.revoked", &key.id).await;
        let named: Vec<_> = events.iter().map(|event| event["data"].clone()).collect();
        assert_eq!(named, [json!({ "jti": jti(&product) }), json!({ "jti": jti(&management) })]);
        assert_eq!(events[0]["actor"], json!({ "type": "api_key", "id": key.id }));
        assert_eq!(events[0]["subject"], json!({ "type": "api_key", "id": key.id }));
        assert!(!server.events().await.iter().any(|event| event.to_string().contains(&product)));
        // A repeated revocation has no effect.
        revoke(&server, &key.value, &product).await;
        revoke(&server, &server.admin, &product).await;
        assert_eq!(events_of(&server, "token.revoked", &key.id).await.len(), 2);
    }

    // Requirements: 7009-01.
    async fn key_revokes_itself(server: Server) {
        let (key, product, management) = at_every_endpoint(&server).await;
        // Authenticated as its own client, in every form.
        let by_bearer = server.generic_key(&[]).await;
        revoke(&server, &by_bearer.value, &by_bearer.value).await;
        let by_body = server.generic_key(&[]).await;
        let id = client_id(&by_body.value);
        let pairs = [("token", by_body.value.as_str()), ("client_id", &id), ("client_secret", &by_body.value)];
        assert_eq!(form(server.post(PATH), &pairs).send().await.unwrap().status(), 200);
        let basic = server.post(PATH).basic_auth(&key.client, Some(&key.value));
        assert_eq!(form(basic, &[("token", &key.value)]).send().await.unwrap().status(), 200);
        for key in [&by_bearer, &by_body, &key] {
            assert_eq!(server.exchange(&key.value).await.status(), 401);
            assert!(!is_active(&server, &key.value).await);
            let events = events_of(&server, "api_key.revoked", &key.id).await;
            assert_eq!(events.len(), 1);
            assert_eq!(events[0]["actor"]["id"], key.id);
            let shown = server.manage("GET", &format!("/v1/api-keys/{}", key.id), None, 200).await;
            assert_eq!(shown["state"], "revoked");
        }
        assert_eq!(accepted_at_v1(&server, &product, &management).await, [false; 4], "its tokens fall with it");
        oauth_error(revoked(&server, &by_bearer.value, &by_bearer.value).await, 401, "invalid_token").await;
        // By an administrator, in any state of the key.
        let suspended = server.generic_key(&[]).await;
        server.step(&suspended, "suspend").await;
        for _ in 0..2 {
            revoke(&server, &server.admin, &suspended.value).await;
        }
        assert_eq!(events_of(&server, "api_key.revoked", &suspended.id).await.len(), 1);
    }

    // Requirements: 7009-02.
    async fn token_type_hint_is_ignored(server: Server) {
        let key = server.generic_key(&[]).await;
        for (turn, hint) in ["access_token", "refresh_token", "nonsense", ""].into_iter().enumerate() {
            let issued = server.fetch_token(&key.value).await;
            let pairs = [("token", issued.as_str()), ("token_type_hint", hint)];
            assert_eq!(form(server.post(PATH).bearer_auth(&key.value), &pairs).send().await.unwrap().status(), 200);
            assert!(!is_active(&server, &issued).await, "{hint}");
            assert_eq!(events_of(&server, "token.revoked", &key.id).await.len(), turn + 1);
        }
        let pairs = [("token", key.value.as_str()), ("token_type_hint", "access_token")];
        assert_eq!(form(server.post(PATH).bearer_auth(&key.value), &pairs).send().await.unwrap().status(), 200);
        assert_eq!(server.exchange(&key.value).await.status(), 401);
    }

    // Requirements: 7009-04.
    async fn revocation_on_one_server_is_effective_on_the_other_at_once(server: Server) {
        let replica = server.replica().await;
        for _ in 0..5 {
            let (key, product, management) = at_every_endpoint(&server).await;
            assert_eq!(accepted_at_v1(&replica, &product, &management).await, [true; 4]);
            revoke(&server, &key.value, &product).await;
            revoke(&replica, &key.value, &management).await;
            assert_eq!(accepted_at_v1(&replica, &product, &management).await, [false; 4]);
            assert_eq!(accepted_at_v1(&server, &product, &management).await, [false; 4]);
            revoke(&replica, &key.value, &key.value).await;
            assert_eq!(server.exchange(&key.value).await.status(), 401);
        }
    }

    async fn concurrent_revocations_leave_one_event(server: Server) {
        let replica = server.replica().await;
        for is_holder_first in [true, false] {
            let key = server.generic_key(&[]).await;
            let issued = server.fetch_token(&key.value).await;
            let revoke = |to: &Server, bearer: &str| form(to.post(PATH).bearer_auth(bearer), &[("token", &issued)]);
            let by_holder = (&server, revoke(&server, &key.value));
            let by_admin = (&replica, revoke(&replica, &replica.admin));
            let requests = if is_holder_first { [by_holder, by_admin] } else { [by_admin, by_holder] };
            let answers = race(requests).await;
            assert_eq!(answers.map(|answer| answer.status()), [StatusCode::OK; 2]);
            assert!(!is_active(&server, &issued).await);
            let events = events_of(&server, "token.revoked", &key.id).await;
            assert_eq!(events.len(), 1, "{events:?}");
            if server.database.kind == Kind::Postgres {
                let is_holders = events[0]["actor"]["id"] == key.id.as_str();
                assert_eq!(is_holders, is_holder_first, "the event is of the one that came first");
            }
        }
    }

    async fn token_issued_before_a_suspension_stays_revoked_after_resume(server: Server) {
        let key = server.generic_key(&[]).await;
        let (one, other) = (server.fetch_token(&key.value).await, server.fetch_token(&key.value).await);
        server.step(&key, "suspend").await;
        revoke(&server, &server.admin, &one).await;
        server.step(&key, "resume").await;
        assert_eq!((is_active(&server, &one).await, is_active(&server, &other).await), (false, true));
    }

    async fn caller_that_may_revoke_a_key_may_revoke_its_tokens(server: Server) {
        people(&server).await;
        let key = personal(&server, "self", &["projects:read"]).await;
        let issued = server.fetch_token(&key.value).await;
        let of_self = personal(&server, "self", &["user-api-keys:manage-self"]).await;
        let overseer = personal(&server, "overseer", &["user-api-keys:manage-all"]).await;
        revoke(&server, &of_self.value, &issued).await;
        assert!(!is_active(&server, &issued).await);
        let again = server.fetch_token(&key.value).await;
        revoke(&server, &overseer.value, &again).await;
        assert!(!is_active(&server, &again).await);
        let events = events_of(&server, "token.revoked", &key.id).await;
        assert_eq!(events[1]["organization_id"], "acme");
        revoke(&server, &overseer.value, &key.value).await;
        assert_eq!(server.exchange(&key.value).await.status(), 401);
        let of_acme = of_organization(&server, "acme", &["api-keys:manage"]).await;
        let other = of_organization(&server, "acme", &["projects:read"]).await;
        revoke(&server, &of_acme.value, &other.value).await;
        assert_eq!(server.exchange(&other.value).await.status(), 401);
        // Authenticated with a token for `/v1`.
        let manager = server.client_key(&["keyswap:keys"]).await;
        let bearer = token(&server, &manager.value, json!({ "audience": MANAGEMENT })).await;
        let last = server.generic_key(&[]).await;
        revoke(&server, &bearer, &last.value).await;
        assert_eq!(server.exchange(&last.value).await.status(), 401);
        revoke(&server, &bearer, &bearer).await;
        oauth_error(revoked(&server, &bearer, &bearer).await, 401, "invalid_token").await;
    }

    // Requirements: 7009-05.
    async fn revocation_is_stored_while_verifiers_may_accept_the_token(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&[]).await;
        let issued = server.fetch_token(&key.value).await;
        let exp = introspected(&server, &issued).await["exp"].as_i64().unwrap();
        revoke(&server, &key.value, &issued).await;
        let late = server.services.settings.timing.verifier_leeway + server.services.settings.timing.clock_skew;
        let forgotten = async || {
            let forget = move |tx: &mut keyswap::store::Tx<'_>| Ok::<_, StoreError>(Outcome::without_event(revoked_tokens::delete_expired(tx, late)?, NoEvent::Cleanup));
            server.services.store.run_transaction(Origin::of(Actor::System), forget).await.unwrap()
        };
        let end = (exp + i64::try_from(late.as_secs()).unwrap()) * 1000;
        let now = server.services.store.now().await.unwrap().millis();
        server.database.move_clock(end - now - 3000);
        assert_eq!(forgotten().await, 0, "a verifier may still take it");
        server.advance(4);
        assert_eq!((forgotten().await, forgotten().await), (1, 0));
        assert_eq!(late, Span::from_secs(90));
    }

    // Requirements: 7009-03.
    async fn no_200_before_the_revocation_is_committed(server: Server) {
        let key = server.generic_key(&[]).await;
        let issued = server.fetch_token(&key.value).await;
        for (table, shown) in [("revoked_tokens", &issued), ("events", &issued), ("events", &key.value)] {
            server.database.sql(&format!("ALTER TABLE {table} RENAME TO hidden"));
            let refused = revoked(&server, &key.value, shown).await;
            assert!(refused.headers().contains_key("retry-after"), "{table}");
            oauth_error(refused, 503, "temporarily_unavailable").await;
            server.database.sql(&format!("ALTER TABLE hidden RENAME TO {table}"));
            assert!(is_active(&server, &issued).await && is_active(&server, &key.value).await, "nothing was changed");
        }
        revoke(&server, &key.value, &issued).await;
        assert!(!is_active(&server, &issued).await);
    }
}
