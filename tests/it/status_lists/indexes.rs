//! Allocation of indexes: no index is allocated twice.

use std::collections::BTreeSet;

use keyswap::{
    domain::events::{Actor, Origin},
    store::{self, NoEvent, Outcome, StoreError},
};
use serde_json::json;

use super::*;
use crate::support::both;

both! {
    // Requirements: tsl-03.
    async fn two_servers_never_allocate_an_index_twice(server: Server) {
        server.permissions(&["a:b"]).await;
        let replica = server.replica().await;
        // The list is almost full, so both servers continue with the same new list.
        server.database.sql("UPDATE status_lists SET used = size / 2 - 10");
        let body = || json!({ "name": "a key", "owner": { "type": "none" }, "permissions": ["a:b"] });
        let made = (0..60).map(|n| if n % 2 == 0 { server.key(body()) } else { replica.key(body()) });
        let keys = futures_util::future::join_all(made).await;
        let mut places = BTreeSet::new();
        for key in &keys {
            assert!(places.insert(place(&server, &key.value).await), "two keys have one place");
        }
        let lists: BTreeSet<_> = places.iter().map(|(uri, _)| uri).collect();
        assert_eq!(lists.len(), 2, "{lists:?}");
        // The order of the indexes does not reveal the order of creation.
        let indexes: Vec<_> = places.iter().map(|(_, index)| *index).collect();
        assert!(indexes.iter().any(|index| *index > 65_536) && indexes.iter().any(|index| *index < 65_536));
        for uri in lists {
            signed(&replica, uri).await;
        }
    }

    async fn failed_change_allocates_no_index(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        let used = || used(&server);
        let before = used();
        assert_eq!(before.len(), 1);
        let create = async |permission: &str| {
            let body = json!({ "name": "a key", "owner": { "type": "none" }, "permissions": [permission] });
            server.post("/v1/api-keys").bearer_auth(&server.admin).json(&body).send().await.unwrap().status()
        };
        // Refused before an index is allocated.
        assert_eq!(create("x:y").await, 422);
        assert_eq!(used(), before);
        // Fails after the allocation, when the event is appended: the rollback returns the index.
        server.database.sql("UPDATE event_chain_head SET id = 2");
        let failed = create("a:b").await;
        server.database.sql("UPDATE event_chain_head SET id = 1");
        assert!(failed.is_server_error(), "{failed}");
        assert_eq!(used(), before);
        assert_eq!(create("a:b").await, 201);
        assert_eq!(used(), [before[0] + 1], "a create that succeeds takes one");
        place(&server, &key.value).await;
    }

    async fn audience_can_require_a_status_per_token(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        let body = json!({ "identifier": "https://each.test", "status": "token" });
        let made = server.manage("POST", "/v1/audiences", Some(body), 201).await;
        assert_eq!(made["status"], "token");
        let wrong = json!({ "identifier": "https://wrong.test", "status": "each" });
        let wrong = server.manage("POST", "/v1/audiences", Some(wrong), 422).await;
        assert_eq!(wrong["errors"][0]["field"], "status");
        let swap = async |audience: serde_json::Value| {
            let body = body_of(server.exchange_for(&key.value, json!({ "audience": audience })).await, StatusCode::OK).await;
            body["access_token"].as_str().unwrap().to_owned()
        };
        let raw_one = swap(json!("https://each.test")).await;
        let (one, two) = (claims(&raw_one), claims(&swap(json!("https://each.test")).await));
        // One audience with a status per token is sufficient.
        let three = claims(&swap(json!(["https://each.test", "http://keyswap.test"])).await);
        let shared = place(&server, &key.value).await;
        let places = [&one, &two, &three].map(place_in);
        let uri = places[0].0.clone();
        assert_ne!(uri, shared.0);
        assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), 3);
        build_lists(&server).await;
        assert!(marked(&server, &uri).await.is_empty());

        // RFC 7009: the holder of the key revokes one of its tokens, and the list shows the
        // revocation to verifiers.
        let revoke = async |token: &str| {
            let form = form_urlencoded::Serializer::new(String::new()).append_pair("token", token).finish();
            let request = server.post("/oauth/revoke").bearer_auth(&key.value).body(form);
            let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
        };
        for token in [&raw_one, &raw_one, &"absent value".to_owned()] {
            revoke(token).await;
        }
        let jti = one["jti"].as_str().unwrap().to_owned();
        let wanted = jti.clone();
        let found = server.services.store.read(move |connection| store::status_lists::find_token_status(connection, &wanted));
        let found = found.await.unwrap().unwrap();
        assert_eq!((found.key.to_string(), found.revoked_at.is_some()), (key.id.clone(), true));
        assert_eq!(found.place.index, places[0].1);
        build_lists(&server).await;
        assert_eq!(marked(&server, &uri).await, [(places[0].1, INVALID)].into(), "the token and no other");
        assert!(marked(&server, &shared.0).await.is_empty(), "the credential holds");

        step(&server, &key.id, "suspend").await;
        build_lists(&server).await;
        let expected = [(places[0].1, INVALID), (places[1].1, SUSPENDED), (places[2].1, SUSPENDED)];
        assert_eq!(marked(&server, &uri).await, expected.into(), "tokens fall with their credential");
        assert_eq!(marked(&server, &shared.0).await, [(shared.1, SUSPENDED)].into());
    }

    async fn full_token_list_is_deleted_after_its_last_token_expired(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        server.manage("POST", "/v1/audiences", Some(json!({ "identifier": "https://each.test", "status": "token" })), 201).await;
        let body = body_of(server.exchange_for(&key.value, json!({ "audience": "https://each.test" })).await, StatusCode::OK).await;
        let claims = claims(body["access_token"].as_str().unwrap());
        let exp = claims["exp"].as_i64().unwrap();
        let forget = async |end: i64| {
            let forgotten = server.services.store.run_transaction(Origin::of(Actor::System), move |tx| {
                Ok::<_, StoreError>(Outcome::without_event(store::status_lists::delete_expired_lists(tx, end)?, NoEvent::Cleanup))
            });
            forgotten.await.unwrap()
        };
        assert_eq!(forget(exp + 1).await, 0, "not full: its indexes would be given again");
        server.database.sql("UPDATE status_lists SET used = size / 2 WHERE kind = 'token'");
        assert_eq!(forget(exp).await, 0, "one of its tokens may be accepted still");
        assert_eq!(forget(exp + 1).await, 1);
        let (uri, _) = place_in(&claims);
        status_lists::refresh(&server.services).await.unwrap();
        assert_eq!(server.get(path(&uri)).send().await.unwrap().status(), 404);
        signed(&server, &place(&server, &key.value).await.0).await;
    }

    async fn clock_set_back_does_not_open_a_list_per_token(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        server.manage("POST", "/v1/audiences", Some(json!({ "identifier": "https://each.test", "status": "token" })), 201).await;
        let each = async || {
            let body = json!({ "audience": "https://each.test" });
            let body = body_of(server.exchange_for(&key.value, body).await, StatusCode::OK).await;
            place_in(&claims(body["access_token"].as_str().unwrap())).0
        };
        let full = "UPDATE status_lists SET used = size / 2";
        server.database.set_clock(7_200_000);
        let ahead = (each().await, place(&server, &server.generic_key(&["a:b"]).await.value).await.0);
        server.database.sql(full);
        // Also created while the clock was ahead: these lists are full, and their ids are newer
        // than those of all later lists.
        let ahead = [ahead.0, ahead.1, each().await, place(&server, &server.generic_key(&["a:b"]).await.value).await.0];
        server.database.sql(full);
        server.database.set_clock(-7_200_000);
        let first = (each().await, place(&server, &server.generic_key(&["a:b"]).await.value).await.0);
        assert!(!ahead.contains(&first.0) && !ahead.contains(&first.1));
        for _ in 0..3 {
            assert_eq!(each().await, first.0, "the one that has room");
            assert_eq!(place(&server, &server.generic_key(&["a:b"]).await.value).await.0, first.1);
        }
    }

    async fn closed_token_list_is_deleted_full_or_not(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        server.manage("POST", "/v1/audiences", Some(json!({ "identifier": "https://each.test", "status": "token" })), 201).await;
        let each = async || {
            let body = json!({ "audience": "https://each.test" });
            let body = body_of(server.exchange_for(&key.value, body).await, StatusCode::OK).await;
            let claims = claims(body["access_token"].as_str().unwrap());
            (place_in(&claims).0, claims["exp"].as_i64().unwrap())
        };
        let lists = async || {
            let lists = server.services.store.read(store::status_lists::list).await.unwrap();
            let of_tokens = lists.into_iter().filter(|list| list.kind == keyswap::domain::status_lists::StatusListKind::Token);
            of_tokens.map(|list| list.id.uri("http://keyswap.test")).collect::<Vec<_>>()
        };
        let forget = async |end: i64| {
            let forgotten = server.services.store.run_transaction(Origin::of(Actor::System), move |tx| {
                Ok::<_, StoreError>(Outcome::without_event(store::status_lists::delete_expired_lists(tx, end)?, NoEvent::Cleanup))
            });
            forgotten.await.unwrap()
        };
        let (old, _) = each().await;
        server.database.sql("UPDATE status_lists SET used = size / 2 WHERE kind = 'token'");
        let (open, exp) = each().await;
        // Emulates one of many lists that were created while the clock was behind: it has free
        // indexes, but none is allocated from it any more.
        server.database.sql("UPDATE status_lists SET used = 1 WHERE kind = 'token'");
        assert_eq!(forget(exp + 1).await, 1);
        assert_eq!(lists().await, std::slice::from_ref(&open), "{old} is gone");
        assert_eq!(forget(exp + 1).await, 0, "the open one stays: its indexes would be given again");
        assert_eq!(each().await.0, open);
    }
}

/// The number of allocated indexes of each list.
fn used(server: &Server) -> Vec<i64> {
    let lines = |query: &str| crate::faults::tables::lines_of(&server.database, query);
    lines("SELECT CAST(used AS TEXT) AS line FROM status_lists ORDER BY id")
        .iter()
        .map(|line| line.parse().unwrap())
        .collect()
}
