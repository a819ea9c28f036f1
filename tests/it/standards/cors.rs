//! Cross-origin requests (Fetch section 3.2): pages of any origin read public documents as the documents describe, with
//! caching; `/v1` answers the configured origins, and nothing else answers a page.

use reqwest::{Method, RequestBuilder, Response, StatusCode};

use crate::support::{
    Server, both,
    wire::{exchange_of, form},
};

const ORIGIN: &str = "https://page.test";

/// Every public document, with a status list that exists.
async fn documents(server: &Server) -> Vec<String> {
    let key = server.generic_key(&["a:b"]).await;
    let uri = crate::status_lists::uri_of(&server.fetch_token(&key.value).await);
    let names = ["jwks.json", "oauth-authorization-server", "openid-configuration", "oauth-protected-resource/v1"];
    let mut all: Vec<_> = names.iter().map(|name| format!("/.well-known/{name}")).collect();
    let list = uri.strip_prefix("http://keyswap.test").unwrap().to_owned();
    all.extend(["/v1/status-lists".to_owned(), list, "/openapi.json".to_owned()]);
    all
}

fn preflight(server: &Server, path: &str, method: &str, headers: &str) -> RequestBuilder {
    let request = server.http.request(Method::OPTIONS, server.url(path)).header("origin", ORIGIN);
    request.header("access-control-request-method", method).header("access-control-request-headers", headers)
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

both! {
    // Requirements: 8414-07, tsl-02.
    async fn pages_of_every_origin_read_public_documents(server: Server, "portal.allowed_origins=[\"https://other.test\"]") {
        for path in documents(&server).await {
            for method in ["GET", "HEAD"] {
                let answer = preflight(&server, &path, method, "if-none-match").send().await.unwrap();
                assert_eq!(answer.status(), 204, "{path}");
                assert_eq!(header(&answer, "access-control-allow-origin"), "*", "{path}");
                assert!(header(&answer, "access-control-allow-methods").contains(method), "{path}");
                assert!(header(&answer, "access-control-allow-headers").to_lowercase().contains("if-none-match"), "{path}");
                assert!(header(&answer, "access-control-max-age").parse::<u32>().unwrap() >= 600, "{path}");
                assert_eq!(header(&answer, "vary"), "", "{path}");
            }
            // As the documents say: a request with the tag of the previous response.
            let get = || server.get(&path).header("origin", ORIGIN);
            let first = get().send().await.unwrap();
            assert_eq!(first.status(), 200, "{path}");
            let vary = if path.contains("status-lists/") { "Accept-Encoding" } else { "" };
            let again = get().header("if-none-match", header(&first, "etag")).send().await.unwrap();
            assert_eq!(again.status(), 304, "{path}");
            for answer in [&first, &again] {
                assert_eq!(header(answer, "access-control-allow-origin"), "*", "{path}");
                assert!(answer.headers().get("access-control-allow-credentials").is_none(), "{path}");
                assert!(header(answer, "access-control-expose-headers").contains("ETag"), "{path}");
                assert_eq!(header(answer, "vary"), vary, "{path}");
            }
            // A page can read the error of another method, which names the methods.
            let refused = server.post(&path).header("origin", ORIGIN).send().await.unwrap();
            assert_eq!((refused.status().as_u16(), header(&refused, "allow")), (405, "GET, HEAD, OPTIONS"), "{path}");
            assert_eq!(header(&refused, "access-control-allow-origin"), "*", "{path}");
        }
        for path in ["/v1/status-lists/stl_01JD0000000000000000000000", "/.well-known/jwks.json?alg=none"] {
            let refused = server.get(path).header("origin", ORIGIN).send().await.unwrap();
            assert!(refused.status().is_client_error());
            assert_eq!(header(&refused, "access-control-allow-origin"), "*", "{path}");
        }
    }

    // Requirements: 8414-07.
    async fn nothing_else_answers_the_page_of_an_unknown_origin(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        for request in [
            form(server.post("/oauth/token"), &exchange_of(&key.value)),
            server.post("/v1/exchange").bearer_auth(&key.value),
            server.get("/v1/api-keys").bearer_auth(&server.admin),
            server.http.request(Method::OPTIONS, server.url("/oauth/token")),
            server.http.request(Method::OPTIONS, server.url("/v1/api-keys")),
        ] {
            let answer = request.header("origin", ORIGIN).send().await.unwrap();
            assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("access-control-")));
        }
    }

    async fn pages_of_an_allowed_origin_read_the_documented_headers_of_v1(server: Server, "portal.allowed_origins=[\"https://page.test\"]") {
        for name in ["authorization", "content-type", "if-match", "if-none-match", "idempotency-key"] {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                let answer = preflight(&server, "/v1/api-keys", method, name).send().await.unwrap();
                assert_eq!(answer.status(), 200, "{method} {name}");
                assert_eq!(header(&answer, "access-control-allow-origin"), ORIGIN);
                assert!(header(&answer, "access-control-allow-headers").to_lowercase().contains(name), "{name}");
            }
        }
        // For back ends only.
        for name in ["keyswap-on-behalf-of", "x-api-key"] {
            let answer = preflight(&server, "/v1/api-keys", "GET", name).send().await.unwrap();
            assert_ne!(answer.status(), StatusCode::OK, "{name}");
        }
        let answer = server.get("/v1/api-keys").bearer_auth(&server.admin).header("origin", ORIGIN).send().await.unwrap();
        let exposed = header(&answer, "access-control-expose-headers").to_lowercase();
        for name in ["etag", "location", "retry-after", "www-authenticate", "x-request-id", "ratelimit", "ratelimit-policy",
            "idempotency-replayed", "keyswap-credential-end", "accept-patch"] {
            assert!(exposed.split(", ").any(|one| one == name), "{name}: {exposed}");
        }
    }
}
