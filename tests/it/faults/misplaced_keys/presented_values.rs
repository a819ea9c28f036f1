//! Requests of services about a value that a client has presented to them, and requests of browsers
//! to the pages, with the value in the right and in the wrong place.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{Named, shape};
use crate::faults::process::Running;

const FORM: &str = "application/x-www-form-urlencoded";

pub fn form(request: RequestBuilder, pairs: &[(&str, &str)]) -> RequestBuilder {
    let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    request.header("content-type", FORM).body(body)
}

/// Every valid request about a value. Each is answered with 200, whether or not the value is
/// active.
pub fn presented_forms(server: &Running, admin: &str, value: &str) -> Vec<Named> {
    let post = |path: &str| server.http.post(server.url(path));
    let bearer = format!("Bearer {value}");
    let (client, _) = admin.rsplit_once('_').unwrap();
    let mut all: Vec<Named> = Vec::new();
    for shown in [value, &bearer] {
        let question = json!({ "value": shown, "required_permissions": ["a:b"], "owner_type": "none" });
        all.push(("validation".into(), post("/v1/api-keys/validate").bearer_auth(admin).json(&question)));
        let question = json!({ "value": shown, "permission": "a:b", "resource": "/a" });
        all.push(("an access check".into(), post("/v1/access/check").bearer_auth(admin).json(&question)));
        let introspect = || form(post("/oauth/introspect"), &[("token", shown), ("token_type_hint", "access_token")]);
        all.push(("introspection".into(), introspect().bearer_auth(admin)));
        all.push(("introspection by Basic".into(), introspect().basic_auth(client, Some(admin))));
        let signed = introspect().bearer_auth(admin).header("accept", "application/token-introspection+jwt");
        all.push(("introspection as a JWT".into(), signed));
    }
    all
}

pub fn misplaced_forms(server: &Running, admin: &str, value: &str, all: &mut Vec<Named>) {
    in_presented_values(server, admin, value, all);
    in_oauth_forms(server, admin, value, all);
    in_pages(server, value, all);
    in_the_directory(server, admin, value, all);
    in_import(server, admin, value, all);
    in_configuration(server, admin, value, all);
}

fn in_presented_values(server: &Running, admin: &str, value: &str, all: &mut Vec<Named>) {
    let check = |principal: Value| json!({ "principal": principal, "permission": "a:b", "resource": "/a" });
    for (path, body) in [
        ("/v1/api-keys/validate", json!({ "token": value })),
        ("/v1/api-keys/validate", json!({ "value": [value] })),
        ("/v1/api-keys/validate", json!({ "value": "x", value: 1 })),
        ("/v1/api-keys/validate", json!({ "value": "x", "required_permissions": [value] })),
        ("/v1/api-keys/validate", json!({ "value": "x", "owner_type": value })),
        ("/v1/api-keys/validate", json!({ "value": "x", "audience": [value] })),
        ("/v1/api-keys/validate", json!(value)),
        ("/v1/access/check", json!({ "value": [value], "permission": "a:b", "resource": "/a" })),
        ("/v1/access/check", json!({ "value": "x", "permission": value, "resource": [value] })),
        ("/v1/access/check", json!({ "value": value, "principal": {}, "permission": "a:b", "resource": "/a" })),
        ("/v1/access/check", check(json!({ "type": value, "id": "x" }))),
        ("/v1/access/check", check(json!({ "type": "api_key", "id": value }))),
        ("/v1/access/check", check(json!({ "type": "user", "id": "x", value: 1 }))),
    ] {
        let request = server.http.post(server.url(path)).bearer_auth(admin).json(&body);
        all.push((format!("the body of {path} {}", shape(&body, value)), request));
    }
    for path in ["/v1/api-keys/validate", "/v1/access/check"] {
        let post = || server.http.post(server.url(path)).bearer_auth(admin);
        all.push((format!("a form to {path}"), form(post(), &[("value", value)])));
        let broken = format!("{{\"value\": \"{value}");
        all.push((format!("broken JSON to {path}"), post().header("content-type", "application/json").body(broken)));
        let url = server.url(&format!("{path}?value={value}"));
        let body = json!({ "value": "x", "permission": "a:b", "resource": "/a" });
        all.push((format!("{path}?value="), server.http.post(url).bearer_auth(admin).json(&body)));
        let unknown = server.http.post(server.url(path)).bearer_auth(format!("{value}x"));
        all.push((format!("{path}, asked with it"), unknown.json(&body)));
    }
}

/// Includes revocation, but never of the value itself.
fn in_oauth_forms(server: &Running, admin: &str, value: &str, all: &mut Vec<Named>) {
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        let post = || server.http.post(server.url(path)).bearer_auth(admin);
        all.push((format!("{path} with token twice"), form(post(), &[("token", value), ("token", value)])));
        all.push((format!("{path} without token"), form(post(), &[("value", value)])));
        let hint = form(post(), &[("token", "x"), ("token_type_hint", value)]);
        all.push((format!("{path} with a hint (harmless)"), hint));
        let other = form(post(), &[("token", "x"), (value, "x")]);
        all.push((format!("{path} with a name (harmless)"), other));
        all.push((format!("{path} in JSON"), post().json(&json!({ "token": value }))));
        let url = server.url(&format!("{path}?token={value}"));
        all.push((format!("{path}?token="), server.http.post(url).bearer_auth(admin)));
        let mixed = form(server.http.post(server.url(path)).basic_auth(value, Some("x")), &[("token", "x")]);
        all.push((format!("{path} as the name of a client"), mixed));
    }
}

fn in_pages(server: &Running, value: &str, all: &mut Vec<Named>) {
    for (page, mark, name) in [("console", "console", "key"), ("portal", "1", "code")] {
        let url = server.url(&format!("/{page}/sign-in"));
        let post = || server.http.post(&url).header("keyswap-page", mark);
        for body in [json!({ name: value }), json!({ name: [value] }), json!({ value: name }), json!(value)] {
            let what = format!("the body of /{page}/sign-in {}", shape(&body, value));
            all.push((what, post().json(&body)));
        }
        all.push((format!("/{page}/sign-in in a form"), form(post(), &[(name, value)])));
        let unmarked = server.http.post(&url).json(&json!({ name: value }));
        all.push((format!("/{page}/sign-in from elsewhere"), unmarked));
        let query = server.http.post(server.url(&format!("/{page}/sign-in?{name}={value}")));
        all.push((format!("/{page}/sign-in?{name}="), query.header("keyswap-page", mark)));
        let cookie = if page == "console" { "__Host-keyswap-console" } else { "__Host-keyswap" };
        let sent = server.http.get(server.url("/v1/caller")).header("keyswap-page", mark);
        // One character too many, because a valid token would be accepted.
        all.push((format!("a cookie of the {page}"), sent.header("cookie", format!("{cookie}={value}x"))));
    }
    for page in ["/portal/user-keys", "/portal/organization-keys", "/console"] {
        let shown = server.http.get(server.url(&format!("{page}?code={value}")));
        all.push((format!("{page}?code= (harmless)"), shown));
    }
}

fn in_the_directory(server: &Running, admin: &str, value: &str, all: &mut Vec<Named>) {
    let put = |path: &str, body: Value| {
        let request = server.http.put(server.url(&path.replace("VALUE", value))).bearer_auth(admin);
        (format!("PUT {path} {}", shape(&body, value)), request.json(&body))
    };
    all.extend([
        put("/v1/users/VALUE", json!({})),
        put("/v1/users/u", json!({ "profile": { "email": value } })),
        put("/v1/users/u", json!({ "metadata": { value: 1 } })),
        put("/v1/users/u", json!({ "roles": [value] })),
        put("/v1/users/u", json!({ value: 1 })),
        put("/v1/organizations/VALUE", json!({})),
        put("/v1/organizations/o", json!({ "name": value })),
        put("/v1/organizations/o", json!({ "metadata": { "a": [value] } })),
        put("/v1/organizations/o/members/VALUE", json!({})),
        put("/v1/roles/VALUE", json!({ "permissions": [] })),
        put("/v1/roles/r", json!({ "permissions": [value] })),
        put("/v1/roles/r", json!({ "permissions": [], "description": value })),
    ]);
    for body in [
        json!({ "user_id": value }),
        json!({ "user_id": "absent", "organization_id": value }),
        json!({ "user_id": "absent", value: 1 }),
    ] {
        let request = server.http.post(server.url("/v1/portal-sessions")).bearer_auth(admin).json(&body);
        all.push((format!("the body of /v1/portal-sessions {}", shape(&body, value)), request));
    }
    let current = server.http.get(server.url("/v1/caller")).bearer_auth(admin);
    all.push(("Keyswap-On-Behalf-Of".into(), current.header("keyswap-on-behalf-of", value)));
}

/// An import is answered with 200, and its report names the lines that it refused.
fn in_import(server: &Running, admin: &str, value: &str, all: &mut Vec<Named>) {
    let lines = [
        json!({ "type": "user", "id": value }).to_string(),
        json!({ "type": value, "id": "u" }).to_string(),
        json!({ "type": "user", "id": "u", "profile": { "email": value } }).to_string(),
        json!({ "type": "user", "id": "u", "roles": [value] }).to_string(),
        json!({ "type": "user", "id": "u", value: 1 }).to_string(),
        json!({ "type": "organization", "id": "o", "name": value }).to_string(),
        json!({ "type": "member", "organization_id": "o", "user_id": value }).to_string(),
        json!(value).to_string(),
        value.to_owned(),
        format!("{{\"type\": \"user\", \"id\": \"{value}"),
    ];
    for body in lines.iter().cloned().chain([lines.join("\n")]) {
        let request = server.http.post(server.url("/v1/import")).bearer_auth(admin);
        let request = request.header("content-type", "application/x-ndjson").body(body.clone());
        all.push((format!("the import {} (harmless)", body.replace(value, "KEY")), request));
    }
    let wrong = server.http.post(server.url("/v1/import")).bearer_auth(admin).json(&json!({ "id": value }));
    all.push(("an import of another type".into(), wrong));
}

fn in_configuration(server: &Running, admin: &str, value: &str, all: &mut Vec<Named>) {
    let hook = |url: &str, rest: Value| {
        let mut body = json!({ "url": url });
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        body
    };
    let record = |resource: &str| json!({ "name": "r", "principals": [], "statements": [{ "roles": ["r"], "resources": [resource] }] });
    let imported = |digest: &str, masked: &str| {
        let import = json!({ "sha256": digest, "masked": masked });
        json!({ "name": "n", "owner": { "type": "none" }, "permissions": [], "import": import })
    };
    let digest = "0".repeat(64);
    for (path, body) in [
        ("/v1/webhooks", hook(&format!("https://hooks.acme.example/{value}"), json!({}))),
        ("/v1/webhooks", hook(value, json!({}))),
        ("/v1/webhooks", hook("https://hooks.acme.example/", json!({ "description": value }))),
        ("/v1/webhooks", hook("https://hooks.acme.example/", json!({ "event_types": [value] }))),
        ("/v1/webhooks", hook("https://hooks.acme.example/", json!({ "organization_id": value }))),
        ("/v1/webhooks", hook("https://hooks.acme.example/", json!({ "secret": value }))),
        ("/v1/signing-keys", json!({ "key": value })),
        ("/v1/signing-keys", json!({ "key": [value] })),
        ("/v1/users/u/lock", json!({ "reason": value })),
        ("/v1/access-records", record(&format!("/{value}"))),
        ("/v1/access-records", json!({ "name": value, "principals": [], "statements": [] })),
        ("/v1/api-keys", imported(value, "n…")),
        ("/v1/api-keys", imported(&digest, value)),
    ] {
        let request = server.http.post(server.url(path)).bearer_auth(admin).json(&body);
        all.push((format!("the body of {path} {}", shape(&body, value)), request));
    }
    // Only the accent color. The texts are free text, and an operator who may write them intends
    // them to be public.
    let body = json!({ "accent": value });
    all.push(("branding".into(), server.http.put(server.url("/v1/branding")).bearer_auth(admin).json(&body)));
}
