//! The served document, and the conformance of the server to it.

use std::{collections::BTreeSet, process::Command};

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::operations;
use crate::support::{body_of, both, wire};

both! {
    async fn document_is_served_and_cacheable(server: Server) {
        let response = server.get("/openapi.json").send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/json");
        let etag = response.headers()["etag"].clone();
        let document = body_of(response, StatusCode::OK).await;
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["servers"][0]["url"], "http://keyswap.test", "the public URL");
        let again = server.get("/openapi.json").header("if-none-match", etag).send().await.unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }

    async fn program_prints_the_served_document(server: Server) {
        let served = server.get("/openapi.json").send().await.unwrap().text().await.unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_keyswap"))
            .args(["openapi", "--set", "server.public_url=http://keyswap.test"])
            .output()
            .unwrap();
        assert!(output.status.success() && output.stdout == served.as_bytes());
    }

    async fn swagger_page_loads_no_external_resources(server: Server) {
        let response = server.get("/docs").send().await.unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff");
        let policy = header("content-security-policy");
        for part in ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        let page = response.text().await.unwrap();
        assert!(!page.contains("style=") && !page.contains("<style") && !page.contains("onload"), "{page}");
        let loads: Vec<_> = page.split(['"']).zip(page.split('"').skip(1)).filter(|(before, _)| before.ends_with("src=") || before.ends_with("href=")).map(|(_, at)| at).collect();
        assert!(loads.len() >= 4, "{page}");
        for at in loads {
            assert!(!at.contains("//") && !at.starts_with('/'), "{at}: an issuer may have a path");
            let response = server.get(&format!("/{at}")).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{at}");
            assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{at}");
        }
        // The start script refers to no other server. By default the library
        // requests a validator badge.
        let start = server.get("/docs/start.js").send().await.unwrap().text().await.unwrap();
        assert!(start.contains("validatorUrl: null") && !start.contains("://"), "{start}");
        wire::problem(server.get("/docs/..%2fsecret").send().await.unwrap(), 404, "not_found").await;
    }

    /// Browsers must not guess the type of any response, of success or of an error.
    async fn every_response_forbids_content_sniffing(server: Server) {
        let document = server.get("/openapi.json").send().await.unwrap().json::<Value>().await.unwrap();
        let mut calls = vec![("GET".to_owned(), "/nowhere".to_owned()), ("GET".to_owned(), "/v1/nowhere".to_owned()), ("POST".to_owned(), "/oauth/nowhere".to_owned())];
        for (path, method, _) in operations(&document) {
            let path = path.replace(['{', '}'], "x");
            // The second method is not allowed on most paths.
            calls.extend([method.to_uppercase(), "OPTIONS".to_owned(), "TRACE".to_owned()].map(|method| (method, path.clone())));
        }
        let mut seen = BTreeSet::new();
        for (method, path) in calls {
            for authenticated in [false, true] {
                let request = server.http.request(method.parse().unwrap(), server.url(&path)).header("origin", "https://app.example");
                let request = if authenticated { request.bearer_auth(&server.admin) } else { request };
                let response = request.send().await.unwrap();
                seen.insert(response.status().as_u16());
                let header = |name: &str| response.headers().get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>();
                assert_eq!(header("x-content-type-options"), ["nosniff"], "{method} {path}: {}", response.status());
                assert!(header("strict-transport-security").is_empty(), "without own TLS, the proxy decides");
            }
        }
        for status in [200, 400, 401, 404, 405, 415, 422] {
            assert!(seen.contains(&status), "no response with {status}: {seen:?}");
        }
    }

    /// Every operation requires the permission that the document states.
    async fn every_operation_requires_its_documented_permission(server: Server) {
        let document = server.get("/openapi.json").send().await.unwrap().json::<Value>().await.unwrap();
        let powerless = server.generic_key(&["projects:read"]).await;
        for (path, method, operation) in operations(&document) {
            let path = path.replace(['{', '}'], "x");
            let speaks_oauth = path.starts_with("/oauth/");
            let request = || {
                let request = server.http.request(Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(), server.url(&path));
                // The form may carry credentials, so the server requires a form
                // before it authenticates.
                if speaks_oauth { wire::form(request, &[]) } else { request }
            };
            let (anonymous, powerless) =
                (request().send().await.unwrap(), request().bearer_auth(&powerless.value).send().await.unwrap());
            match operation.get("x-keyswap-permissions").and_then(|all| all[0].as_str()) {
                Some(permission) => {
                    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
                    if speaks_oauth {
                        let challenge = powerless.headers()["www-authenticate"].to_str().unwrap().to_owned();
                        assert!(challenge.contains(&format!("scope=\"{permission}\"")), "{method} {path}: {challenge}");
                        wire::oauth_error(powerless, 403, "insufficient_scope").await;
                        continue;
                    }
                    let body = wire::problem(powerless, 403, "forbidden").await;
                    assert!(body["detail"].as_str().unwrap().contains(permission), "{method} {path}: {body}");
                }
                None => {
                    assert_ne!(powerless.status(), StatusCode::FORBIDDEN, "{method} {path}");
                    let declared = operation["responses"].as_object().unwrap().contains_key(anonymous.status().as_str());
                    assert!(declared, "{method} {path} answers {}", anonymous.status());
                }
            }
        }
    }
}
