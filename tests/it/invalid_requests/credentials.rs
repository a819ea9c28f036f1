//! Missing, duplicate, malformed, unknown, wrong, suspended, expired and revoked credentials,
//! in every request form.

use serde_json::json;

use super::stored_state;
use crate::support::{
    Key, Server, both,
    wire::{
        CLIENT_CREDENTIALS, IBM, TOKEN_EXCHANGE, Wire, exchange_of, form, oauth_error, problem, snapshot, unknown,
        wrong,
    },
};

/// Creates one invalid value per reason, and a valid key.
async fn keys(server: &Server) -> (Vec<(&'static str, String)>, Key) {
    let permissions = ["projects:read", "keyswap:keys"];
    let [suspended, revoked, expired, deleted, ended, orphan, right] = [
        server.client_key(&permissions).await,
        server.client_key(&permissions).await,
        server.client_key(&permissions).await,
        server.client_key(&permissions).await,
        server.client_key(&permissions).await,
        server.client_key(&permissions).await,
        server.client_key(&permissions).await,
    ];
    server.step(&suspended, "suspend").await;
    server.step(&revoked, "revoke").await;
    let end = server.services.store.now().await.unwrap().plus("1s".parse().unwrap());
    server.manage("PATCH", &format!("/v1/api-keys/{}", expired.id), Some(json!({ "expires_at": end })), 200).await;
    server.manage("DELETE", &format!("/v1/api-keys/{}", deleted.id), None, 204).await;
    server.manage("POST", &format!("/v1/api-keys/{}/rotate", ended.id), Some(json!({ "grace": "0s" })), 200).await;
    server.manage("DELETE", &format!("/v1/service-clients/{}", orphan.client), None, 204).await;
    server.advance(2);
    let mut mistyped = right.value.clone();
    let last = mistyped.pop().unwrap();
    mistyped.push(if last == 'a' { 'b' } else { 'a' });
    let bad = vec![
        ("malformed", "no-key-at-all".to_owned()),
        ("mistyped", mistyped),
        ("cut off", right.value[..right.value.len() - 1].to_owned()),
        ("with another prefix", right.value.replacen("ks_", "sk_", 1)),
        ("unknown", unknown()),
        ("wrong", wrong(&right.value)),
        ("suspended", suspended.value),
        ("revoked", revoked.value),
        ("expired", expired.value),
        ("deleted", deleted.value),
        ("replaced", ended.value),
        ("without its owner", orphan.value),
        ("long", "a".repeat(5000)),
    ];
    (bad, right)
}

both! {
    async fn caller_is_authenticated_before_the_body_is_read(server: Server, "brute_force.per_source=3", "brute_force.refill=60s") {
        let send = async || {
            let request = server.post("/v1/api-keys").bearer_auth(unknown()).header("content-type", "text/plain");
            request.body("{").send().await.unwrap()
        };
        for _ in 0..3 {
            problem(send().await, 401, "invalid_token").await;
        }
        problem(send().await, 429, "throttled").await;
    }

    async fn invalid_keys_get_identical_responses_in_each_request_form(server: Server, "jobs=by_hand") {
        let (bad, right) = keys(&server).await;
        // Lets the jobs record the expiry event before the baseline is taken.
        server.run_jobs().await;
        let before = stored_state(&server).await;
        for wire in Wire::ALL {
            let good = wire.request(&server, &right.value).send().await.unwrap();
            assert_eq!(good.status(), 200, "{wire:?}: the request is right but for the key");
            let mut answers = Vec::new();
            for (name, key) in &bad {
                answers.push((*name, snapshot(wire.request(&server, key).send().await.unwrap()).await));
            }
            for (name, answer) in &answers {
                assert_eq!(*answer, answers[0].1, "{wire:?}: {name} and {} differ", answers[0].0);
            }
            let (status, code) = wire.refusal();
            let again = wire.request(&server, &bad[0].1).send().await.unwrap();
            if wire.speaks_oauth() {
                oauth_error(again, status, code).await;
            } else {
                assert!(again.headers()["www-authenticate"].to_str().unwrap().contains("error=\"invalid_token\""));
                problem(again, status, code).await;
            }
        }
        assert_eq!(stored_state(&server).await, before);
    }

    async fn valid_key_with_another_client_id_is_refused(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let other = server.client_key(&["projects:read"]).await;
        let bad = snapshot(Wire::Body.request(&server, &unknown()).send().await.unwrap()).await;
        for id in [other.id.as_str(), &other.client, "ks_0000000000000000", "", "administrator"] {
            let pairs = [CLIENT_CREDENTIALS, ("client_id", id), ("client_secret", key.value.as_str())];
            assert_eq!(snapshot(server.token(&pairs).await).await, bad, "{id}");
        }
    }

    async fn missing_credentials_are_answered_in_the_format_of_the_path(server: Server) {
        let before = stored_state(&server).await;
        oauth_error(server.token(&[CLIENT_CREDENTIALS]).await, 401, "invalid_client").await;
        oauth_error(server.token(&[("grant_type", TOKEN_EXCHANGE)]).await, 400, "invalid_request").await;
        oauth_error(server.token(&[("grant_type", IBM)]).await, 400, "invalid_request").await;
        for request in [
            server.post("/v1/exchange"), server.post("/v1/exchange/explain"), server.get("/v1/api-keys"),
            server.post("/v1/api-keys").json(&json!({ "name": "a", "owner": { "type": "none" } })),
            server.http.put(server.url("/v1/permissions/a")).json(&json!({ "assignable_to": [] })),
            server.http.delete(server.url("/v1/audiences/aud_01")), server.post("/v1/signing-keys/rotate"), server.get("/v1/events"),
        ] {
            problem(request.send().await.unwrap(), 401, "unauthorized").await;
        }
        assert_eq!(stored_state(&server).await, before);
    }

    async fn two_credentials_are_refused_even_if_both_are_valid(server: Server) {
        let key = server.client_key(&["projects:read", "keyswap:keys"]).await;
        for path in ["/v1/exchange", "/v1/exchange/explain"] {
            let both = server.post(path).bearer_auth(&key.value).header("x-api-key", &key.value);
            problem(both.send().await.unwrap(), 400, "bad_request").await;
            let twice = server.post(path).header("x-api-key", &key.value).header("x-api-key", &key.value);
            problem(twice.send().await.unwrap(), 400, "bad_request").await;
        }
        let both = server.get("/v1/api-keys").bearer_auth(&key.value).header("x-api-key", &key.value);
        problem(both.send().await.unwrap(), 400, "bad_request").await;
        let basic = server.post("/oauth/token").basic_auth(&key.client, Some(&key.value));
        let secret = [CLIENT_CREDENTIALS, ("client_id", key.client.as_str()), ("client_secret", &key.value)];
        oauth_error(form(basic, &secret).send().await.unwrap(), 400, "invalid_request").await;
    }

    async fn credentials_in_the_query_string_are_ignored(server: Server) {
        let before = stored_state(&server).await;
        let admin = &server.admin;
        for query in [format!("access_token={admin}"), format!("api_key={admin}"), format!("x-api-key={admin}")] {
            for request in [server.get(&format!("/v1/api-keys?{query}")), server.post(&format!("/v1/exchange?{query}"))] {
                let answer = request.send().await.unwrap();
                assert!([400, 401].contains(&answer.status().as_u16()));
                assert!(!answer.text().await.unwrap().contains(admin.as_str()));
            }
            // A credential in the query is refused even next to a valid header,
            // because URLs are logged.
            let also = server.get(&format!("/v1/api-keys?{query}")).bearer_auth(admin);
            problem(also.send().await.unwrap(), 400, "bad_request").await;
            let also = form(server.post(&format!("/oauth/token?{query}")), &exchange_of(admin));
            oauth_error(also.send().await.unwrap(), 400, "invalid_request").await;
        }
        assert_eq!(stored_state(&server).await, before);
    }
}
