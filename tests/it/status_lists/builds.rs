//! Builds while other things happen: none is in vain, and what it could not see is news for the next.

use keyswap::{
    domain::event::{Actor, Origin},
    store::{self, Outcome, StoreError, status_tokens},
};
use serde_json::json;

use super::*;
use crate::support::both;

/// An audience each of whose tokens has a status of its own.
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

// No job builds in between: a third of the staleness is longer than a test.
both! {
    async fn a_build_is_written_however_many_tokens_are_revoked_meanwhile(server: Server, "signing_keys.replica_staleness=10m") {
        each(&server).await;
        let key = server.generic_key(&["a:b"]).await;
        let (one, two) = (token(&server, &key.value).await, token(&server, &key.value).await);
        let (uri, index) = place_in(&claims(&two));
        keep(&server).await;
        revoke(&server, &key.value, &one).await;
        // A build that has read, and is not written yet.
        let (before, seq) = server
            .app
            .store
            .read(|connection| Ok::<_, StoreError>((status_tokens::build(connection)?, status_tokens::head(connection)?)))
            .await
            .unwrap();
        revoke(&server, &key.value, &two).await;
        // As where the event of the second had been read, and its row had not.
        let seq = seq + 1;
        let written = server.app.store.change(Origin::of(Actor::System), move |tx| {
            Ok::<_, StoreError>(Outcome::bookkeeping(status_tokens::write(tx, &before, seq, None, &[])?))
        });
        assert!(written.await.unwrap(), "whoever revokes a token gets in no builder's way");
        keep(&server).await;
        assert_eq!(marked(&server, &uri).await.get(&index), Some(&INVALID), "what came meanwhile is news for the next");
        let build = server.app.store.read(store::status_tokens::build).await.unwrap();
        assert_eq!((build.revoked, build.built_revoked), (2, 2));
    }
}
