//! Builds during other changes: no build is lost, and the next build includes what a build missed.

use std::time::Instant;

use keyswap::{
    domain::{
        access::audience::Identifier,
        common::id::StatusListId,
        events::{Actor, Origin},
        exchange::{grant, key_context::ExchangeParameters},
    },
    service::credentials::error::AuthError,
    store::{self, NoEvent, Outcome, StoreError, credentials::key_context::KeySelector, status_lists::signed_lists},
};
use serde_json::json;

use super::*;
use crate::support::{Key, both};

/// Creates an audience with a separate status for each token.
async fn each(server: &Server) {
    let body = json!({ "identifier": "https://each.test", "status": "token" });
    server.manage("POST", "/v1/audiences", Some(body), 201).await;
}

async fn token(server: &Server, key: &str) -> String {
    let body = json!({ "audience": "https://each.test" });
    let body = body_of(server.exchange_for(key, body).await, StatusCode::OK).await;
    body["access_token"].as_str().unwrap().to_owned()
}

async fn revoke(server: &Server, key: &str, token: &str) {
    let form = form_urlencoded::Serializer::new(String::new()).append_pair("token", token).finish();
    let request = server.post("/oauth/revoke").bearer_auth(key).body(form);
    let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

// No job builds in between.
both! {
    async fn build_succeeds_while_tokens_are_revoked(server: Server, "jobs=by_hand", "signing_keys.replica_staleness=10m") {
        each(&server).await;
        let key = server.generic_key(&["a:b"]).await;
        let (one, two) = (token(&server, &key.value).await, token(&server, &key.value).await);
        let (uri, index) = place_in(&claims(&two));
        build_lists(&server).await;
        revoke(&server, &key.value, &one).await;
        // A build that has read its input and is not written yet.
        let (before, seq) = server
            .services
            .store
            .read(|connection| Ok::<_, StoreError>((signed_lists::read_build_state(connection)?, signed_lists::read_last_event_number(connection)?)))
            .await
            .unwrap();
        revoke(&server, &key.value, &two).await;
        // Emulates a build that has read the event of the second revocation, but not its row.
        let seq = seq + 1;
        let written = server.services.store.run_transaction(Origin::of(Actor::System), move |tx| {
            Ok::<_, StoreError>(Outcome::without_event(signed_lists::write(tx, &before, seq, None, &[])?, NoEvent::InternalState))
        });
        assert!(written.await.unwrap(), "a revocation does not block a build");
        build_lists(&server).await;
        assert_eq!(marked(&server, &uri).await.get(&index), Some(&INVALID), "what came meanwhile is news for the next");
        let build = server.services.store.read(store::status_lists::signed_lists::read_build_state).await.unwrap();
        assert_eq!((build.revoked_token_count, build.included_revoked_token_count), (2, 2));
    }

    async fn key_revoked_during_an_exchange_gets_no_valid_status(server: Server, "jobs=by_hand", "signing_keys.replica_staleness=10m") {
        each(&server).await;
        let key = server.generic_key(&["a:b"]).await;
        let (uri, _) = place_in(&claims(&token(&server, &key.value).await));
        // An exchange that has looked up the key and has not issued a token yet.
        let granted = async |server: &Server, key: &Key| {
            let (id, targets) = (key.id.parse().unwrap(), ["https://each.test".parse::<Identifier>().unwrap()]);
            let found = server.services.store.read(move |connection| {
                store::credentials::key_context::load(connection, &KeySelector::Key(id), &targets.into())
            });
            let context = found.await.unwrap().unwrap().context;
            let request = ExchangeParameters { targets: context.audiences.iter().map(|audience| audience.identifier.clone()).collect(), ..ExchangeParameters::default() };
            grant::decide(&context, &request, &server.services.settings.limits).unwrap()
        };
        let slow = granted(&server, &key).await;
        assert!(status_lists::assign_token_index(&server.services, &slow, "alive").await.unwrap().is_some());
        step(&server, &key.id, "revoke").await;
        // The build reads the revocation, and no index of the token yet.
        build_lists(&server).await;
        let place = status_lists::assign_token_index(&server.services, &slow, "revoked").await;
        build_lists(&server).await;
        match place {
            Err(denied) => assert!(matches!(denied, AuthError::Credential(_)), "{denied:?}"),
            Ok(place) => {
                let index = place.unwrap().index;
                assert_eq!(marked(&server, &uri).await.get(&index), Some(&INVALID), "a token that stays valid");
            }
        }
    }

    async fn deleted_list_is_not_written_again(server: Server, "jobs=by_hand", "signing_keys.replica_staleness=10m") {
        each(&server).await;
        let key = server.generic_key(&["a:b"]).await;
        let (uri, _) = place_in(&claims(&token(&server, &key.value).await));
        build_lists(&server).await;
        signed(&server, &uri).await;
        let list: StatusListId = uri.rsplit('/').next().unwrap().parse().unwrap();
        // A build that has read the list and is not written yet.
        let wanted = list.clone();
        let (before, info, jwt) = server
            .services
            .store
            .read(move |connection| {
                let info = signed_lists::list_metadata(connection)?.into_iter().find(|info| info.list == wanted).unwrap();
                let jwt = signed_lists::find(connection, &wanted)?.unwrap().jwt;
                Ok::<_, StoreError>((signed_lists::read_build_state(connection)?, info, jwt))
            })
            .await
            .unwrap();
        server.database.sql("UPDATE status_lists SET used = size / 2 WHERE kind = 'token'");
        let forgotten = server.services.store.run_transaction(Origin::of(Actor::System), |tx| {
            Ok::<_, StoreError>(Outcome::without_event(store::status_lists::delete_expired_lists(tx, i64::MAX)?, NoEvent::Cleanup))
        });
        assert_eq!(forgotten.await.unwrap(), 1);
        let written = server.services.store.run_transaction(Origin::of(Actor::System), move |tx| {
            let signed = [signed_lists::SignedList { info, jwt }];
            Ok::<_, StoreError>(Outcome::without_event(signed_lists::write(tx, &before, before.event_cursor, None, &signed)?, NoEvent::InternalState))
        });
        assert!(written.await.unwrap());
        status_lists::refresh(&server.services).await.unwrap();
        assert_eq!(server.get(path(&uri)).send().await.unwrap().status(), 404);
    }

    async fn altered_index_affects_no_other(server: Server, "jobs=by_hand", "signing_keys.replica_staleness=10m") {
        let (bad, good) = (server.generic_key(&["a:b"]).await, server.generic_key(&["a:b"]).await);
        let (uri, index) = place(&server, &good.value).await;
        build_lists(&server).await;
        for key in [&bad, &good] {
            step(&server, &key.id, "revoke").await;
        }
        server.database.sql(&format!("UPDATE credentials SET status_index = 900000 WHERE key_id = '{}'", bad.id));
        build_lists(&server).await;
        assert_eq!(marked(&server, &uri).await, [(index, INVALID)].into());
        server.database.sql(&format!("UPDATE credentials SET status_index = -1 WHERE key_id = '{}'", bad.id));
        server.generic_key(&["c:d"]).await;
        build_lists(&server).await;
        assert_eq!(marked(&server, &uri).await, [(index, INVALID)].into());
    }

    async fn time_since_last_build_and_list_expiry_are_measured(server: Server, "jobs=by_hand") {
        let measured = async |name: &str| {
            let scraped = server.get("/metrics").bearer_auth(&server.admin).send().await.unwrap().text().await.unwrap();
            let line = scraped.lines().find_map(|line| line.strip_prefix(&format!("keyswap_status_list_{name} ")).map(str::to_owned));
            line.unwrap_or_else(|| panic!("{name}: {scraped}")).parse::<f64>().unwrap()
        };
        let before = Instant::now();
        build_lists(&server).await;
        let (kept, age) = (Instant::now(), measured("build_age_seconds").await);
        assert!(age <= before.elapsed().as_secs_f64(), "{age}");
        let left = measured("soonest_end_seconds").await;
        assert!((3500.0..=3600.0).contains(&left), "{left}");
        // Every build fails, and every refresh succeeds.
        server.database.sql("ALTER TABLE status_list_build RENAME TO hidden");
        server.advance(1000);
        assert!(status_lists::update(&server.services).await.is_err());
        status_lists::refresh(&server.services).await.unwrap();
        let since = kept.elapsed().as_secs_f64();
        assert!(measured("build_age_seconds").await >= since, "it grows old");
        assert!(measured("soonest_end_seconds").await < left - 990.0);
        server.advance(2700);
        status_lists::refresh(&server.services).await.unwrap();
        assert!(measured("soonest_end_seconds").await < 0.0, "it has ended");
        server.database.sql("ALTER TABLE hidden RENAME TO status_list_build");
        let before = Instant::now();
        build_lists(&server).await;
        let age = measured("build_age_seconds").await;
        assert!(age <= before.elapsed().as_secs_f64(), "it is built again: {age}");
        assert!(measured("soonest_end_seconds").await > 3000.0);
        assert!(measured("builds_lost_total").await < 0.5, "no other replica builds");
    }
}
