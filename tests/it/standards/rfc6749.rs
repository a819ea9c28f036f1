//! RFC 6749: the token endpoint.

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use reqwest::StatusCode;
use serde_json::json;

use crate::support::{
    body_of, both, verify,
    wire::{ACCESS_TOKEN, CLIENT_CREDENTIALS, IBM, TOKEN_EXCHANGE, client_id, exchange_of, form, oauth_error, unknown},
};

/// `pairs` with one more parameter.
fn with<'a>(pairs: &[(&'a str, &'a str)], name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    pairs.iter().copied().chain([(name, value)]).collect()
}

both! {
    // Requirements: 6749-01.
    async fn token_endpoint_accepts_post_only(server: Server) {
        for path in ["/oauth/token", "/identity/token"] {
            for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
                let answer = server.http.request(method.parse().unwrap(), server.url(path)).send().await.unwrap();
                assert_eq!(answer.headers()["allow"], "POST");
                oauth_error(answer, 405, "invalid_request").await;
            }
            let head = server.http.head(server.url(path)).send().await.unwrap();
            assert_eq!((head.status().as_u16(), &head.headers()["allow"]), (405, &"POST".parse().unwrap()));
        }
    }

    // Requirements: 6749-02.
    async fn repeated_parameter_is_refused(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let id = client_id(&key.value);
        let body = [CLIENT_CREDENTIALS, ("client_id", &id), ("client_secret", &key.value), ("scope", "projects:read")];
        for (name, value) in body {
            oauth_error(server.token(&with(&body, name, value)).await, 400, "invalid_request").await;
            // An empty parameter counts as omitted, but sending it twice is still an error.
            oauth_error(server.token(&with(&body, name, "")).await, 400, "invalid_request").await;
        }
        for (name, value) in exchange_of(&key.value).into_iter().chain([("requested_token_type", ACCESS_TOKEN), ("foo", "1")]) {
            let twice = with(&with(&exchange_of(&key.value), "requested_token_type", ACCESS_TOKEN), "foo", "1");
            oauth_error(server.token(&with(&twice, name, value)).await, 400, "invalid_request").await;
        }
        let ibm = [("grant_type", IBM), ("apikey", &key.value), ("apikey", &key.value)];
        oauth_error(server.token(&ibm).await, 400, "invalid_request").await;
    }

    // Requirements: 6749-03.
    async fn unknown_parameter_is_ignored(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        body_of(server.token(&with(&exchange_of(&key.value), "foo", "1")).await, StatusCode::OK).await;
    }

    // Requirements: 6749-04.
    async fn empty_parameter_counts_as_omitted(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let mut pairs = exchange_of(&key.value).to_vec();
        for name in ["scope", "resource", "audience", "requested_token_type", "actor_token", "actor_token_type",
            "client_id", "client_secret", "client_assertion", "authorization_details"] {
            pairs.push((name, ""));
            let body = body_of(server.token(&pairs).await, StatusCode::OK).await;
            assert_eq!(body["scope"], "projects:read", "{name}");
        }
        let answer = server.token(&[("grant_type", "")]).await;
        assert!(oauth_error(answer, 400, "invalid_request").await["error_description"].as_str().unwrap().contains("missing"));
    }

    // Requirements: 6749-05.
    async fn credentials_in_the_url_are_refused(server: Server) {
        let metadata = body_of(server.get("/.well-known/oauth-authorization-server").send().await.unwrap(), StatusCode::OK).await;
        assert!(!metadata["token_endpoint"].as_str().unwrap().contains(['#', '?']));
        let key = server.client_key(&["projects:read"]).await;
        let id = client_id(&key.value);
        for query in [
            format!("?grant_type=client_credentials&client_id={id}&client_secret={}", key.value),
            format!("?client_secret={}", key.value),
            format!("?apikey={}", key.value),
            "?a".to_owned(),
        ] {
            // The body is irrelevant: clients would keep sending credentials in the URL
            // if some were accepted.
            for pairs in [&[CLIENT_CREDENTIALS, ("client_id", &id)][..], &exchange_of(&key.value)] {
                let request = form(server.post(&format!("/oauth/token{query}")), pairs);
                let body = oauth_error(request.send().await.unwrap(), 400, "invalid_request").await;
                assert!(!body.to_string().contains(&key.value));
            }
        }
    }

    // Requirements: 6749-06.
    async fn basic_credentials_are_form_encoded(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        for id in [client_id(&key.value), key.id.clone(), key.client.clone()] {
            for credentials in [
                format!("{id}:{}", key.value),
                format!("{}:{}", encoded(&id), encoded(&key.value)),
            ] {
                let whole = STANDARD.encode(&credentials);
                for header in [
                    format!("Basic {whole}"), format!("bAsIc {whole}"), format!("Basic   {whole}"),
                    format!("Basic {}", whole.trim_end_matches('=')),
                ] {
                    let request = server.post("/oauth/token").header("authorization", header);
                    body_of(form(request, &[CLIENT_CREDENTIALS]).send().await.unwrap(), StatusCode::OK).await;
                }
            }
        }
    }

    // Requirements: 6749-07.
    async fn credentials_in_the_body_are_accepted(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        for id in [client_id(&key.value), key.id.clone(), key.client.clone()] {
            let pairs = [CLIENT_CREDENTIALS, ("client_id", &id), ("client_secret", &key.value)];
            body_of(server.token(&pairs).await, StatusCode::OK).await;
        }
    }

    // Requirements: 6749-08.
    async fn two_authentication_methods_in_one_request_are_refused(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let id = client_id(&key.value);
        let basic = || server.post("/oauth/token").basic_auth(&id, Some(&key.value));
        for extra in [("client_secret", key.value.as_str()), ("client_assertion", "a.b.c"), ("client_id", "another")] {
            let answer = form(basic(), &[CLIENT_CREDENTIALS, extra]).send().await.unwrap();
            oauth_error(answer, 400, "invalid_request").await;
        }
        let twice = basic().basic_auth(&id, Some(&key.value));
        oauth_error(form(twice, &[CLIENT_CREDENTIALS]).send().await.unwrap(), 400, "invalid_request").await;
        let same = form(basic(), &[CLIENT_CREDENTIALS, ("client_id", &id)]).send().await.unwrap();
        body_of(same, StatusCode::OK).await;
    }

    // Requirements: 6749-09.
    async fn invalid_client_is_401_with_a_challenge(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let pairs = |id: &'static str| [CLIENT_CREDENTIALS, ("client_id", id), ("client_secret", &key.value)];
        let basic = server.post("/oauth/token").basic_auth("someone-else", Some(&key.value));
        for answer in [
            form(basic, &[CLIENT_CREDENTIALS]).send().await.unwrap(),
            server.token(&pairs("someone-else")).await,
            server.token(&[CLIENT_CREDENTIALS]).await,
            server.token(&[CLIENT_CREDENTIALS, ("client_secret", &key.value)]).await,
            form(server.post("/oauth/token").bearer_auth(&key.value), &[CLIENT_CREDENTIALS]).send().await.unwrap(),
            form(server.post("/oauth/token").header("authorization", "Basic !"), &[CLIENT_CREDENTIALS]).send().await.unwrap(),
        ] {
            assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic realm="));
            oauth_error(answer, 401, "invalid_client").await;
        }
    }

    // Requirements: 6749-10.
    async fn grant_types_match_the_metadata(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        for other in ["password", "authorization_code", "refresh_token", "CLIENT_CREDENTIALS", "client_credentials ", "x\"\\\n"] {
            let pairs = [("grant_type", other), ("client_id", &key.client), ("client_secret", &key.value)];
            oauth_error(server.token(&pairs).await, 400, "unsupported_grant_type").await;
        }
        oauth_error(server.token(&[("client_id", &key.client)]).await, 400, "invalid_request").await;
        oauth_error(server.token(&[]).await, 400, "invalid_request").await;
    }

    // Requirements: 6749-11.
    async fn scope_outside_the_grammar_or_the_grant_is_invalid(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        server.permissions(&["projects:write"]).await;
        for scope in [
            "projects:write", "projects:read projects:write", "no-such", "projects:read\tprojects:read", "projects:read\r",
            "projects:read\n", "\"projects:read\"", "projects\\read", "projécts", "projects:read  projects:read", " ",
            " projects:read", "projects:read ", "projects:read\0", "*", "keyswap:admin", "projects:read,projects:write",
        ] {
            oauth_error(server.token(&with(&exchange_of(&key.value), "scope", scope)).await, 400, "invalid_scope").await;
        }
    }

    // Requirements: 6749-12.
    async fn omitted_scope_is_the_full_scope_and_scope_is_case_sensitive(server: Server) {
        let key = server.client_key(&["projects:read", "projects:write"]).await;
        let all = body_of(server.token(&exchange_of(&key.value)).await, StatusCode::OK).await;
        assert_eq!(all["scope"], "projects:read projects:write");
        let turned = with(&exchange_of(&key.value), "scope", "projects:write projects:read");
        let turned = body_of(server.token(&turned).await, StatusCode::OK).await;
        assert_eq!(turned["scope"], all["scope"]);
        oauth_error(server.token(&with(&exchange_of(&key.value), "scope", "Projects:read")).await, 400, "invalid_scope").await;
    }

    // Requirements: 6749-13, 6749-14, 6749-17.
    async fn response_has_exactly_the_required_members(server: Server) {
        let key = server.client_key(&["projects:read", "projects:write"]).await;
        let asked = with(&exchange_of(&key.value), "scope", "projects:read");
        let basic = form(server.post("/oauth/token").basic_auth(&key.id, Some(&key.value)), &[CLIENT_CREDENTIALS]);
        for (answer, scope) in [
            (server.token(&asked).await, "projects:read"),
            (basic.send().await.unwrap(), "projects:read projects:write"),
        ] {
            for (name, value) in [("content-type", "application/json"), ("cache-control", "no-store"), ("pragma", "no-cache")] {
                assert_eq!(answer.headers()[name], value);
            }
            let body = body_of(answer, StatusCode::OK).await;
            assert_eq!((&body["scope"], &body["token_type"]), (&json!(scope), &json!("Bearer")));
            assert!(body["expires_in"].is_u64() && body["access_token"].is_string());
            assert!(body.get("refresh_token").is_none());
        }
    }

    // Requirements: 6749-15.
    async fn responses_with_secrets_are_not_cacheable(server: Server) {
        server.permissions(&["projects:read"]).await;
        let admin = |path: &str| server.post(path).bearer_auth(&server.admin);
        let body = json!({ "name": "a", "owner": { "type": "none" }, "permissions": ["projects:read"] });
        let created = admin("/v1/api-keys").json(&body).send().await.unwrap();
        assert_eq!(created.headers()["cache-control"], "no-store");
        let created = body_of(created, StatusCode::CREATED).await;
        let rotated = admin(&format!("/v1/api-keys/{}/rotate", created["id"].as_str().unwrap())).send().await.unwrap();
        assert_eq!((rotated.status(), &rotated.headers()["cache-control"]), (StatusCode::OK, &"no-store".parse().unwrap()));
    }

    // Requirements: 6749-18.
    async fn guesses_are_rate_limited(server: Server, "brute_force.per_source=5", "brute_force.refill=30s") {
        let key = server.client_key(&["projects:read"]).await;
        let guess = || async { server.token(&exchange_of(&unknown())).await };
        for _ in 0..5 {
            oauth_error(guess().await, 400, "invalid_request").await;
        }
        let throttled = guess().await;
        let wait: u64 = throttled.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert_eq!(wait, 30, "rounded up, so that a retry is not too early");
        oauth_error(throttled, 429, "temporarily_unavailable").await;
        let right = server.token(&exchange_of(&key.value)).await;
        assert_eq!(right.status(), 200, "a correct key is never throttled");
    }

    // Requirements: 6749-19.
    async fn unreadable_body_is_answered_in_json(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(exchange_of(&key.value)).finish();
        for content_type in ["application/json", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded2", ""] {
            let request = server.post("/oauth/token").header("content-type", content_type).body(body.clone());
            oauth_error(request.send().await.unwrap(), 415, "invalid_request").await;
        }
        oauth_error(server.post("/oauth/token").body(body.clone()).send().await.unwrap(), 415, "invalid_request").await;
        let charset = "Application/X-WWW-Form-Urlencoded; charset=UTF-8";
        let request = server.post("/oauth/token").header("content-type", charset).body(body);
        body_of(request.send().await.unwrap(), StatusCode::OK).await;
        let long = "a".repeat(17 * 1024);
        oauth_error(server.token(&with(&exchange_of(&key.value), "foo", &long)).await, 413, "invalid_request").await;
    }

    // Requirements: 6749-20.
    async fn client_ids_cannot_be_chosen(server: Server) {
        let chosen = json!({ "name": "a", "id": "user-1" });
        server.manage("POST", "/v1/service-clients", Some(chosen), 422).await;
        let key = server.client_key(&["projects:read"]).await;
        for claimed in ["user-1", "someone-else"] {
            let claimed = with(&exchange_of(&key.value), "client_id", claimed);
            oauth_error(server.token(&claimed).await, 401, "invalid_client").await;
        }
        let body = body_of(server.token(&with(&exchange_of(&key.value), "client_id", &key.client)).await, StatusCode::OK).await;
        let claims = verify(&server, body["access_token"].as_str().unwrap(), "http://keyswap.test").await;
        assert!(claims["sub"].as_str().unwrap().starts_with("svc_"));
        assert_eq!(claims["client_id"], claims["sub"]);
    }

    // Requirements: 6749-16.
    async fn errors_use_the_permitted_characters_and_never_echo_input(server: Server) {
        const MARK: &str = "EcHo7";
        let names = ["grant_type", "scope", "client_id", "client_secret", "subject_token", "subject_token_type",
            "requested_token_type", "resource", "audience", "apikey", "actor_token", "client_assertion", MARK];
        let grants = ["client_credentials", TOKEN_EXCHANGE, IBM, MARK];
        let pair = (prop::sample::select(names.to_vec()), any::<String>(), any::<bool>());
        let strategy = (prop::sample::select(grants.to_vec()), prop::collection::vec(pair, 0..5), any::<bool>());
        let mut runner = TestRunner::default();
        let mut refused = 0;
        for _ in 0..300 {
            let (grant, pairs, alone) = strategy.new_tree(&mut runner).unwrap().current();
            let mut sent: Vec<(String, String)> = if alone { vec![] } else { vec![("grant_type".to_owned(), grant.to_owned())] };
            sent.extend(pairs.into_iter().map(|(name, value, known)| {
                (name.to_owned(), if known { exchange_of(MARK)[2].1.to_owned() } else { format!("{MARK}{value}") })
            }));
            let sent: Vec<_> = sent.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let answer = server.token(&sent).await;
            let (status, headers) = (answer.status().as_u16(), format!("{:?}", answer.headers()));
            let text = answer.text().await.unwrap();
            assert!(!text.contains(MARK) && !headers.contains(MARK), "{sent:?}: {text} {headers}");
            let body: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!([400, 401].contains(&status), "{sent:?}: {status}");
            let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E);
            for name in ["error", "error_description"] {
                assert!(body[name].as_str().unwrap().bytes().all(allowed), "{text}");
            }
            refused += 1;
        }
        assert_eq!(refused, 300);
    }
}
