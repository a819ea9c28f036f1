//! RFC 9110, 9111 and 9112: caching of public documents, and the end of a request.

use reqwest::StatusCode;

use crate::support::{Raw, both};

const JWKS: &str = "/.well-known/jwks.json";
const METADATA: &str = "/.well-known/oauth-authorization-server";

/// A token request whose body contains a second request, which a recipient with another
/// interpretation of the head would process.
fn smuggled(version: &str, head: &str, body: &str) -> String {
    format!(
        "POST /oauth/token HTTP/{version}\r\n{head}Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}GET /healthz HTTP/1.1\r\nHost: hidden\r\n\r\n"
    )
}

both! {
    // Requirements: http-01.
    async fn public_documents_are_cacheable_and_conditional(server: Server, "signing_keys.verifier_cache_ttl=20m") {
        for path in [JWKS, METADATA] {
            let get = server.get(path).send().await.unwrap();
            let of = |answer: &reqwest::Response, name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(of(&get, "cache-control").unwrap(), "public, max-age=600", "half of what a verifier may hold on to");
            let etag = of(&get, "etag").unwrap();
            assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10, "a strong one: {etag}");
            assert!(of(&get, "vary").is_none(), "nothing is negotiated");
            let length = of(&get, "content-length").unwrap();
            let kind = of(&get, "content-type").unwrap();
            assert_eq!(kind, if path == JWKS { "application/jwk-set+json" } else { "application/json" });
            assert_eq!(get.text().await.unwrap().len().to_string(), length);

            for known in [etag.clone(), "*".to_owned(), format!("\"other\", {etag}"), format!("W/{etag}")] {
                let answer = server.get(path).header("if-none-match", &known).send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::NOT_MODIFIED, "{known}");
                assert_eq!(of(&answer, "cache-control").unwrap(), "public, max-age=600");
                assert_eq!((of(&answer, "etag").unwrap(), answer.text().await.unwrap()), (etag.clone(), String::new()));
            }
            for other in ["\"other\"", "", &etag[1..], "other"] {
                let answer = server.get(path).header("if-none-match", other).send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::OK, "{other}");
            }

            let head = server.http.head(server.url(path)).send().await.unwrap();
            assert_eq!(head.status(), StatusCode::OK);
            for name in ["cache-control", "etag", "content-type", "content-length"] {
                assert_eq!(of(&head, name), of(&server.get(path).send().await.unwrap(), name), "{name}");
            }
            assert_eq!(head.text().await.unwrap(), "");
        }
    }

    // Requirements: http-01.
    async fn etag_changes_with_the_keys(server: Server) {
        let etag = async || server.get(JWKS).send().await.unwrap().headers()["etag"].clone();
        let before = etag().await;
        assert_eq!(etag().await, before);
        server.advance(7200);
        server.manage("POST", "/v1/signing-keys/rotate", None, 200).await;
        assert_ne!(etag().await, before);
    }

    // Requirements: http-02.
    async fn freshness_is_stated_once(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        for request in [
            server.get(JWKS), server.get(METADATA), server.get("/healthz"), server.get("/readyz"),
            server.post("/v1/exchange").bearer_auth(&key.value), server.get("/v1/api-keys").bearer_auth(&server.admin),
            server.get("/v1/no-such-path"), server.get("/oauth/token"),
        ] {
            let answer = request.send().await.unwrap();
            let all: Vec<_> = answer.headers().get_all("cache-control").iter().map(|value| value.to_str().unwrap()).collect();
            assert_eq!(all.len(), 1, "{}", answer.url());
            let kinds = ["no-store", "public"].iter().filter(|kind| all[0].contains(*kind)).count();
            assert!(kinds == 1 && !all[0].contains("no-cache") && all[0].matches("max-age").count() <= 1, "{all:?}");
            assert!(answer.headers().get("expires").is_none());
        }
    }

    // Requirements: http-04.
    async fn ambiguous_length_is_refused_and_the_connection_closed(server: Server) {
        let host = "Host: keyswap.test\r\n";
        let chunked = "Transfer-Encoding: chunked\r\n";
        let none = "0\r\n\r\n";
        for (name, request) in [
            ("both lengths", smuggled("1.1", &format!("{host}Content-Length: 5\r\n{chunked}"), none)),
            ("both lengths, turned", smuggled("1.1", &format!("{host}{chunked}Content-Length: 5\r\n"), none)),
            ("two lengths that differ", smuggled("1.1", &format!("{host}Content-Length: 3\r\nContent-Length: 4\r\n"), "a=b")),
            ("the same length twice", smuggled("1.1", &format!("{host}Content-Length: 3\r\nContent-Length: 3\r\n"), "a=b")),
            ("two lengths in one line", smuggled("1.1", &format!("{host}Content-Length: 3, 3\r\n"), "a=b")),
            ("a sign", smuggled("1.1", &format!("{host}Content-Length: +3\r\n"), "a=b")),
            ("a negative length", smuggled("1.1", &format!("{host}Content-Length: -3\r\n"), "a=b")),
            ("a length in hex", smuggled("1.1", &format!("{host}Content-Length: 0x3\r\n"), "a=b")),
            ("a length beyond numbers", smuggled("1.1", &format!("{host}Content-Length: 99999999999999999999\r\n"), "a=b")),
            ("another coding", smuggled("1.1", &format!("{host}Transfer-Encoding: gzip\r\n"), none)),
            ("chunked is not last", smuggled("1.1", &format!("{host}Transfer-Encoding: chunked, gzip\r\n"), none)),
            ("a coding that looks like chunked", smuggled("1.1", &format!("{host}Transfer-Encoding: xchunked\r\n"), none)),
            ("chunked twice", smuggled("1.1", &format!("{host}{chunked}{chunked}"), none)),
            ("chunked in HTTP/1.0", smuggled("1.0", &format!("{host}{chunked}"), none)),
            ("a space before the colon", smuggled("1.1", &format!("{host}Content-Length : 3\r\n"), "a=b")),
            ("a space in the name", smuggled("1.1", &format!("{host}Content Length: 3\r\n"), "a=b")),
            ("a folded line", smuggled("1.1", &format!("{host}Content-Length:\r\n 3\r\n"), "a=b")),
            ("no host", smuggled("1.1", "Content-Length: 3\r\n", "a=b")),
            ("two hosts", smuggled("1.1", &format!("{host}Host: other\r\nContent-Length: 3\r\n"), "a=b")),
            ("no such version", smuggled("3.7", &format!("{host}Content-Length: 3\r\n"), "a=b")),
            ("NUL in a value", smuggled("1.1", &format!("{host}X-A: a\0b\r\nContent-Length: 3\r\n"), "a=b")),
            ("a bare CR", smuggled("1.1", &format!("{host}X-A: a\rContent-Length: 3\r\n"), "a=b")),
        ] {
            let mut raw = Raw::open(&server.base);
            raw.send(request.as_bytes());
            let answer = raw.read_all();
            assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.0 400 "), "{name}: {answer}");
            assert_eq!(answer.matches("HTTP/1.").count(), 1, "{name}: {answer}");
            assert!(!answer.to_ascii_lowercase().contains("text/plain"), "{name}: {answer}");
        }
    }

    // Requirements: http-04.
    async fn unambiguous_length_is_read_completely(server: Server) {
        let host = "Host: keyswap.test\r\n";
        for (head, body) in [
            (format!("{host}Content-Length: 3\r\n"), "a=b"),
            (format!("{host}Transfer-Encoding: chunked\r\n"), "3\r\na=b\r\n0\r\n\r\n"),
            (format!("{host}Transfer-Encoding: Chunked\r\n"), "3;ext=1\r\na=b\r\n0\r\n\r\n"),
        ] {
            let mut raw = Raw::open(&server.base);
            raw.send(smuggled("1.1", &head, body).replace("Host: hidden\r\n", "Host: hidden\r\nConnection: close\r\n").as_bytes());
            let answer = raw.read_all();
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "what follows the body is the next request: {answer}");
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("grant_type is missing"), "{answer}");
            assert!(answer.contains("HTTP/1.1 200 OK") && answer.ends_with("ok\n"), "{answer}");
        }
    }

    // Requirements: http-05.
    async fn unread_body_is_never_parsed_as_a_request(server: Server) {
        for path in ["/oauth/token", "/v1/exchange"] {
            let limit = if path == "/oauth/token" { 16 * 1024 } else { 64 * 1024 };
            let body = "a".repeat(limit + 1);
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: keyswap.test\r\nX-API-Key: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
                server.admin,
                if path == "/oauth/token" { "application/x-www-form-urlencoded" } else { "application/json" },
                body.len() + 1000
            );
            let mut raw = Raw::open(&server.base);
            raw.send(format!("{head}{body}").as_bytes());
            let answer = raw.read_all();
            assert!(answer.starts_with("HTTP/1.1 413 "), "{path}: {answer}");
            assert!(answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{path}: {answer}");
            framed(&answer);
        }
    }

    // Requirements: http-05.
    async fn errors_have_their_declared_length(server: Server) {
        for request in [
            "GET /oauth/token HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "GET /v1/api-keys HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "POST /v1/exchange HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        ] {
            let mut raw = Raw::open(&server.base);
            raw.send(request.as_bytes());
            framed(&raw.read_all());
        }
        let mut head = Raw::open(&server.base);
        head.send(b"HEAD /v1/exchange HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = head.read_all();
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.ends_with("\r\n\r\n"), "no body after HEAD: {answer}");
    }

    // RFC 9110 section 12.5.1.
    async fn metrics_have_the_format_that_accept_requests(server: Server) {
        let get = async |accept: Option<&str>| {
            let request = server.get("/metrics").bearer_auth(&server.admin);
            let request = accept.into_iter().fold(request, |request, accept| request.header("accept", accept));
            let answer = request.send().await.unwrap();
            assert_eq!(answer.headers()["vary"], "Accept");
            (answer.headers()["content-type"].to_str().unwrap().to_owned(), answer.text().await.unwrap())
        };
        for accept in [
            None,
            Some("*/*"),
            Some("text/plain"),
            Some("text/plain;q=0.9, application/openmetrics-text;q=0.5"),
            Some("text/html"),
        ] {
            let (kind, text) = get(accept).await;
            assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8", "{accept:?}");
            assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{accept:?}");
            // Each sample has the type that is declared under its own name.
            for line in text.lines().filter(|line| line.contains("_total") && !line.starts_with('#')) {
                let name = line.split(['{', ' ']).next().unwrap();
                assert!(text.contains(&format!("# TYPE {name} counter\n")), "{name}");
                assert!(text.contains(&format!("# HELP {name} ")), "{name}");
            }
        }
        for accept in [
            "application/openmetrics-text",
            "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        ] {
            let (kind, text) = get(Some(accept)).await;
            assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
            assert!(text.ends_with("# EOF\n"));
        }
    }
}

/// Asserts that the body has the length stated in the head.
fn framed(answer: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    assert_eq!(length, Some(body.len()), "{answer}");
    assert!(head.to_ascii_lowercase().contains("json"), "{answer}");
}
