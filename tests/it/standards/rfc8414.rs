//! RFC 8414 and OpenID Connect Discovery: the metadata.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    Server, body_of, both, verify,
    wire::{IBM, TOKEN_EXCHANGE, client_id, exchange_of, form, oauth_error},
};

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

async fn metadata(server: &Server, path: &str) -> Value {
    let answer = server.get(path).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    body_of(answer, StatusCode::OK).await
}

both! {
    // Requirements: 8414-01.
    async fn metadata_is_at_the_well_known_paths(server: Server) {
        assert_eq!(metadata(&server, OAUTH).await, metadata(&server, OPENID).await);
        oauth_error(server.get(&format!("{OAUTH}/")).send().await.unwrap(), 404, "invalid_request").await;
        oauth_error(server.get(&format!("{OAUTH}/t1")).send().await.unwrap(), 404, "invalid_request").await;
    }

    // Requirements: 8414-01.
    async fn well_known_path_precedes_the_issuer_path(server: Server, "server.public_url=http://keyswap.test/t1/t2") {
        let inserted = metadata(&server, &format!("{OAUTH}/t1/t2")).await;
        assert_eq!(inserted["issuer"], "http://keyswap.test/t1/t2");
        for path in [format!("/t1/t2{OPENID}"), format!("{OPENID}/t1/t2"), format!("/t1/t2{OAUTH}")] {
            assert_eq!(metadata(&server, &path).await, inserted, "{path}");
        }
        // The endpoints in the metadata exist below the path of the issuer.
        let key = server.client_key(&["projects:read"]).await;
        let of = |name: &str| inserted[name].as_str().unwrap().strip_prefix("http://keyswap.test").unwrap().to_owned();
        let request = form(server.post(&of("token_endpoint")), &exchange_of(&key.value));
        let body = body_of(request.send().await.unwrap(), StatusCode::OK).await;
        body_of(server.get(&of("jwks_uri")).send().await.unwrap(), StatusCode::OK).await;
        let claims = verify(&server, body["access_token"].as_str().unwrap(), "http://keyswap.test/t1/t2").await;
        assert_eq!(claims["iss"], inserted["issuer"]);
    }

    // Requirements: 8414-02.
    async fn issuer_is_identical_everywhere(server: Server, "server.public_url=https://keyswap.test:8443/A") {
        let found = metadata(&server, &format!("{OAUTH}/A")).await;
        assert_eq!(found["issuer"], "https://keyswap.test:8443/A");
        let key = server.client_key(&["projects:read"]).await;
        let claims = verify(&server, &server.fetch_token(&key.value).await, "https://keyswap.test:8443/A").await;
        assert_eq!(claims["iss"], found["issuer"]);
        for other in [format!("{OAUTH}/a"), format!("{OAUTH}/A/")] {
            assert_eq!(server.get(&other).send().await.unwrap().status(), 404);
        }
    }

    // Requirements: 8414-03.
    async fn response_types_are_present_and_not_empty(server: Server) {
        let found = metadata(&server, OAUTH).await;
        assert_eq!(found["response_types_supported"], json!(["none"]));
        assert!(found.get("authorization_endpoint").is_none());
        for (name, value) in found.as_object().unwrap() {
            assert!(value.as_array().is_none_or(|all| !all.is_empty()), "{name}: zero elements are left out (§3.2)");
        }
    }

    // Requirements: 8414-04.
    async fn metadata_names_the_supported_features(server: Server) {
        let found = metadata(&server, OAUTH).await;
        let issuer = "http://keyswap.test";
        assert_eq!(found["token_endpoint"], format!("{issuer}/oauth/token"));
        assert_eq!(found["jwks_uri"], format!("{issuer}/.well-known/jwks.json"));
        assert_eq!(found["grant_types_supported"], json!(["client_credentials", TOKEN_EXCHANGE, IBM]));
        let methods = &found["token_endpoint_auth_methods_supported"];
        assert_eq!(methods, &json!(["client_secret_basic", "client_secret_post", "none"]));
        assert!(found.get("token_endpoint_auth_signing_alg_values_supported").is_none(), "no private_key_jwt yet");
        assert_eq!(found["introspection_endpoint"], format!("{issuer}/oauth/introspect"));
        assert_eq!(found["introspection_endpoint_auth_methods_supported"], json!(["client_secret_basic", "client_secret_post", "Bearer"]));
        assert_eq!(found["introspection_signing_alg_values_supported"], json!(["ES256"]));
        assert_eq!(found["revocation_endpoint"], format!("{issuer}/oauth/revoke"));
        assert_eq!(found["revocation_endpoint_auth_methods_supported"], json!(["client_secret_basic", "client_secret_post"]));
        assert!(!found["id_token_signing_alg_values_supported"].to_string().contains("none"));
        let known: BTreeSet<_> = [
            "issuer", "token_endpoint", "jwks_uri", "grant_types_supported", "response_types_supported",
            "token_endpoint_auth_methods_supported", "subject_types_supported", "id_token_signing_alg_values_supported",
            "introspection_endpoint", "introspection_endpoint_auth_methods_supported", "introspection_signing_alg_values_supported",
            "revocation_endpoint", "revocation_endpoint_auth_methods_supported", "status_list_aggregation_endpoint",
            "service_documentation",
        ].into();
        let names: BTreeSet<_> = found.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, known, "8414-05: nothing is announced that does not answer");
    }

    // RFC 9701 section 7: one audience with RS256 does not make introspection sign with it.
    async fn signed_introspection_names_the_algorithm_that_signs_it(server: Server) {
        let id = server.audience("https://rs.test/", None).await["id"].as_str().unwrap().to_owned();
        server.manage("PATCH", &format!("/v1/audiences/{id}"), Some(json!({ "algorithm": "RS256" })), 200).await;
        let found = metadata(&server, OAUTH).await;
        assert_eq!(found["id_token_signing_alg_values_supported"], json!(["ES256", "RS256"]));
        assert_eq!(found["introspection_signing_alg_values_supported"], json!(["ES256"]));
    }

    // RFC 9728 sections 2, 3 and 5.1.
    async fn challenge_of_v1_leads_to_its_metadata(server: Server, "server.public_url=http://keyswap.test/t1") {
        for path in ["/v1/api-keys", "/t1/v1/api-keys"] {
            let refused = server.get(path).send().await.unwrap();
            let challenge = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
            let url = challenge.split("resource_metadata=\"").nth(1).unwrap().split('"').next().unwrap();
            assert_eq!(url, "http://keyswap.test/.well-known/oauth-protected-resource/t1/v1");
            let found = metadata(&server, url.strip_prefix("http://keyswap.test").unwrap()).await;
            assert_eq!(found["resource"], "http://keyswap.test/t1/v1");
            assert_eq!(found["authorization_servers"], json!(["http://keyswap.test/t1"]));
            assert_eq!(found["bearer_methods_supported"], json!(["header"]));
            // The resource is the audience that `/v1` requires of tokens.
            let body = json!({ "audience": found["resource"] });
            let token = body_of(server.exchange_for(&server.admin, body).await, StatusCode::OK).await;
            let call = server.get("/v1/api-keys").bearer_auth(token["access_token"].as_str().unwrap());
            assert_eq!(call.send().await.unwrap().status(), 200);
        }
        let refused = form(server.post("/oauth/introspect").bearer_auth("x"), &[("token", "x")]).send().await.unwrap();
        assert!(!refused.headers()["www-authenticate"].to_str().unwrap().contains("resource_metadata"));
    }

    // Requirements: 8414-06.
    async fn identifiers_are_compared_by_code_point(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        server.audience("https://a.test/%7Eb", None).await;
        let ask = async |audience: &str| {
            let pairs: Vec<_> = exchange_of(&key.value).into_iter().chain([("audience", audience)]).collect();
            server.token(&pairs).await
        };
        body_of(ask("https://a.test/%7Eb").await, StatusCode::OK).await;
        for other in ["https://a.test/~b", "https://a.test/%7eb", "https://A.test/%7Eb", "https://a.test:443/%7Eb", "HTTP://keyswap.test"] {
            oauth_error(ask(other).await, 400, "invalid_target").await;
        }
        // Client ids are not normalized either.
        let upper = client_id(&key.value).to_ascii_uppercase();
        let pairs = [("grant_type", "client_credentials"), ("client_id", &upper), ("client_secret", &key.value)];
        oauth_error(server.token(&pairs).await, 401, "invalid_client").await;
    }
}
