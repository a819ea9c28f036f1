//! Each cause of a status change sets the status of the affected credentials and of no others.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::*;
use crate::{
    faults::process::{LONG, until},
    support::{Key, both},
};

/// The status list under test and its expected contents.
struct Watched {
    uri: String,
    expected: BTreeMap<u32, u8>,
}

impl Watched {
    async fn of(server: &Server, places: &[&StatusIndex]) -> Self {
        let uri = places[0].0.clone();
        assert!(places.iter().all(|(one, _)| *one == uri));
        build_lists(server).await;
        let expected = marked(server, &uri).await;
        Self { uri, expected }
    }

    /// Asserts that this entry now has the status and that all others are unchanged.
    async fn expect_status(&mut self, server: &Server, (_, index): &StatusIndex, status: u8, why: &str) {
        if status == VALID {
            self.expected.remove(index)
        } else {
            self.expected.insert(*index, status)
        };
        self.expect_unchanged(server, why).await;
    }

    async fn expect_unchanged(&self, server: &Server, why: &str) {
        build_lists(server).await;
        assert_eq!(marked(server, &self.uri).await, self.expected, "{why}");
    }
}

async fn personal(server: &Server, organization: Option<&str>) -> Key {
    server.key_of(json!({ "type": "user", "id": "ada", "organization_id": organization }), &["a:b"]).await
}

both! {
    async fn every_change_of_a_key_sets_its_status(server: Server) {
        let (one, two, other) =
            (server.generic_key(&["a:b"]).await, server.generic_key(&["a:b"]).await, server.generic_key(&["a:b"]).await);
        let places = [place(&server, &one.value).await, place(&server, &two.value).await];
        let (old, kept) = (places[1].clone(), place(&server, &other.value).await);
        let mut watched = Watched::of(&server, &[&places[0], &places[1], &kept]).await;
        assert!(watched.expected.is_empty(), "all of them hold");
        step(&server, &one.id, "suspend").await;
        watched.expect_status(&server, &places[0], SUSPENDED, "suspended").await;
        step(&server, &one.id, "resume").await;
        watched.expect_status(&server, &places[0], VALID, "resumed").await;
        step(&server, &one.id, "suspend").await;
        step(&server, &one.id, "revoke").await;
        watched.expect_status(&server, &places[0], INVALID, "revoked, and graver than suspended").await;
        // A rotation with a grace period: the old credential becomes invalid at its end.
        let body = json!({ "grace": "1h" });
        let rotated = server.manage("POST", &format!("/v1/api-keys/{}/rotate", two.id), Some(body), 200).await;
        let new = place(&server, rotated["value"].as_str().unwrap()).await;
        assert_ne!(new, old, "each credential has a place of its own");
        watched.expect_unchanged(&server, "rotating").await;
        server.advance(3601);
        watched.expect_status(&server, &old, INVALID, "the grace has ended").await;
        delete(&server, &format!("/v1/api-keys/{}", two.id)).await;
        watched.expect_status(&server, &new, INVALID, "deleted").await;
    }

    async fn expiry_sets_the_status_and_extension_clears_it(server: Server) {
        let end = (chrono::Utc::now() + chrono::Duration::hours(2)).to_rfc3339();
        server.permissions(&["a:b"]).await;
        let body = json!({ "name": "a key", "owner": { "type": "none" }, "permissions": ["a:b"], "expires_at": end });
        let key = server.key(body).await;
        let place = place(&server, &key.value).await;
        let mut watched = Watched::of(&server, &[&place]).await;
        watched.expect_unchanged(&server, "it has not ended").await;
        server.advance(7201);
        // Only time has passed.
        watched.expect_status(&server, &place, INVALID, "expired").await;
        server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(json!({ "expires_at": null })), 200).await;
        watched.expect_status(&server, &place, VALID, "its end was taken away").await;
    }

    async fn blocking_or_locking_a_user_sets_the_status_of_their_keys_only(server: Server) {
        acme(&server).await;
        let (inside, outside) = (personal(&server, Some("acme")).await, personal(&server, None).await);
        let (inside, outside) = (place(&server, &inside.value).await, place(&server, &outside.value).await);
        let of_acme = server.key_of(json!({ "type": "organization", "id": "acme" }), &["a:b"]).await;
        let mut watched = Watched::of(&server, &[&inside, &outside, &place(&server, &of_acme.value).await]).await;
        let block = async |blocked: bool| {
            server.manage("PATCH", "/v1/users/ada", Some(json!({ "blocked": blocked })), 200).await;
        };
        block(true).await;
        watched.expected.insert(inside.1, SUSPENDED);
        watched.expect_status(&server, &outside, SUSPENDED, "blocked").await;
        block(false).await;
        watched.expected.remove(&inside.1);
        watched.expect_status(&server, &outside, VALID, "unblocked").await;
        server.manage("POST", "/v1/users/ada/lock", None, 200).await;
        watched.expected.insert(inside.1, SUSPENDED);
        watched.expect_status(&server, &outside, SUSPENDED, "locked").await;
        server.manage("POST", "/v1/users/ada/unlock", None, 200).await;
        watched.expected.remove(&inside.1);
        watched.expect_status(&server, &outside, VALID, "unlocked").await;
    }

    async fn deletion_of_an_owner_sets_the_status_of_its_keys(server: Server, "jobs=by_hand") {
        acme(&server).await;
        let inside = personal(&server, Some("acme")).await;
        let outside = personal(&server, None).await;
        let of_acme = server.key_of(json!({ "type": "organization", "id": "acme" }), &["a:b"]).await;
        let client = json!({ "name": "a client", "permissions": ["a:b"] });
        let client = server.manage("POST", "/v1/service-clients", Some(client), 201).await;
        let of_client = server.key_of(json!({ "type": "service_client", "id": client["id"] }), &["a:b"]).await;
        let mut places = Vec::new();
        for key in [&inside, &outside, &of_acme, &of_client] {
            places.push(place(&server, &key.value).await);
        }
        let mut watched = Watched::of(&server, &places.iter().collect::<Vec<_>>()).await;
        delete(&server, "/v1/organizations/acme/members/ada").await;
        watched.expect_status(&server, &places[0], INVALID, "the member left").await;
        // A recreated membership does not revive the old keys.
        server.member("acme", "ada", &["doer"]).await;
        watched.expect_unchanged(&server, "a new membership brings nothing back").await;
        delete(&server, "/v1/users/ada").await;
        watched.expect_status(&server, &places[1], INVALID, "the user is deleted").await;
        delete(&server, "/v1/organizations/acme").await;
        watched.expect_status(&server, &places[2], INVALID, "the organization is deleted").await;
        delete(&server, &format!("/v1/service-clients/{}", client["id"].as_str().unwrap())).await;
        watched.expect_status(&server, &places[3], INVALID, "the service client is deleted").await;
        // The jobs record the revocations. From then on, the build finds them in another way.
        server.run_jobs().await;
        let has_pending = server.services.store.read(keyswap::store::directory::owner_deletions::has_pending).await.unwrap();
        assert!(!has_pending, "all events are recorded");
        server.generic_key(&["c:d"]).await;
        watched.expect_unchanged(&server, "events recorded").await;
    }

    async fn departed_creator_sets_the_status_if_configured(server: Server, "jobs=by_hand", "api_keys.end_with_creator=true") {
        acme(&server).await;
        let body = json!({ "name": "by ada", "owner": { "type": "organization" }, "permissions": ["a:b"] });
        let made = server.on_behalf("ada; organization=acme", "POST", "/v1/api-keys").json(&body).send().await.unwrap();
        let made = body_of(made, StatusCode::CREATED).await;
        let place = place(&server, made["value"].as_str().unwrap()).await;
        let mut watched = Watched::of(&server, &[&place]).await;
        for (blocked, status) in [(true, SUSPENDED), (false, VALID)] {
            server.manage("PATCH", "/v1/users/ada", Some(json!({ "blocked": blocked })), 200).await;
            watched.expect_status(&server, &place, status, "the creator is blocked or not").await;
        }
        delete(&server, "/v1/organizations/acme/members/ada").await;
        watched.expect_status(&server, &place, INVALID, "the creator left").await;
        server.run_jobs().await;
        let has_pending = server.services.store.read(keyswap::store::directory::owner_deletions::has_pending).await.unwrap();
        assert!(!has_pending, "the event is recorded");
        server.generic_key(&["c:d"]).await;
        watched.expect_unchanged(&server, "events recorded").await;
    }

    async fn revocation_of_one_key_marks_no_token_of_others(server: Server, "jobs=by_hand") {
        server.permissions(&["a:b"]).await;
        let mut keys = Vec::new();
        let mut tokens: Vec<(usize, String)> = Vec::new();
        for number in 0..100 {
            let key = server.key(json!({ "name": "a key", "owner": { "type": "none" }, "permissions": ["a:b"] })).await;
            // All tokens of a key share one index.
            for _ in 0..2 {
                tokens.push((number, server.fetch_token(&key.value).await));
            }
            keys.push(key);
        }
        let places: Vec<_> = tokens.iter().map(|(_, token)| place_in(&claims(token))).collect();
        assert!(places.chunks(2).all(|of_key| of_key[0] == of_key[1]));
        assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), 100);
        let uri = places[0].0.clone();
        build_lists(&server).await;
        assert!(marked(&server, &uri).await.is_empty());
        step(&server, &keys[42].id, "revoke").await;
        build_lists(&server).await;
        let marked = marked(&server, &uri).await;
        assert_eq!(marked.len(), 1, "its bit and no other: {marked:?}");
        // A verifier with the list needs no request about any of the tokens.
        for ((number, _), (at, index)) in tokens.iter().zip(&places) {
            assert_eq!(*at, uri);
            assert_eq!(marked.contains_key(index), *number == 42, "a token of key {number}");
        }
    }

    async fn job_alone_marks_revoked_credentials(server: Server, "signing_keys.replica_staleness=3s") {
        let key = server.generic_key(&["a:b"]).await;
        let (uri, index) = place(&server, &key.value).await;
        assert!(marked(&server, &uri).await.is_empty());
        step(&server, &key.id, "revoke").await;
        // After a third of the staleness limit, or later on a loaded machine.
        until("it is marked", LONG, async || marked(&server, &uri).await.get(&index) == Some(&INVALID)).await;
    }
}
