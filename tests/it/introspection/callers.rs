//! Authentication and authorization of introspection requests.

use reqwest::{Response, StatusCode};
use serde_json::json;

use super::{MANAGEMENT, PATH, inactive, is_active, send_request, token};
use crate::{
    portal::key_management::{people, session},
    support::{
        body_of, both,
        wire::{client_id, form, oauth_error, unknown, wrong},
    },
};

fn challenge(response: &Response) -> String {
    response.headers()["www-authenticate"].to_str().unwrap().to_owned()
}

both! {
    // Requirements: 7662-01.
    async fn callers_authenticate_by_each_supported_method(server: Server) {
        let service = server.client_key(&["keyswap:validate"]).await;
        let shown = server.generic_key(&[]).await;
        let shown = ("token", shown.value.as_str());
        let bearer = token(&server, &service.value, json!({ "audience": MANAGEMENT })).await;
        for id in [service.client.clone(), service.id.clone(), client_id(&service.value)] {
            let basic = form(server.post(PATH).basic_auth(&id, Some(&service.value)), &[shown]);
            let body = form(server.post(PATH), &[shown, ("client_id", &id), ("client_secret", &service.value)]);
            for request in [basic, body] {
                assert_eq!(body_of(request.send().await.unwrap(), StatusCode::OK).await["active"], true, "{id}");
            }
        }
        for credential in [&service.value, &bearer] {
            let answer = send_request(&server, credential, shown.1).await;
            assert_eq!(body_of(answer, StatusCode::OK).await["active"], true);
        }
    }

    // Requirements: 7662-01.
    async fn unauthenticated_callers_are_refused(server: Server) {
        people(&server).await;
        let service = server.client_key(&["keyswap:validate"]).await;
        let other = server.client_key(&["keyswap:events"]).await;
        let product = server.fetch_token(&server.generic_key(&[]).await.value).await;
        let shown = ("token", service.value.as_str());
        let ask = async |request: reqwest::RequestBuilder| form(request, &[shown]).send().await.unwrap();

        let anonymous = ask(server.post(PATH)).await;
        assert!(challenge(&anonymous).starts_with("Basic "));
        oauth_error(anonymous, 401, "invalid_client").await;
        oauth_error(ask(server.post(PATH).header("x-api-key", &service.value)).await, 401, "invalid_client").await;
        for (id, secret) in [
            (client_id(&service.value), wrong(&service.value)), (client_id(&unknown()), unknown()),
            (other.client.clone(), service.value.clone()), ("ks".to_owned(), "nonsense".to_owned()),
        ] {
            let refused = ask(server.post(PATH).basic_auth(&id, Some(&secret))).await;
            assert!(challenge(&refused).starts_with("Basic "));
            oauth_error(refused, 401, "invalid_client").await;
            let pairs = [shown, ("client_id", id.as_str()), ("client_secret", secret.as_str())];
            oauth_error(form(server.post(PATH), &pairs).send().await.unwrap(), 401, "invalid_client").await;
        }
        let session = session(&server, "self", "acme").await;
        for bearer in [unknown(), wrong(&service.value), product, session, "nonsense".to_owned(), String::new()] {
            let refused = ask(server.post(PATH).bearer_auth(&bearer)).await;
            assert_eq!(challenge(&refused), r#"Bearer realm="keyswap", error="invalid_token""#);
            oauth_error(refused, 401, "invalid_token").await;
        }
        let refused = ask(server.post(PATH).bearer_auth(&other.value)).await;
        assert_eq!(challenge(&refused), r#"Bearer realm="keyswap", error="insufficient_scope", scope="keyswap:validate""#);
        oauth_error(refused, 403, "insufficient_scope").await;
        oauth_error(ask(server.post(PATH).basic_auth(&other.client, Some(&other.value))).await, 403, "insufficient_scope").await;

        let two_names = form(server.post(PATH).basic_auth(&service.client, Some(&service.value)), &[shown, ("client_id", &other.client)]);
        oauth_error(two_names.send().await.unwrap(), 401, "invalid_client").await;
        let twice = server.post(PATH).bearer_auth(&service.value).bearer_auth(&service.value);
        oauth_error(ask(twice).await, 400, "invalid_request").await;
        let both = [shown, ("client_id", service.client.as_str()), ("client_secret", service.value.as_str())];
        for request in [server.post(PATH).bearer_auth(&service.value), server.post(PATH).basic_auth(&service.client, Some(&service.value))] {
            oauth_error(form(request, &both).send().await.unwrap(), 400, "invalid_request").await;
        }
        let for_a_user = server.post(PATH).bearer_auth(&server.admin).header("keyswap-on-behalf-of", "self");
        oauth_error(ask(for_a_user).await, 400, "invalid_request").await;
        server.step(&service, "revoke").await;
        oauth_error(ask(server.post(PATH).bearer_auth(&service.value)).await, 401, "invalid_token").await;
    }

    // Requirements: 7662-01.
    async fn token_is_read_from_the_post_body_only(server: Server) {
        let key = server.generic_key(&[]).await;
        let in_url = format!("{PATH}?token={}", key.value);
        for method in ["GET", "PUT", "DELETE", "PATCH"] {
            let request = server.http.request(method.parse().unwrap(), server.url(&in_url)).bearer_auth(&server.admin);
            let refused = request.send().await.unwrap();
            assert_eq!(refused.headers()["allow"], "POST");
            oauth_error(refused, 405, "invalid_request").await;
        }
        let pairs = [("token", key.value.as_str())];
        let refused = form(server.post(&in_url).bearer_auth(&server.admin), &pairs).send().await.unwrap();
        oauth_error(refused, 400, "invalid_request").await;
        let json = server.post(PATH).bearer_auth(&server.admin).json(&json!({ "token": key.value })).send().await.unwrap();
        oauth_error(json, 415, "invalid_request").await;
        let long = "a".repeat(17_000);
        let refused = form(server.post(PATH).bearer_auth(&server.admin), &[("token", &long)]).send().await.unwrap();
        oauth_error(refused, 413, "invalid_request").await;
    }

    // Requirements: 7662-04.
    async fn wrong_hint_is_ignored_and_missing_token_is_refused(server: Server) {
        let key = server.generic_key(&[]).await;
        let issued = server.fetch_token(&key.value).await;
        let ask = async |pairs: &[(&str, &str)]| form(server.post(PATH).bearer_auth(&server.admin), pairs).send().await.unwrap();
        for shown in [&key.value, &issued] {
            for hint in ["access_token", "refresh_token", "api_key", "nonsense", ""] {
                let answer = ask(&[("token", shown), ("token_type_hint", hint), ("unknown", "x")]).await;
                assert_eq!(body_of(answer, StatusCode::OK).await["active"], true, "{hint}");
            }
            oauth_error(ask(&[("token", shown), ("token", shown)]).await, 400, "invalid_request").await;
            oauth_error(ask(&[("token", shown), ("token_type_hint", "a"), ("token_type_hint", "a")]).await, 400, "invalid_request").await;
        }
        oauth_error(ask(&[]).await, 400, "invalid_request").await;
        oauth_error(ask(&[("token", ""), ("token_type_hint", "access_token")]).await, 400, "invalid_request").await;
    }

    // Requirements: 7662-02.
    async fn service_sees_only_tokens_for_its_audience(server: Server) {
        let (one, other) = ("https://one.test/", "https://other.test/");
        server.permissions(&["a", "b"]).await;
        server.audience(one, Some(&["a"])).await;
        server.audience(other, Some(&["b"])).await;
        let owner = |id: &str| json!({ "type": "service_client", "id": id });
        let services = server.client_key(&["keyswap:validate"]).await;
        let service = async |audiences: serde_json::Value| {
            let body = json!({ "name": "a service", "owner": owner(&services.client), "permissions": ["keyswap:validate"], "audiences": audiences });
            server.key(body).await.value
        };
        let (at_one, at_both, at_none) = (
            service(json!([MANAGEMENT, one])).await, service(json!([MANAGEMENT, one, other])).await, service(json!([MANAGEMENT])).await,
        );
        let client = server.client_key(&["a", "b"]).await;
        let key = async |audiences: serde_json::Value| {
            let body = json!({ "name": "a key", "owner": owner(&client.client), "permissions": ["a", "b"], "audiences": audiences });
            server.key(body).await.value
        };
        let (for_one, for_other, for_any) = (key(json!([one])).await, key(json!([other])).await, client.value.clone());
        let token_one = token(&server, &for_any, json!({ "audience": one })).await;
        let token_other = token(&server, &for_any, json!({ "audience": other })).await;
        let token_default = token(&server, &for_any, json!({})).await;
        let of_admin = token(&server, &server.admin, json!({ "audience": MANAGEMENT })).await;
        let scope = async |service: &str, shown: &str| {
            let answer = body_of(send_request(&server, service, shown).await, StatusCode::OK).await;
            assert!(answer["active"] == true || answer == inactive());
            (answer["active"] == true).then(|| answer["scope"].as_str().unwrap_or_default().to_owned())
        };
        for (shown, one, both, any) in [
            (&token_one, Some("a"), Some("a"), Some("a")),
            (&token_other, None, Some("b"), Some("b")),
            (&token_default, None, None, Some("a b")),
            (&for_one, Some("a"), Some("a"), Some("a b")),
            (&for_other, None, Some("b"), Some("a b")),
            (&for_any, Some("a"), Some("a b"), Some("a b")),
            // A token for the management audience is reported as inactive.
            (&of_admin, None, None, None),
        ] {
            assert_eq!(scope(&at_one, shown).await.as_deref(), one, "{shown}");
            assert_eq!(scope(&at_both, shown).await.as_deref(), both, "{shown}");
            assert_eq!(scope(&at_none, shown).await, None, "{shown}");
            assert_eq!(scope(&services.value, shown).await.as_deref(), any, "{shown}");
        }
        // A key that cannot be used for the management audience cannot introspect.
        let elsewhere = service(json!([one])).await;
        oauth_error(send_request(&server, &elsewhere, &for_one).await, 403, "insufficient_scope").await;
    }

    async fn presented_values_are_in_no_event(server: Server) {
        let key = server.generic_key(&[]).await;
        let issued = server.fetch_token(&key.value).await;
        let before = server.events().await.len();
        assert!(is_active(&server, &key.value).await && is_active(&server, &issued).await);
        assert_eq!(server.events().await.len(), before, "a question changes nothing");
    }
}
