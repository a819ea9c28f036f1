//! Unknown paths, unsupported methods and request heads that are too long.

use super::stored_state;
use crate::support::{
    Raw, both,
    wire::{oauth_error, problem},
};

both! {
    async fn unknown_path_is_answered_in_the_format_of_its_prefix(server: Server) {
        for path in ["/oauth/tokens", "/oauth/token/", "/oauth/", "/oauth", "/oauth/introspect/", "/oauth/revoke/", "/oauth/revocation", "/identity/x", "/.well-known/x", "/.well-known"] {
            for request in [server.get(path), server.post(path)] {
                oauth_error(request.send().await.unwrap(), 404, "invalid_request").await;
            }
        }
        for path in ["/", "/v1", "/v1/", "/v1/no-such", "/v1/api-keys/", "/V1/api-keys", "//v1/api-keys", "/v1/oauth/token",
            "/v1/permissions/x/oauth/y", "/v1/api-keys/key_0/.well-known/z", "/v1/%6Eothing", "/%FF", "/v1/api-keys/%00/rotate/x"] {
            for request in [server.get(path), server.post(path)] {
                problem(request.bearer_auth(&server.admin).send().await.unwrap(), 404, "not_found").await;
            }
        }
    }

    async fn issuer_path_does_not_affect_the_error_format(server: Server, "server.public_url=http://keyswap.test/oauth/x") {
        for path in ["/oauth/x/v1/no-such", "/oauth/x/no-such", "/v1/no-such"] {
            problem(server.get(path).send().await.unwrap(), 404, "not_found").await;
        }
        problem(server.get("/oauth/x/v1/exchange").send().await.unwrap(), 405, "method_not_allowed").await;
        oauth_error(server.get("/oauth/x/oauth/token").send().await.unwrap(), 405, "invalid_request").await;
        oauth_error(server.get("/oauth/x/.well-known/y").send().await.unwrap(), 404, "invalid_request").await;
        oauth_error(server.get("/oauth/token").send().await.unwrap(), 405, "invalid_request").await;
    }

    async fn unsupported_method_lists_the_supported_ones(server: Server) {
        let before = stored_state(&server).await;
        for (path, allow) in [
            ("/v1/exchange", "POST"), ("/v1/exchange/explain", "POST"), ("/v1/api-keys", "GET, HEAD, POST"),
            ("/v1/api-keys/key_1", "GET, HEAD, PATCH, DELETE"), ("/v1/api-keys/key_1/revoke", "POST"),
            ("/v1/permissions", "GET, HEAD"), ("/v1/permissions/a", "GET, HEAD, PUT, DELETE"), ("/v1/events", "GET, HEAD"),
        ] {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"] {
                if allow.split(", ").any(|allowed| allowed == method) {
                    continue;
                }
                let request = server.http.request(method.parse().unwrap(), server.url(path)).bearer_auth(&server.admin);
                let answer = request.send().await.unwrap();
                assert_eq!(answer.headers()["allow"], allow, "{method} {path}");
                problem(answer, 405, "method_not_allowed").await;
            }
        }
        for path in ["/.well-known/jwks.json", "/.well-known/openid-configuration"] {
            for method in ["POST", "DELETE", "FOO"] {
                let answer = server.http.request(method.parse().unwrap(), server.url(path)).send().await.unwrap();
                assert_eq!(answer.headers()["allow"], "GET, HEAD, OPTIONS");
                oauth_error(answer, 405, "invalid_request").await;
            }
        }
        assert_eq!(stored_state(&server).await, before);
    }

    async fn malformed_id_is_answered_like_an_unknown_one(server: Server) {
        let absent = async |path: String| {
            let answer = server.get(&path).bearer_auth(&server.admin).send().await.unwrap();
            let body = problem(answer, 404, "not_found").await;
            body.to_string()
        };
        for (list, prefix) in [("api-keys", "key_"), ("service-clients", "svc_"), ("audiences", "aud_")] {
            let missing = absent(format!("/v1/{list}/{prefix}00000000000000000000000000")).await;
            for id in ["x".to_owned(), format!("{prefix}0"), "..%2F..%2Fetc".to_owned(), "%27%20OR%201=1--".to_owned(), "a".repeat(3000)] {
                assert_eq!(absent(format!("/v1/{list}/{id}")).await, missing, "{id}");
            }
        }
        absent("/v1/permissions/no-such".to_owned()).await;
        absent("/v1/permissions/no%20such".to_owned()).await;
    }

    async fn too_long_head_ends_the_connection(server: Server) {
        for request in [
            format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "a".repeat(200_000)),
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(200_000)),
            format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: 1\r\n".repeat(500)),
            "NONSENSE\r\n\r\n".to_owned(),
            "GET /healthz\r\n\r\n".to_owned(),
            "\u{16}\u{3}\u{1}TLS, as if\r\n\r\n".to_owned(),
        ] {
            let mut raw = Raw::open(&server.base);
            raw.send(request.as_bytes());
            let answer = raw.read_all();
            // The HTTP parser rejects the request before routing, so the response may
            // consist of a status alone.
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
            if let Some((head, body)) = answer.split_once("\r\n\r\n") {
                assert!(body.is_empty() && !head.to_ascii_lowercase().contains("text/plain"), "{answer}");
            }
        }
        assert_eq!(server.get("/healthz").send().await.unwrap().status(), 200);
        // A long head within the parser's limit is routed.
        let long = server.get("/v1/api-keys").header("x-api-key", "a".repeat(50_000)).send().await.unwrap();
        problem(long, 401, "invalid_token").await;
    }
}
