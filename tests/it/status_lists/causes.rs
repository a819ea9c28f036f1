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
    async fn of(server: &Server, places: &[&Place]) -> Self {
        let uri = places[0].0.clone();
        assert!(places.iter().all(|(one, _)| *one == uri));
        keep(server).await;
        let expected = marked(server, &uri).await;
        Self { uri, expected }
    }

    /// Asserts that this entry now has the status and that all others are unchanged.
    async fn sees(&mut self, server: &Server, (_, index): &Place, status: u8, why: &str) {
        if status == VALID {
            self.expected.remove(index)
        } else {
            self.expected.insert(*index, status)
        };
        self.still(server, why).await;
    }

    async fn still(&self, server: &Server, why: &str) {
        keep(server).await;
        assert_eq!(marked(server, &self.uri).await, self.expected, "{why}");
    }
}

async fn personal(server: &Server, organization: Option<&str>) -> Key {
    server.key_of(json!({ "type": "user", "id": "ada", "organization_id": organization }), &["a:b"]).await
}

both! {
    async fn what_is_done_to_a_key_shows(server: Server) {
        let (one, two, other) =
            (server.generic_key(&["a:b"]).await, server.generic_key(&["a:b"]).await, server.generic_key(&["a:b"]).await);
        let places = [place(&server, &one.value).await, place(&server, &two.value).await];
        let (old, kept) = (places[1].clone(), place(&server, &other.value).await);
        let mut watched = Watched::of(&server, &[&places[0], &places[1], &kept]).await;
        assert!(watched.expected.is_empty(), "all of them hold");
        step(&server, &one.id, "suspend").await;
        watched.sees(&server, &places[0], SUSPENDED, "suspended").await;
        step(&server, &one.id, "resume").await;
        watched.sees(&server, &places[0], VALID, "resumed").await;
        step(&server, &one.id, "suspend").await;
        step(&server, &one.id, "revoke").await;
        watched.sees(&server, &places[0], INVALID, "revoked, and graver than suspended").await;
        // A rotation with a grace period: the old credential becomes invalid at its end.
        let body = json!({ "grace": "1h" });
        let rotated = server.manage("POST", &format!("/v1/api-keys/{}/rotate", two.id), Some(body), 200).await;
        let new = place(&server, rotated["value"].as_str().unwrap()).await;
        assert_ne!(new, old, "each credential has a place of its own");
        watched.still(&server, "rotating").await;
        server.advance(3601);
        watched.sees(&server, &old, INVALID, "the grace has ended").await;
        delete(&server, &format!("/v1/api-keys/{}", two.id)).await;
        watched.sees(&server, &new, INVALID, "deleted").await;
    }

    async fn an_end_shows_when_it_comes_and_goes_where_it_is_moved(server: Server) {
        let end = (chrono::Utc::now() + chrono::Duration::hours(2)).to_rfc3339();
        server.permissions(&["a:b"]).await;
        let body = json!({ "name": "a key", "owner": { "type": "none" }, "permissions": ["a:b"], "expires_at": end });
        let key = server.key(body).await;
        let place = place(&server, &key.value).await;
        let mut watched = Watched::of(&server, &[&place]).await;
        watched.still(&server, "it has not ended").await;
        server.advance(7201);
        // Only time has passed.
        watched.sees(&server, &place, INVALID, "expired").await;
        server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(json!({ "expires_at": null })), 200).await;
        watched.sees(&server, &place, VALID, "its end was taken away").await;
    }

    async fn a_blocked_user_shows_on_all_of_their_keys_and_on_no_other(server: Server) {
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
        watched.sees(&server, &outside, SUSPENDED, "blocked").await;
        block(false).await;
        watched.expected.remove(&inside.1);
        watched.sees(&server, &outside, VALID, "unblocked").await;
    }

    async fn who_is_gone_takes_their_keys_along(server: Server, "jobs=by_hand") {
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
        watched.sees(&server, &places[0], INVALID, "the member left").await;
        // A recreated membership does not revive the old keys.
        server.member("acme", "ada", &["doer"]).await;
        watched.still(&server, "a new membership brings nothing back").await;
        delete(&server, "/v1/users/ada").await;
        watched.sees(&server, &places[1], INVALID, "the user is deleted").await;
        delete(&server, "/v1/organizations/acme").await;
        watched.sees(&server, &places[2], INVALID, "the organization is deleted").await;
        delete(&server, &format!("/v1/service-clients/{}", client["id"].as_str().unwrap())).await;
        watched.sees(&server, &places[3], INVALID, "the service client is deleted").await;
        // The jobs record the revocations. From then on, the build finds them in another way.
        server.run_jobs().await;
        let departures = server.services.store.read(keyswap::store::directory::owner_deletions::has_pending).await.unwrap();
        assert!(!departures, "all are told of");
        server.generic_key(&["c:d"]).await;
        watched.still(&server, "told of").await;
    }

    async fn a_creator_who_left_shows_where_keys_end_with_them(server: Server, "jobs=by_hand", "api_keys.end_with_creator=true") {
        acme(&server).await;
        let body = json!({ "name": "by ada", "owner": { "type": "organization" }, "permissions": ["a:b"] });
        let made = server.on_behalf("ada; organization=acme", "POST", "/v1/api-keys").json(&body).send().await.unwrap();
        let made = body_of(made, StatusCode::CREATED).await;
        let place = place(&server, made["value"].as_str().unwrap()).await;
        let mut watched = Watched::of(&server, &[&place]).await;
        delete(&server, "/v1/organizations/acme/members/ada").await;
        watched.sees(&server, &place, INVALID, "the creator left").await;
        server.run_jobs().await;
        let departures = server.services.store.read(keyswap::store::directory::owner_deletions::has_pending).await.unwrap();
        assert!(!departures, "it is told of");
        server.generic_key(&["c:d"]).await;
        watched.still(&server, "told of").await;
    }

    async fn of_a_hundred_keys_one_is_revoked_and_no_token_of_another_is_marked(server: Server, "jobs=by_hand") {
        server.permissions(&["a:b"]).await;
        let mut keys = Vec::new();
        let mut tokens: Vec<(usize, String)> = Vec::new();
        for number in 0..100 {
            let key = server.key(json!({ "name": "a key", "owner": { "type": "none" }, "permissions": ["a:b"] })).await;
            // All tokens of a key share one index.
            for _ in 0..2 {
                tokens.push((number, server.swap(&key.value).await));
            }
            keys.push(key);
        }
        let places: Vec<_> = tokens.iter().map(|(_, token)| place_in(&claims(token))).collect();
        assert!(places.chunks(2).all(|of_key| of_key[0] == of_key[1]));
        assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), 100);
        let uri = places[0].0.clone();
        keep(&server).await;
        assert!(marked(&server, &uri).await.is_empty());
        step(&server, &keys[42].id, "revoke").await;
        keep(&server).await;
        let marked = marked(&server, &uri).await;
        assert_eq!(marked.len(), 1, "its bit and no other: {marked:?}");
        // A verifier with the list needs no request about any of the tokens.
        for ((number, _), (at, index)) in tokens.iter().zip(&places) {
            assert_eq!(*at, uri);
            assert_eq!(marked.contains_key(index), *number == 42, "a token of key {number}");
        }
    }

    async fn the_job_alone_marks_what_is_revoked(server: Server, "signing_keys.replica_staleness=3s") {
        let key = server.generic_key(&["a:b"]).await;
        let (uri, index) = place(&server, &key.value).await;
        assert!(marked(&server, &uri).await.is_empty());
        step(&server, &key.id, "revoke").await;
        // After a third of the staleness limit, or later on a loaded machine.
        until("it is marked", LONG, async || marked(&server, &uri).await.get(&index) == Some(&INVALID)).await;
    }
}
