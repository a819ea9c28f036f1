//! One identical response for everything that is not active.

use std::{borrow::Cow, fs, path::Path, time::Instant};

use keyswap::{
    domain::exchange::claims::{AudienceClaim, Claims},
    service::credentials::verify::REFUSAL_DEADLINE,
};
use serde_json::{Value, json};

use super::{MANAGEMENT, PATH, inactive, is_active, send_request, token};
use crate::{
    portal::key_management::{people, personal, session},
    standards::rfc8725::{TokenForger, part},
    support::{
        body_of, both,
        wire::{form, snapshot, unknown, wrong},
    },
};

both! {
    // Requirements: 7662-02.
    async fn inactive_responses_are_identical(server: Server) {
        people(&server).await;
        let generic = async || server.generic_key(&[]).await;
        let (revoked, suspended, expired, right) = (generic().await, generic().await, generic().await, generic().await);
        let (of_revoked, of_suspended, of_right) =
            (server.fetch_token(&revoked.value).await, server.fetch_token(&suspended.value).await, server.fetch_token(&right.value).await);
        let blocked = personal(&server, "self", &["projects:read"]).await;
        let of_blocked = server.fetch_token(&blocked.value).await;
        let by_name = server.fetch_token(&right.value).await;
        let audience = server.audience("https://gone.test/", None).await;
        let for_gone = token(&server, &right.value, json!({ "audience": "https://gone.test/" })).await;
        server.manage("DELETE", &format!("/v1/audiences/{}", audience["id"].as_str().unwrap()), None, 204).await;
        let revocation = form(server.post("/oauth/revoke").bearer_auth(&right.value), &[("token", &by_name)]);
        assert_eq!(revocation.send().await.unwrap().status(), 200);
        let management = token(&server, &server.admin, json!({ "audience": MANAGEMENT })).await;
        let jwt = form(server.post(PATH).bearer_auth(&server.admin), &[("token", &right.value)]);
        let jwt = jwt.header("accept", "application/token-introspection+jwt").send().await.unwrap().text().await.unwrap();
        server.step(&revoked, "revoke").await;
        server.step(&suspended, "suspend").await;
        let end = server.services.store.now().await.unwrap().plus("1m".parse().unwrap());
        server.manage("PATCH", &format!("/v1/api-keys/{}", expired.id), Some(json!({ "expires_at": end })), 200).await;
        server.manage("PATCH", "/v1/users/self", Some(json!({ "blocked": true })), 200).await;
        server.advance(61);
        let session = session(&server, "reader", "acme").await;

        let forge = TokenForger::new(&server).await;
        let (header, payload) = (part(&of_right, 0), part(&of_right, 1));
        let of = async |header: &str, payload: &str| forge.token(header, payload).await;
        assert!(is_active(&server, &of(&header, &payload).await).await, "the forge works");
        let with = |member: &str| header.replacen('{', &format!("{{{member},"), 1);
        let typed = |typ: &str| header.replace("at+jwt", typ);
        let (head, signature) = of_right.rsplit_once('.').unwrap();
        let parts: Vec<_> = of_right.split('.').collect();
        let mut shown = vec![
            "ks_malformed".to_owned(), unknown(), wrong(&right.value), revoked.value, suspended.value, expired.value, blocked.value,
            of_revoked, of_suspended, of_blocked, by_name, for_gone, management, jwt, session,
            format!("{head}.{}", signature.chars().rev().collect::<String>()), format!("{head}."), head.to_owned(), format!("{of_right}.a.b"),
            format!("{of_right}\u{e9}"), "..".to_owned(), "\0".to_owned(), "{}".to_owned(), "Basic eDp5".to_owned(), "a".repeat(15_000),
            json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string(),
            json!({ "payload": parts[1], "signatures": [{ "protected": parts[0], "signature": parts[2] }] }).to_string(),
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzZWxmIn0.".to_owned(), "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJzZWxmIn0.c2lnbmF0dXJl".to_owned(),
            of(&with(r#""crit":["exp"]"#), &payload).await, of(&with(r#""crit":[]"#), &payload).await, of(&with(r#""b64":false"#), &payload).await,
            of(&with(r#""zip":"DEF""#), &payload).await, of(&with(r#""jku":"https://evil.test/""#), &payload).await,
            of(&with(r#""alg":"ES256""#), &payload).await,
            of(&header.replace("ES256", "none"), &payload).await, of(&header.replace("ES256", "HS256"), &payload).await,
            of(&header.replace("ES256", "es256"), &payload).await, of(&header.replace("ES256", "ES384"), &payload).await,
        ];
        for typ in ["statuslist+jwt", "token-introspection+jwt", "secevent+jwt", "JWT", "AT+JWT", "application/at+jwt", ""] {
            shown.push(of(&typed(typ), &payload).await);
        }
        for (from, to) in [
            (r#""iss":"http://keyswap.test""#, r#""iss":"http://other.test""#),
            (r#""aud":"http://keyswap.test""#, r#""aud":"https://unknown.test/""#),
            (r#""aud":"http://keyswap.test""#, r#""aud":[]"#),
            (r#""key_id":"key_"#, r#""key_id":"' OR 1=1 --"#),
            (r#""exp":"#, r#""exp":-1"#),
            // An index that does not belong to the key's credential; then no status at all.
            (r#""idx":"#, r#""idx":1"#),
            (r#""status":"#, r#""nostatus":"#),
            (r#""jti":"#, r#""nojti":"#),
        ] {
            assert!(payload.contains(from), "{from}");
            shown.push(of(&header, &payload.replace(from, to)).await);
        }
        let mut answers = Vec::new();
        for one in &shown {
            let started = Instant::now();
            answers.push(snapshot(send_request(&server, &server.admin, one).await).await);
            assert!(started.elapsed() >= REFUSAL_DEADLINE, "7662-06: on the tick, or later: {one}");
        }
        server.advance(600);
        answers.push(snapshot(send_request(&server, &server.admin, &of_right).await).await);
        assert_eq!((answers[0].0.as_u16(), answers[0].2.as_str()), (200, r#"{"active":false}"#));
        for (answer, one) in answers.iter().zip(shown.iter().chain([&"an expired token".to_owned()])) {
            assert_eq!(answer, &answers[0], "{one}");
        }
        assert!(is_active(&server, &right.value).await);
    }

    async fn token_of_an_unknown_audience_is_inactive(server: Server) {
        let key = server.generic_key(&[]).await;
        let claims: Claims = serde_json::from_str(&part(&server.fetch_token(&key.value).await, 1)).unwrap();
        let signed = async |typ: &str, claims: &Claims<'_>| {
            let view = server.services.keys.view();
            let signer = view.select_signer_at_refresh(server.services.settings.signing_keys.algorithm).unwrap();
            signer.sign_token(&typ.parse().unwrap(), claims).await.unwrap().expose().to_owned()
        };
        assert!(is_active(&server, &signed("at+jwt", &claims).await).await);
        assert!(!is_active(&server, &signed("JWT", &claims).await).await);
        let both = AudienceClaim::Multiple(vec!["http://keyswap.test".parse().unwrap(), MANAGEMENT.parse().unwrap()]);
        assert!(!is_active(&server, &signed("at+jwt", &Claims { aud: Cow::Owned(both), ..claims }).await).await);
    }

    async fn wycheproof_signatures_of_other_keys_are_inactive(server: Server) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/wycheproof_json_web_signature_test.json");
        let vectors: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let mut tried = 0;
        for test in vectors["testGroups"].as_array().unwrap().iter().flat_map(|group| group["tests"].as_array().unwrap()) {
            let shown = test["jws"].as_str().unwrap();
            let answer = send_request(&server, &server.admin, shown).await;
            // An empty `token` parameter is an invalid request.
            if shown.is_empty() {
                assert_eq!(answer.status(), 400);
            } else {
                assert_eq!(body_of(answer, reqwest::StatusCode::OK).await, inactive(), "{}", test["tcId"]);
            }
            tried += 1;
        }
        assert_eq!(tried, vectors["numberOfTests"].as_u64().unwrap());
    }

    async fn database_outage_is_not_an_inactive_token(server: Server) {
        let key = server.generic_key(&[]).await;
        let issued = server.fetch_token(&key.value).await;
        server.database.sql("ALTER TABLE revoked_tokens RENAME TO hidden");
        let answer = send_request(&server, &server.admin, &issued).await;
        assert!(answer.headers().contains_key("retry-after"));
        crate::support::wire::oauth_error(answer, 503, "temporarily_unavailable").await;
        assert_eq!(server.exchange(&key.value).await.status(), 200, "the exchange never asks");
        server.database.sql("ALTER TABLE hidden RENAME TO revoked_tokens");
        assert!(is_active(&server, &issued).await);
    }
}
