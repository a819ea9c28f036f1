//! Every way to present an API key, and the usual ways to misplace one.

mod database_outage;
pub mod presented_values;

use reqwest::RequestBuilder;
use serde_json::json;

use super::process::Running;

type Named = (String, RequestBuilder);

fn form(server: &Running, pairs: &[(&str, &str)]) -> RequestBuilder {
    let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let request = server.http.post(server.url("/oauth/token"));
    request.header("content-type", "application/x-www-form-urlencoded").body(body)
}

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const API_KEY: &str = "urn:keyswap:params:oauth:token-type:api-key";

/// Requests that present the key correctly.
pub fn forms(server: &Running, id: &str, key: &str) -> Vec<Named> {
    let exchange = || server.http.post(server.url("/v1/exchange"));
    let grant = ("grant_type", "client_credentials");
    vec![
        ("Bearer".into(), exchange().bearer_auth(key)),
        ("X-API-Key".into(), exchange().header("x-api-key", key)),
        ("client_secret_basic".into(), form(server, &[grant]).basic_auth(id, Some(key))),
        ("client_secret_post".into(), form(server, &[grant, ("client_id", id), ("client_secret", key)])),
        (
            "token exchange".into(),
            form(server, &[("grant_type", TOKEN_EXCHANGE), ("subject_token", key), ("subject_token_type", API_KEY)]),
        ),
        (
            "the IBM form".into(),
            form(server, &[("grant_type", "urn:ibm:params:oauth:grant-type:apikey"), ("apikey", key)]),
        ),
    ]
}

/// Requests that contain the key in the wrong place. A name that ends in "(harmless)" marks a
/// request that may succeed.
pub fn misplaced_forms(server: &Running, admin: &str, object: &str, key: &str) -> Vec<Named> {
    let mut all = Vec::new();
    in_urls(server, admin, key, &mut all);
    in_forms(server, key, &mut all);
    in_headers(server, admin, object, key, &mut all);
    in_json(server, admin, object, key, &mut all);
    presented_values::misplaced_forms(server, admin, key, &mut all);
    all
}

fn in_urls(server: &Running, admin: &str, key: &str, all: &mut Vec<Named>) {
    for path in ["/v1/exchange", "/oauth/token", "/v1/exchange/explain"] {
        for name in ["api_key", "client_secret", "access_token"] {
            all.push((format!("POST {path}?{name}="), server.http.post(server.url(&format!("{path}?{name}={key}")))));
        }
    }
    for path in ["/v1/api-keys?after=", "/v1/events?after=", "/v1/events?actor=", "/v1/api-keys?service_client="] {
        let shown = server.http.get(server.url(&format!("{path}{key}"))).bearer_auth(admin);
        all.push((format!("GET {path} (harmless)"), shown));
    }
    for path in ["/.well-known/jwks.json?", "/metrics?", "/healthz?", "/readyz?k="] {
        all.push((format!("GET {path} (harmless)"), server.http.get(server.url(&format!("{path}{key}")))));
    }
    for path in ["/", "/v1/api-keys/", "/v1/service-clients/", "/v1/permissions/", "/v1/audiences/", "/oauth/"] {
        for method in ["GET", "DELETE", "PATCH", "PUT", "POST"] {
            let request = server.http.request(method.parse().unwrap(), server.url(&format!("{path}{key}")));
            let body = json!({ "assignable_to": ["service_client"] });
            all.push((format!("{method} {path}…"), request.bearer_auth(admin).json(&body)));
        }
    }
    all.push(("GET /v1/api-keys/…/rotate".into(), {
        server.http.post(server.url(&format!("/v1/api-keys/{key}/rotate"))).bearer_auth(admin)
    }));
}

fn in_forms(server: &Running, key: &str, all: &mut Vec<Named>) {
    let grant = ("grant_type", "client_credentials");
    let exchange = [("grant_type", TOKEN_EXCHANGE), ("subject_token_type", API_KEY)];
    for (name, pairs) in [
        ("client_id alone", vec![grant, ("client_id", key)]),
        ("client_id", vec![grant, ("client_id", key), ("client_secret", "x")]),
        ("grant_type", vec![("grant_type", key)]),
        ("a parameter's name", vec![grant, (key, "x")]),
        ("a parameter twice", vec![grant, ("client_secret", key), ("client_secret", key)]),
        ("actor_token", vec![exchange[0], exchange[1], ("actor_token", key)]),
        ("subject_token_type", vec![exchange[0], ("subject_token", "x"), ("subject_token_type", key)]),
        ("scope", vec![exchange[0], exchange[1], ("subject_token", "x"), ("scope", key)]),
        ("audience", vec![exchange[0], exchange[1], ("subject_token", "x"), ("audience", key)]),
        ("resource", vec![exchange[0], exchange[1], ("subject_token", "x"), ("resource", key)]),
        ("a wrong grant", vec![("grant_type", "password"), ("username", "x"), ("password", key)]),
    ] {
        all.push((format!("the form with the key as {name}"), form(server, &pairs)));
    }
    let basic = [("id of Basic", key, "x"), ("both of Basic", key, key)];
    for (name, user, password) in basic {
        let wrong = form(server, &[grant]).basic_auth(user, Some(&password[..password.len() - 1]));
        all.push((format!("the form with the key as {name}"), wrong));
    }
}

fn in_headers(server: &Running, admin: &str, object: &str, key: &str, all: &mut Vec<Named>) {
    let exchange = || server.http.post(server.url("/v1/exchange"));
    for (name, value) in [
        ("authorization", key.to_owned()),
        ("authorization", format!("Basic {key}")),
        ("authorization", format!("Bearer Bearer {key}")),
        ("authorization", format!("Bearer {key}.a.b")),
        ("cookie", format!("key={key}")),
        ("x-api-key", format!("\"{key}\"")),
    ] {
        all.push((format!("the header {name}"), exchange().header(name, value)));
    }
    for name in ["x-request-id", "user-agent", "referer", "x-forwarded-for", "origin", "if-none-match", "accept"] {
        let request = server.http.get(server.url("/.well-known/jwks.json")).header(name, key);
        all.push((format!("the header {name} (harmless)"), request));
    }
    let patch = server.http.patch(server.url(object)).bearer_auth(admin).json(&json!({ "name": "b" }));
    all.push(("If-Match".into(), patch.header("if-match", key)));
    let make = server.http.post(server.url("/v1/service-clients")).bearer_auth(admin);
    let body = json!({ "name": "a client", "permissions": [] });
    all.push(("Idempotency-Key".into(), make.header("idempotency-key", key).json(&body)));
    let make = server.http.post(server.url("/v1/service-clients")).bearer_auth(admin);
    all.push(("Content-Type".into(), make.header("content-type", key).body("{}")));
}

fn in_json(server: &Running, admin: &str, object: &str, key: &str, all: &mut Vec<Named>) {
    let exchange = [
        json!({ key: "x" }),
        json!({ "scope": key }),
        json!({ "audience": key }),
        json!({ "audience": [key] }),
        json!({ "expires_in": key }),
        json!(key),
        json!([key]),
    ];
    for body in exchange {
        let request = server.http.post(server.url("/v1/exchange")).bearer_auth(admin).json(&body);
        all.push((format!("the body of /v1/exchange {}", shape(&body, key)), request));
    }
    let owner = json!({ "type": "none" });
    let keys = [
        json!({ "name": key, "owner": owner, "permissions": [] }),
        json!({ "name": "n", "owner": owner, "permissions": [key] }),
        json!({ "name": "n", "owner": owner, "permissions": [], "audiences": [key] }),
        json!({ "name": "n", "owner": { "type": key }, "permissions": [] }),
        json!({ "name": "n", "owner": { "type": "service_client", "id": key }, "permissions": [] }),
        json!({ "name": "n", "owner": owner, "permissions": [], "metadata": { "note": key } }),
        json!({ "name": "n", "owner": owner, "permissions": [], "metadata": { key: 1 } }),
        json!({ "name": "n", "owner": owner, "permissions": [], "metadata": { "a": [{ "b": key }] } }),
        json!({ "name": "n", "owner": owner, "permissions": [], "expires_at": key }),
        json!({ "name": "n", "owner": { "type": "none", key: 1 }, "permissions": [] }),
        json!({ key: key }),
    ];
    for body in keys {
        let request = server.http.post(server.url("/v1/api-keys")).bearer_auth(admin).json(&body);
        all.push((format!("the body of /v1/api-keys {}", shape(&body, key)), request));
        let mut patch = body.clone();
        patch.as_object_mut().unwrap().remove("owner");
        if patch.to_string().contains(key) {
            let request = server.http.patch(server.url(object)).bearer_auth(admin).json(&patch);
            all.push((format!("the body of PATCH {}", shape(&patch, key)), request));
        }
    }
    for (path, body) in [
        ("/v1/service-clients", json!({ "name": key, "permissions": [] })),
        ("/v1/service-clients", json!({ "name": "n", "permissions": [key] })),
        ("/v1/audiences", json!({ "identifier": key })),
        ("/v1/audiences", json!({ "identifier": format!("https://api.test/{key}") })),
        ("/v1/audiences", json!({ "identifier": "https://api.test/x", "permissions": [key] })),
    ] {
        let request = server.http.post(server.url(path)).bearer_auth(admin).json(&body);
        all.push((format!("the body of {path} {}", shape(&body, key)), request));
    }
    let path = "/v1/permissions/projects:read";
    let body = json!({ "assignable_to": ["service_client"], "description": format!("see {key}") });
    all.push(("a description".into(), server.http.put(server.url(path)).bearer_auth(admin).json(&body)));
    let broken = format!("{{\"name\": \"{key}");
    let request = server.http.post(server.url("/v1/api-keys")).bearer_auth(admin);
    all.push(("broken JSON".into(), request.header("content-type", "application/json").body(broken)));
}

/// The body with the key replaced by `KEY`.
fn shape(body: &serde_json::Value, key: &str) -> String {
    body.to_string().replace(key, "KEY")
}
