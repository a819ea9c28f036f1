//! RFC 6750: bearer credentials at `/v1`.

use reqwest::{Response, StatusCode};

use crate::support::{
    body_of, both,
    wire::{problem, unknown},
};

/// The scheme and the attributes of the only challenge in a response. Asserts that no attribute
/// is repeated (6750-04).
fn challenge(answer: &Response) -> (String, Vec<(String, String)>) {
    let all: Vec<_> = answer.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(all.len(), 1);
    let (scheme, rest) = all[0].to_str().unwrap().split_once(' ').unwrap();
    let attributes: Vec<_> = rest
        .split(", ")
        .map(|attribute| {
            let (name, value) = attribute.split_once('=').unwrap();
            let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
            assert!(value.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E)), "{value}");
            (name.to_owned(), value.to_owned())
        })
        .collect();
    let mut names: Vec<_> = attributes.iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), attributes.len(), "{rest}");
    (scheme.to_owned(), attributes)
}

/// Asserts a `Bearer` challenge with a realm and exactly these other attributes.
fn challenges(answer: &Response, expected: &[(&str, &str)]) {
    let (scheme, attributes) = challenge(answer);
    assert_eq!(scheme, "Bearer");
    let found: Vec<_> = attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(found[0], ("realm", "keyswap"));
    // RFC 9728 section 5.1.
    let (metadata, attributes) = found[1..].split_last().unwrap();
    assert_eq!(metadata, &("resource_metadata", "http://keyswap.test/.well-known/oauth-protected-resource/v1"));
    assert_eq!(attributes, expected);
}

both! {
    // Requirements: 6750-01.
    async fn challenge_without_credentials_has_no_error(server: Server) {
        let requests = || [server.get("/v1/api-keys"), server.get("/v1/events"), server.post("/v1/exchange")];
        for request in requests() {
            let answer = request.send().await.unwrap();
            challenges(&answer, &[]);
            problem(answer, 401, "unauthorized").await;
        }
        for request in requests() {
            let answer = request.basic_auth("someone", Some("secret")).send().await.unwrap();
            challenges(&answer, &[]);
            problem(answer, 401, "unauthorized").await;
        }
    }

    // Requirements: 6750-02.
    async fn each_fault_has_its_status_and_error(server: Server) {
        for garbage in ["garbage", "a.b.c", unknown().as_str()] {
            let request = server.get("/v1/api-keys").header("authorization", format!("Bearer {garbage}"));
            let answer = request.send().await.unwrap();
            challenges(&answer, &[("error", "invalid_token")]);
            problem(answer, 401, "invalid_token").await;
        }
        let key = server.client_key(&["projects:read", "keyswap:events"]).await;
        for (path, needed) in [("/v1/api-keys", "keyswap:keys"), ("/v1/audiences", "keyswap:admin")] {
            let lacking = server.get(path).bearer_auth(&key.value).send().await.unwrap();
            challenges(&lacking, &[("error", "insufficient_scope"), ("scope", needed)]);
            problem(lacking, 403, "forbidden").await;
        }
        let twice = || server.get("/v1/events").bearer_auth(&key.value);
        for request in [twice().header("x-api-key", &key.value), twice().bearer_auth(&key.value)] {
            let answer = request.send().await.unwrap();
            challenges(&answer, &[("error", "invalid_request")]);
            problem(answer, 400, "bad_request").await;
        }
        body_of(twice().send().await.unwrap(), StatusCode::OK).await;
    }

    // Requirements: 6750-03.
    async fn scheme_is_case_insensitive_and_the_url_is_ignored(server: Server) {
        for header in ["Bearer", "bearer", "BEARER", "Bearer ", "bEaReR   "] {
            let request = server.get("/v1/api-keys").header("authorization", format!("{header} {}", server.admin));
            body_of(request.send().await.unwrap(), StatusCode::OK).await;
        }
        for name in ["access_token", "api_key", "key"] {
            let answer = server.get(&format!("/v1/api-keys?{name}={}", server.admin)).send().await.unwrap();
            challenges(&answer, &[]);
            problem(answer, 401, "unauthorized").await;
        }
        // Nor in a form body: RFC 6750 section 2.2 is optional and not supported.
        let form = format!("access_token={}", server.admin);
        let request = server.post("/v1/service-clients").header("content-type", "application/x-www-form-urlencoded");
        problem(request.body(form).send().await.unwrap(), 401, "unauthorized").await;
    }
}
