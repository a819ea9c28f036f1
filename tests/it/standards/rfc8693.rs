//! RFC 8693: the API key as the subject token.

use reqwest::StatusCode;
use serde_json::json;

use crate::support::{
    Key, body_of, both, verify,
    wire::{
        ACCESS_TOKEN, API_KEY, CLIENT_CREDENTIALS, IBM, JWT, TOKEN_EXCHANGE, client_id, exchange_of, form, oauth_error,
        unknown, wrong,
    },
};

fn with<'a>(key: &'a Key, extra: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    exchange_of(&key.value).into_iter().chain(extra.iter().copied()).collect()
}

both! {
    // Requirements: 8693-01, 8693-02.
    async fn subject_token_and_its_type_are_required(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let whole = exchange_of(&key.value);
        body_of(server.token(&whole).await, StatusCode::OK).await;
        for missing in ["subject_token", "subject_token_type"] {
            let rest: Vec<_> = whole.into_iter().filter(|(name, _)| *name != missing).collect();
            oauth_error(server.token(&rest).await, 400, "invalid_request").await;
            let emptied: Vec<_> = rest.into_iter().chain([(missing, "")]).collect();
            oauth_error(server.token(&emptied).await, 400, "invalid_request").await;
        }
    }

    // Requirements: 8693-03.
    async fn any_invalid_subject_token_is_invalid_request(server: Server) {
        let [revoked, suspended, expired, right] = [(); 4].map(|()| server.client_key(&["projects:read"]));
        let (revoked, suspended, expired, right) = (revoked.await, suspended.await, expired.await, right.await);
        server.step(&revoked, "revoke").await;
        server.step(&suspended, "suspend").await;
        let end = server.services.store.now().await.unwrap().plus("1s".parse().unwrap());
        server.manage("PATCH", &format!("/v1/api-keys/{}", expired.id), Some(json!({ "expires_at": end })), 200).await;
        server.advance(2);
        let mut checksum = right.value.clone();
        let last = checksum.pop().unwrap();
        checksum.push(if last == '0' { '1' } else { '0' });
        let mut bodies = Vec::new();
        let token = server.fetch_token(&right.value).await;
        for bad in [revoked.value, suspended.value, expired.value, unknown(), wrong(&right.value), checksum, token,
            "x".to_owned(), format!("{}.", right.value)] {
            bodies.push(oauth_error(server.token(&exchange_of(&bad)).await, 400, "invalid_request").await);
        }
        bodies.dedup();
        assert_eq!(bodies.len(), 1, "{bodies:?}");
    }

    // Requirements: 8693-04.
    async fn actor_tokens_are_refused_in_every_combination(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let (actor, kind) = (("actor_token", key.value.as_str()), ("actor_token_type", API_KEY));
        for extra in [&[actor][..], &[kind], &[actor, kind]] {
            oauth_error(server.token(&with(&key, extra)).await, 400, "invalid_request").await;
        }
    }

    // Requirements: 8693-05, 8693-07, 8693-08.
    async fn issued_token_type_is_the_requested_one(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        for (asked, issued) in [(None, ACCESS_TOKEN), (Some(ACCESS_TOKEN), ACCESS_TOKEN), (Some(JWT), JWT)] {
            let extra: Vec<_> = asked.map(|kind| ("requested_token_type", kind)).into_iter().collect();
            let body = body_of(server.token(&with(&key, &extra)).await, StatusCode::OK).await;
            assert_eq!(body["issued_token_type"], issued);
            assert_eq!((&body["token_type"], &body["scope"]), (&json!("Bearer"), &json!("projects:read")));
            assert!(body["access_token"].is_string() && body["expires_in"].is_u64());
            assert!(body.get("refresh_token").is_none());
        }
        for other in ["urn:ietf:params:oauth:token-type:refresh_token", "urn:ietf:params:oauth:token-type:id_token", API_KEY, "jwt"] {
            let refused = server.token(&with(&key, &[("requested_token_type", other)])).await;
            oauth_error(refused, 400, "invalid_request").await;
        }
    }

    // Requirements: 8693-06.
    async fn audiences_and_resources_can_be_repeated_and_combined(server: Server) {
        let key = server.client_key(&["projects:read", "projects:write", "billing:read"]).await;
        server.audience("https://a.test/", Some(&["projects:read", "projects:write"])).await;
        server.audience("b", Some(&["projects:read", "billing:read"])).await;
        let both = [("resource", "https://a.test/"), ("audience", "b"), ("audience", "b"), ("audience", "https://a.test/")];
        let body = body_of(server.token(&with(&key, &both)).await, StatusCode::OK).await;
        assert_eq!(body["scope"], "projects:read", "only what every one of them takes");
        let claims = verify(&server, body["access_token"].as_str().unwrap(), "b").await;
        let mut audiences = claims["aud"].as_array().unwrap().clone();
        audiences.sort_by_key(ToString::to_string);
        assert_eq!(audiences, [json!("b"), json!("https://a.test/")]);

        let nine: Vec<_> = (0..9).map(|i| format!("https://{i}.test/")).collect();
        let nine: Vec<_> = nine.iter().map(|uri| ("resource", uri.as_str())).collect();
        oauth_error(server.token(&with(&key, &nine)).await, 400, "invalid_target").await;
        for unknown in [[("audience", "no-such")], [("resource", "https://no-such.test/")], [("resource", "b")]] {
            oauth_error(server.token(&with(&key, &unknown)).await, 400, "invalid_target").await;
        }
    }

    // Requirements: 8693-09.
    async fn subject_token_type_is_the_urn_or_its_alias(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let of = |kind| [("grant_type", TOKEN_EXCHANGE), ("subject_token", key.value.as_str()), ("subject_token_type", kind)];
        for kind in [API_KEY, ACCESS_TOKEN] {
            body_of(server.token(&of(kind)).await, StatusCode::OK).await;
        }
        for kind in [JWT, "urn:ietf:params:oauth:token-type:saml2", "api-key", "URN:KEYSWAP:PARAMS:OAUTH:TOKEN-TYPE:API-KEY"] {
            oauth_error(server.token(&of(kind)).await, 400, "invalid_request").await;
        }
    }

    // Requirements: 8693-10.
    async fn exchange_does_not_invalidate_the_key(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        for _ in 0..3 {
            body_of(server.token(&exchange_of(&key.value)).await, StatusCode::OK).await;
        }
        let end = server.services.store.now().await.unwrap().plus("60s".parse().unwrap());
        server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(json!({ "expires_at": end })), 200).await;
        let body = body_of(server.token(&exchange_of(&key.value)).await, StatusCode::OK).await;
        assert!(body["expires_in"].as_i64().unwrap() <= 60);
        let claims = verify(&server, body["access_token"].as_str().unwrap(), "http://keyswap.test").await;
        assert!(claims["exp"].as_i64().unwrap() <= end.seconds());
    }

    // Requirements: 8693-11.
    async fn client_secret_beside_the_subject_token_must_be_the_same_key(server: Server) {
        let (key, other) = (server.client_key(&["projects:read"]).await, server.client_key(&["projects:read"]).await);
        let basic = |id: &str, secret: &str| server.post("/oauth/token").basic_auth(id, Some(secret));
        let ibm = [("grant_type", IBM), ("apikey", key.value.as_str())];
        for grant in [&exchange_of(&key.value)[..], &ibm[..]] {
            let send = async |request| form(request, grant).send().await.unwrap();
            let with_body = async |id: &str, secret: &str| {
                let pairs = [grant, &[("client_id", id), ("client_secret", secret)]].concat();
                form(server.post("/oauth/token"), &pairs).send().await.unwrap()
            };
            for id in [&key.client, &key.id, &client_id(&key.value)] {
                body_of(send(basic(id, &key.value)).await, StatusCode::OK).await;
                body_of(with_body(id, &key.value).await, StatusCode::OK).await;
                let alone = [grant, &[("client_id", id)]].concat();
                body_of(form(server.post("/oauth/token"), &alone).send().await.unwrap(), StatusCode::OK).await;
            }
            // Another client of the same key, with and without a secret.
            oauth_error(send(basic(&other.client, &key.value)).await, 401, "invalid_client").await;
            oauth_error(with_body("foo", &key.value).await, 401, "invalid_client").await;
            let alone = [grant, &[("client_id", "foo")]].concat();
            oauth_error(form(server.post("/oauth/token"), &alone).send().await.unwrap(), 401, "invalid_client").await;
            // Another secret, also a correct one.
            for secret in ["wrong", other.value.as_str()] {
                for answer in [send(basic(&key.client, secret)).await, with_body(&key.client, secret).await] {
                    let body = oauth_error(answer, 400, "invalid_request").await;
                    assert!(body["error_description"].as_str().unwrap().contains("client secret"), "{body}");
                }
            }
        }
        // The client authentication fails before the grant.
        let unknown = unknown();
        let answer = form(basic(&key.client, &unknown), &exchange_of(&unknown)).send().await.unwrap();
        oauth_error(answer, 401, "invalid_client").await;
    }

    // IBM's command line sends this pair with every request.
    async fn ibm_public_client_is_accepted_at_the_ibm_grant_only(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let ibm = [("grant_type", IBM), ("apikey", key.value.as_str())];
        for path in ["/identity/token", "/oauth/token"] {
            let answer = form(server.post(path).basic_auth("bx", Some("bx")), &ibm).send().await.unwrap();
            body_of(answer, StatusCode::OK).await;
        }
        for pair in [("bx", "by"), ("by", "bx")] {
            let answer = form(server.post("/identity/token").basic_auth(pair.0, Some(pair.1)), &ibm).send().await.unwrap();
            oauth_error(answer, 400, "invalid_request").await;
        }
        let exchange = form(server.post("/oauth/token").basic_auth("bx", Some("bx")), &exchange_of(&key.value));
        oauth_error(exchange.send().await.unwrap(), 400, "invalid_request").await;
        let client = form(server.post("/oauth/token").basic_auth("bx", Some("bx")), &[CLIENT_CREDENTIALS]);
        oauth_error(client.send().await.unwrap(), 401, "invalid_client").await;
    }

    // Requirements: 8693-14.
    async fn scope_is_one_string_and_client_id_is_the_client(server: Server) {
        let key = server.client_key(&["projects:read", "projects:write"]).await;
        let body = body_of(server.token(&with(&key, &[])).await, StatusCode::OK).await;
        let claims = verify(&server, body["access_token"].as_str().unwrap(), "http://keyswap.test").await;
        assert_eq!(claims["scope"], "projects:read projects:write");
        assert_eq!(claims["client_id"], key.client.as_str());
        assert!(claims.get("act").is_none() && claims.get("may_act").is_none());
    }
}
