//! The token profile members `typ`, `scope_claim` and `aud_claim`.

use std::time::Duration;

use keyswap::{
    domain::events::{Actor, Origin},
    service::integrity,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{explained, path_of, token_for, token_profile};
use crate::{
    support::calls::call,
    support::{
        Kind, Server, body_of, both, header_of, verify,
        wire::{exchange_of, oauth_error, problem},
    },
};

const A: &str = "https://a.test/";
const B: &str = "https://b.test/";
const RESERVED: [&str; 4] = ["statuslist+jwt", "secevent+jwt", "token-introspection+jwt", "dpop+jwt"];

both! {
    async fn default_token_profile_is_unchanged(server: Server) {
        let key = server.client_key(&["projects:read", "projects:write"]).await;
        let audience = server.audience(A, None).await;
        for (member, value) in [
            ("algorithm", json!(null)), ("signs_with", json!("ES256")), ("typ", json!("at+jwt")), ("scope_claim", json!("scope")),
            ("aud_claim", json!("string")), ("claims", json!({})),
        ] {
            assert_eq!(audience[member], value, "{member}");
        }
        let (header, claims) = token_for(&server, &key.value, A).await;
        assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("ES256")));
        assert_eq!((&claims["aud"], &claims["scope"]), (&json!(A), &json!("projects:read projects:write")));
        assert!(claims.get("scp").is_none());
    }

    async fn token_follows_the_profile_of_its_audience(server: Server) {
        let key = server.client_key(&["projects:read", "projects:write"]).await;
        let none = server.generic_key(&[]).await;
        let body = json!({ "typ": "JWT", "scope_claim": "scp", "aud_claim": "array" });
        let audience = token_profile(&server, A, body).await;
        assert_eq!(server.manage("GET", &path_of(&audience), None, 200).await, audience);
        let (header, claims) = token_for(&server, &key.value, A).await;
        assert_eq!(header["typ"], "JWT");
        assert_eq!((&claims["aud"], &claims["scp"]), (&json!([A]), &json!(["projects:read", "projects:write"])));
        assert!(claims.get("scope").is_none());
        let (_, claims) = token_for(&server, &none.value, A).await;
        assert!(claims.get("scope").is_none() && claims.get("scp").is_none(), "absent where there is none: {claims}");
        // The token response keeps the `scope` member of RFC 6749.
        let pairs: Vec<_> = exchange_of(&key.value).into_iter().chain([("audience", A), ("scope", "projects:read")]).collect();
        let answer = body_of(server.token(&pairs).await, StatusCode::OK).await;
        assert_eq!(answer["scope"], "projects:read");

        for typ in ["application/at+jwt", "vnd.example+jwt"] {
            server.manage("PATCH", &path_of(&audience), Some(json!({ "typ": typ })), 200).await;
            assert_eq!(token_for(&server, &key.value, A).await.0["typ"], typ);
        }
        let back = json!({ "typ": null, "scope_claim": null, "aud_claim": null, "claims": null, "algorithm": null });
        let back = server.manage("PATCH", &path_of(&audience), Some(back), 200).await;
        assert_eq!((&back["typ"], &back["scope_claim"], &back["version"]), (&json!("at+jwt"), &json!("scope"), &json!(4)));
        let (header, claims) = token_for(&server, &key.value, A).await;
        assert_eq!((&header["typ"], &claims["aud"]), (&json!("at+jwt"), &json!(A)));
    }

    async fn default_audience_has_a_profile_and_management_audience_has_none(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let all = server.manage("GET", "/v1/audiences", None, 200).await["data"].as_array().unwrap().clone();
        let built_in = |kind: &str| path_of(all.iter().find(|one| one["built_in"] == kind).unwrap());
        let shape = json!({ "scope_claim": "scp" });
        server.manage("PATCH", &built_in("default"), Some(shape), 200).await;
        let claims = verify(&server, &server.fetch_token(&key.value).await, "http://keyswap.test").await;
        assert_eq!(claims["scp"], json!(["projects:read"]));

        let before = server.events().await.len();
        for body in [
            json!({ "typ": "JWT" }), json!({ "scope_claim": "scp" }), json!({ "aud_claim": "array" }), json!({ "algorithm": "RS256" }),
            json!({ "claims": { "a": "api_key.metadata.a" } }), json!({ "typ": "at+jwt" }), json!({ "algorithm": null }),
        ] {
            server.manage("PATCH", &built_in("management"), Some(body), 409).await;
        }
        server.manage("PATCH", &built_in("management"), Some(json!({ "token_ttl": "1m" })), 200).await;
        assert_eq!(server.events().await.len(), before + 1);
    }

    async fn management_api_accepts_access_tokens_only(server: Server) {
        let key = server.client_key(&["keyswap:keys"]).await;
        let audience = "http://keyswap.test/v1";
        let token = async || {
            let answer = server.exchange_for(&key.value, json!({ "audience": audience })).await;
            body_of(answer, StatusCode::OK).await["access_token"].as_str().unwrap().to_owned()
        };
        let listed = async |token: &str| call(&server, token, "GET", "/v1/api-keys", None, &[]).await;
        assert_eq!(listed(&token().await).await.status(), 200);
        // The API cannot set these values. If they are set in the database and an operator accepts
        // them, the management API still rejects a token of another type with the same claims.
        for typ in ["JWT", "application/at+jwt", "AT+JWT"] {
            server.database.sql(&format!("UPDATE audiences SET typ = '{typ}' WHERE built_in = 'management'"));
            let altered = integrity::check(&server.services, Duration::ZERO).await.unwrap().faults.pop().unwrap();
            integrity::accept(&server.services, altered.table.as_str(), altered.id, Origin::of(Actor::Operator)).await.unwrap();
            let token = token().await;
            assert_eq!(header_of(&token)["typ"], typ);
            verify(&server, &token, audience).await;
            problem(listed(&token).await, 401, "invalid_token").await;
        }
    }

    async fn all_faults_of_a_token_profile_are_reported_at_once(server: Server) {
        let before = server.events().await.len();
        let body = json!({
            "identifier": A, "permissions": ["no-such"], "token_ttl": "2h", "algorithm": "HS256", "typ": "a b", "scope_claim": "roles",
            "aud_claim": "object", "claims": { "exp": "api_key.metadata.a", "plan": "organization.plan" },
        });
        let refusal = server.manage("POST", "/v1/audiences", Some(body), 422).await;
        let fields: Vec<_> = refusal["errors"].as_array().unwrap().iter().map(|fault| fault["field"].as_str().unwrap()).collect();
        assert_eq!(fields,
            ["permissions", "token_ttl", "algorithm", "typ", "scope_claim", "aud_claim", "claims.exp", "claims.plan"]);
        let reserved = RESERVED.iter().flat_map(|typ| [(*typ).to_owned(), typ.to_uppercase(), format!("application/{typ}")]);
        let audience = server.audience(B, None).await;
        for typ in reserved.chain(["", "a_b", "a/b/c", "a;b", &"a".repeat(65)].map(str::to_owned)) {
            let body = json!({ "identifier": A, "typ": typ });
            let refusal = server.manage("POST", "/v1/audiences", Some(body), 422).await;
            assert_eq!(refusal["errors"][0]["field"], "typ", "{typ}: {refusal}");
            server.manage("PATCH", &path_of(&audience), Some(json!({ "typ": typ })), 422).await;
        }
        for body in [
            json!({ "signs_with": "ES256" }), json!({ "alg": "ES256" }), json!({ "algorithm": "none" }), json!({ "algorithm": "es256" }),
            json!({ "algorithm": ["ES256"] }), json!({ "claims": [] }), json!({ "claims": { "a": 1 } }), json!({ "claims": { "exp": "api_key.metadata.a" } }),
            json!({ "scope_claim": "" }), json!({ "aud_claim": "String" }),
        ] {
            server.manage("PATCH", &path_of(&audience), Some(body), 422).await;
        }
        let twice = r#"{"claims":{"a":"api_key.metadata.a","a":"api_key.metadata.b"}}"#;
        let request = server.http.patch(server.url(&path_of(&audience))).bearer_auth(&server.admin);
        let answer = request.header("content-type", "application/json").body(twice).send().await.unwrap();
        problem(answer, 422, "invalid").await;
        assert_eq!(server.manage("GET", &path_of(&audience), None, 200).await, audience);
        assert_eq!(server.events().await.len(), before + 1, "nothing but the one that was made");
    }

    async fn several_audiences_require_the_same_token_profile(server: Server) {
        let key = server.client_key(&["projects:read", "projects:write"]).await;
        let own = json!({ "api_key": "api_key.metadata.a" });
        let shape = json!({ "typ": "JWT", "scope_claim": "scp", "claims": own });
        let mut first = shape.clone();
        (first["token_ttl"], first["permissions"]) = (json!("2m"), json!(["projects:read"]));
        token_profile(&server, A, first).await;
        let second = token_profile(&server, B, shape).await;
        let ask = async || {
            let pairs: Vec<_> = exchange_of(&key.value).into_iter().chain([("audience", A), ("audience", B)]).collect();
            server.token(&pairs).await
        };
        let answer = body_of(ask().await, StatusCode::OK).await;
        assert_eq!((&answer["expires_in"], &answer["scope"]), (&json!(120), &json!("projects:read")));
        let token = answer["access_token"].as_str().unwrap();
        let claims = verify(&server, token, B).await;
        assert_eq!((&claims["aud"], &claims["scp"]), (&json!([A, B]), &json!(["projects:read"])));
        assert_eq!(explained(&server, &key.value, &[A, B]).await["granted"], true);

        for (other, same) in [
            (json!({ "typ": null }), json!({ "typ": "JWT" })), (json!({ "typ": "jwt" }), json!({ "typ": "JWT" })),
            (json!({ "scope_claim": "scope" }), json!({ "scope_claim": "scp" })),
            (json!({ "aud_claim": "array" }), json!({ "aud_claim": "string" })),
            (json!({ "claims": null }), json!({ "claims": { "api_key": "api_key.metadata.a" } })),
            (json!({ "claims": { "api_key": "api_key.metadata.b" } }), json!({ "claims": { "api_key": "api_key.metadata.a" } })),
            (json!({ "algorithm": "EdDSA" }), json!({ "algorithm": "ES256" })),
        ] {
            server.manage("PATCH", &path_of(&second), Some(other.clone()), 200).await;
            oauth_error(ask().await, 400, "invalid_target").await;
            let answer = server.exchange_for(&key.value, json!({ "audience": [A, B] })).await;
            problem(answer, 400, "invalid_target").await;
            let explained = explained(&server, &key.value, &[A, B]).await;
            assert_eq!((&explained["granted"], &explained["error"], &explained["reason"]),
                (&json!(false), &json!("invalid_target"), &json!("token_profile")), "{other}");
            for alone in [A, B] {
                token_for(&server, &key.value, alone).await;
            }
            server.manage("PATCH", &path_of(&second), Some(same), 200).await;
            body_of(ask().await, StatusCode::OK).await;
        }
        let explained = explained(&server, &key.value, &[A, "https://no.test/"]).await;
        assert_eq!(explained["reason"], "unknown");
    }
}

/// Runs each algorithm as that of the deployment and of the audience.
#[test]
fn token_profile_applies_with_every_algorithm() {
    for algorithm in ["ES384", "EdDSA", "PS256"] {
        Server::run(Kind::Sqlite, &[&format!("signing_keys.algorithm={algorithm}")], |server| async move {
            let key = server.client_key(&["a"]).await;
            token_profile(&server, A, json!({ "typ": "JWT", "scope_claim": "scp", "algorithm": algorithm })).await;
            let (header, claims): (Value, Value) = token_for(&server, &key.value, A).await;
            assert_eq!((&header["alg"], &header["typ"]), (&json!(algorithm), &json!("JWT")));
            assert_eq!(claims["scp"], json!(["a"]));
        });
    }
}
