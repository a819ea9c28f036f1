//! Calls every operation of the API once.

use std::collections::BTreeSet;

use keyswap::{
    domain::{
        common::page::PageRequest,
        events::{Actor, Origin},
        exchange::usage::CredentialUses,
    },
    service::{events, retention},
    store::{
        self, NoEvent, Outcome, StoreError,
        credentials::{credential_usage::UseBatch, key_context::KeySelector},
    },
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::seed::number;
use crate::support::{Server, body_of};

/// Creates permissions, roles and a webhook. Must run before the tables are filled.
pub async fn prepare(server: &Server) {
    let all = json!({ "assignable_to": ["user", "organization", "service_client"] });
    server.manage("PUT", "/v1/permissions/a:b", Some(all), 201).await;
    for (name, permissions) in [
        ("editor", json!(["a:b"])),
        ("own", json!(["user-api-keys:manage-self"])),
        ("organizations", json!(["api-keys:manage"])),
        ("both", json!(["user-api-keys:manage-self", "api-keys:manage"])),
        ("whole", json!(["user-api-keys:manage-all"])),
    ] {
        server.manage("PUT", &format!("/v1/roles/{name}"), Some(json!({ "permissions": permissions })), 201).await;
    }
    // The webhook is disabled, so that the deliveries that `fill` inserts for it are not sent.
    let webhook = json!({ "url": "https://hooks.acme.example/keyswap" });
    let webhook = server.manage("POST", "/v1/webhooks", Some(webhook), 201).await;
    let path = format!("/v1/webhooks/{}", webhook["id"].as_str().unwrap());
    server.manage("PATCH", &path, Some(json!({ "state": "disabled" })), 200).await;
}

pub async fn call_everything(server: &Server) {
    every_get(server).await;
    within_organizations(server).await;
    directory(server).await;
    keys(server).await;
    access(server).await;
    configuration(server).await;
    jobs(server).await;
}

/// A value for the path parameter that follows `before`.
fn in_path(before: &str) -> String {
    match before {
        "/v1/api-keys/" => format!("key_01JH{}", number(7)),
        "/v1/service-clients/" => format!("svc_01JG{}", number(7)),
        "/v1/organizations/" => "org-7".to_owned(),
        "/v1/organizations/{id}/members/" | "/v1/users/" => "user-7".to_owned(),
        "/v1/roles/" => "editor".to_owned(),
        "/v1/permissions/" => "a:b".to_owned(),
        "/v1/status-lists/" => format!("stl_01JD{}", number(0)),
        "/docs/" => "swagger-ui.css".to_owned(),
        // The value is taken from a list.
        _ => String::new(),
    }
}

/// The sample values of a query parameter. `of_one` states whether the path contains an id.
fn samples(name: &str, of_one: bool, schema: &Value) -> Vec<String> {
    let texts: &[&str] = match name {
        "archived" if of_one => &["false"],
        "limit" | "days" | "hours" => &["3"],
        "wait" => &["0s"],
        "owner_type" => &["user", "organization", "service_client", "none"],
        "state" => &["active", "suspended", "revoked", "expired"],
        "organization" => &["org-7"],
        "user" => &["user-7"],
        "unused_since" => &["2024-11-20T00:00:00Z"],
        "archived" => &["true"],
        "type" => &["user.created", "user.created,api_key.created"],
        "assignable_to" => &["user"],
        "alg" => &["ES256"],
        "subject" => &["user-7", "user:user-7"],
        "service_client" => return vec![format!("svc_01JG{}", number(7))],
        "actor" | "created_by" => return vec![format!("key_01JH{}", number(7)), "cli".to_owned()],
        "opened_by" => return vec![format!("key_01JH{}", number(7))],
        // `after` is taken from a page, and past status lists are not kept.
        "after" | "time" => &[],
        _ if schema["enum"].is_array() => {
            let all = schema["enum"].as_array().unwrap().iter();
            return all.filter_map(Value::as_str).map(str::to_owned).collect();
        }
        _ => panic!("there is a new parameter {name}: say here what it is tried with"),
    };
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Calls every GET operation of the document with each of its parameters, so that a
/// new one cannot be missed.
async fn every_get(server: &Server) {
    let record = json!({
        "name": "a record", "principals": [{ "type": "user", "id": "user-7" }],
        "statements": [{ "roles": ["editor"], "resources": ["/a/*"] }],
    });
    server.manage("POST", "/v1/access-records", Some(record), 201).await;
    server.manage("POST", "/v1/webhooks", Some(json!({ "url": "https://hooks.example/keyswap" })), 201).await;
    let document = body_of(server.get("/openapi.json").send().await.unwrap(), StatusCode::OK).await;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let operation = &operations["get"];
        // Assets are not stored in the database, and a session is read below with its own
        // credential.
        if operation.is_null() || path.starts_with("/assets/") || path.ends_with("/current") {
            continue;
        }
        let mut url = path.clone();
        while let Some(at) = url.rfind('{') {
            let end = at + url[at..].find('}').unwrap() + 1;
            let mut sample = in_path(&path[..path.find(&url[at..end]).unwrap()]);
            if sample.is_empty() {
                let list = get(server, path.split("/{").next().unwrap()).await;
                let first = &list["data"][0];
                sample = ["id", "kid", "name"]
                    .into_iter()
                    .find_map(|name| first[name].as_str())
                    .unwrap_or_default()
                    .to_owned();
                assert!(!sample.is_empty(), "add a sample for {path} above");
            }
            url.replace_range(at..end, &sample);
        }
        let page = get(server, &url).await;
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            let values = if name == "after" {
                page["next"].as_str().map(str::to_owned).into_iter().collect()
            } else {
                samples(name, path.contains('{'), &parameter["schema"])
            };
            for value in values {
                get(server, &format!("{url}?{name}={value}")).await;
                if let Some(next) = page["next"].as_str().filter(|_| name != "after") {
                    get(server, &format!("{url}?{name}={value}&after={next}")).await;
                }
            }
        }
    }
}

/// The JSON body, or null for another content type.
async fn get(server: &Server, path: &str) -> Value {
    let response = server.get(path).bearer_auth(&server.admin).send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{path}: {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

/// Lists objects as members with each set of management permissions, and as a user
/// outside organizations.
async fn within_organizations(server: &Server) {
    for (place, role) in ["own", "organizations", "both", "whole"].into_iter().enumerate() {
        let (user, organization) = (format!("user-{}", place + 1), format!("org-{}", place + 1));
        let path = format!("/v1/organizations/{organization}/members/{user}");
        server.manage("PUT", &path, Some(json!({ "roles": [role] })), 200).await;
        on_behalf_of(server, &format!("{user}; organization={organization}")).await;
    }
    server.manage("PATCH", "/v1/users/user-9", Some(json!({ "roles": ["own"] })), 200).await;
    on_behalf_of(server, "user-9").await;
}

async fn on_behalf_of(server: &Server, whom: &str) {
    let filters = ["", "?archived=true", "?owner_type=user", "?unused_since=2024-11-20T00:00:00Z"];
    let lists = filters
        .map(|filter| format!("/v1/api-keys{filter}"))
        .into_iter()
        .chain(["/v1/service-clients".to_owned(), "/v1/access-records".to_owned()]);
    for path in lists {
        let request = server.get(&path).bearer_auth(&server.admin).header("keyswap-on-behalf-of", whom);
        body_of(request.send().await.unwrap(), StatusCode::OK).await;
    }
}

async fn directory(server: &Server) {
    let rows = [
        json!({ "type": "organization", "id": "org-11", "name": "Another" }),
        json!({ "type": "user", "id": "user-11" }),
        json!({ "type": "member", "organization_id": "org-11", "user_id": "user-11", "roles": ["editor"] }),
        json!({ "type": "user", "id": "new" }),
    ];
    let body: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let request = server.post("/v1/import").bearer_auth(&server.admin).header("content-type", "application/x-ndjson");
    let answer = request.body(body).send().await.unwrap().text().await.unwrap();
    assert!(answer.contains(r#""refused":0"#), "{answer}");
    for (method, path, body, status) in [
        ("PUT", "/v1/organizations/org-12", Some(json!({})), 200),
        ("PATCH", "/v1/organizations/org-12", Some(json!({ "metadata": { "a": 1 } })), 200),
        ("PUT", "/v1/users/user-12", Some(json!({ "blocked": true })), 200),
        ("PATCH", "/v1/users/user-12", Some(json!({ "blocked": false })), 200),
        ("PUT", "/v1/organizations/org-12/members/user-12", Some(json!({ "roles": ["editor"] })), 200),
        ("PATCH", "/v1/organizations/org-12/members/user-12", Some(json!({ "roles": [] })), 200),
        ("PUT", "/v1/organizations/org-12/members/user-13", Some(json!({})), 201),
        ("DELETE", "/v1/organizations/org-12/members/user-12", None, 204),
        ("DELETE", "/v1/users/user-14", None, 204),
        ("DELETE", "/v1/organizations/org-15", None, 204),
    ] {
        server.manage(method, path, body, status).await;
    }
}

async fn keys(server: &Server) {
    let client = server
        .manage("POST", "/v1/service-clients", Some(json!({ "name": "a client", "permissions": ["a:b"] })), 201)
        .await;
    let client = client["id"].as_str().unwrap();
    for owner in [
        json!({ "type": "service_client", "id": client }),
        json!({ "type": "user", "id": "user-16" }),
        json!({ "type": "user", "id": "user-16", "organization_id": "org-16" }),
        json!({ "type": "organization", "id": "org-16" }),
        json!({ "type": "none" }),
    ] {
        let key = server.key(json!({ "name": "a key", "owner": owner, "permissions": ["a:b"] })).await;
        server.fetch_token(&key.value).await;
        let explain = server.post("/v1/exchange/explain").bearer_auth(&key.value).send().await.unwrap();
        body_of(explain, StatusCode::OK).await;
        let path = format!("/v1/api-keys/{}", key.id);
        server.manage("PATCH", &path, Some(json!({ "name": "another" })), 200).await;
        for step in ["rotate", "suspend", "resume", "revoke"] {
            server.step(&key, step).await;
        }
        server.manage("DELETE", &path, None, 204).await;
    }
    for _ in 0..2 {
        let body = json!({ "name": "once", "owner": { "type": "none" }, "permissions": ["a:b"] });
        let request =
            server.post("/v1/api-keys").bearer_auth(&server.admin).header("idempotency-key", "once").json(&body);
        body_of(request.send().await.unwrap(), StatusCode::CREATED).await;
    }
    server
        .manage("PUT", "/v1/organizations/org-16/members/user-16", Some(json!({ "roles": ["editor", "own"] })), 200)
        .await;
    let body = json!({ "user_id": "user-16", "organization_id": "org-16" });
    let session = server.manage("POST", "/v1/portal-sessions", Some(body), 201).await;
    for path in ["/v1/api-keys", "/v1/portal-sessions/current"] {
        let request = server.get(path).bearer_auth(session["token"].as_str().unwrap());
        body_of(request.send().await.unwrap(), StatusCode::OK).await;
    }
    let page = |path: &str| server.post(path).header("keyswap-page", "1");
    let code = session["url"].as_str().unwrap().split_once("#code=").unwrap().1;
    let signed_in = page("/portal/sign-in").json(&json!({ "code": code })).send().await.unwrap();
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let out = page("/portal/sign-out").header("cookie", cookie).send().await.unwrap();
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    let console = |path: &str| server.post(path).header("keyswap-page", "console");
    let entered = console("/console/sign-in").json(&json!({ "key": server.admin })).send().await.unwrap();
    let cookie = entered.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let out = console("/console/sign-out").header("cookie", cookie).send().await.unwrap();
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    for path in ["/v1/caller", "/v1/overview", "/v1/branding", "/v1/events?order=newest&after=900"] {
        server.manage("GET", path, None, 200).await;
    }
    server.manage("PUT", "/v1/branding", Some(json!({ "name": "another" })), 200).await;
    let key = server
        .key(json!({ "name": "a key", "owner": { "type": "organization", "id": "org-16" }, "permissions": ["a:b"] }))
        .await;
    for value in [key.value.clone(), server.fetch_token(&key.value).await] {
        let found = server.manage("POST", "/v1/api-keys/validate", Some(json!({ "value": value })), 200).await;
        assert_eq!(found["api_key"]["id"], key.id);
    }
    let path = format!("/v1/service-clients/{client}");
    server.manage("PATCH", &path, Some(json!({ "name": "another", "permissions": [] })), 200).await;
    server.manage("DELETE", &path, None, 204).await;
    // A token instead of the key.
    let audience = json!({ "audience": "http://keyswap.test/v1" });
    let token = body_of(server.exchange_for(&server.admin, audience).await, StatusCode::OK).await;
    let request = server.get("/v1/users/user-7").bearer_auth(token["access_token"].as_str().unwrap());
    body_of(request.send().await.unwrap(), StatusCode::OK).await;
    let targets = BTreeSet::from(["one".parse().unwrap(), "two".parse().unwrap()]);
    for wanted in [
        KeySelector::ImportedKeyLookups(vec!["a".to_owned(), "b".to_owned()]),
        KeySelector::Credential("0000000000000007".parse().unwrap()),
        KeySelector::Key(format!("key_01JH{}", number(7)).parse().unwrap()),
    ] {
        for several in [targets.clone(), targets.iter().take(1).cloned().collect()] {
            let wanted = wanted.clone();
            let found = server
                .services
                .store
                .read(move |connection| store::credentials::key_context::load(connection, &wanted, &several));
            found.await.unwrap();
        }
    }
}

async fn access(server: &Server) {
    let record = json!({
        "name": "a record", "organization_id": "org-16", "principals": [{ "type": "user", "id": "user-16" }],
        "statements": [{ "roles": ["editor"], "resources": ["/projects/16"] }],
    });
    let record = server.manage("POST", "/v1/access-records", Some(record), 201).await;
    let path = format!("/v1/access-records/{}", record["id"].as_str().unwrap());
    server.manage("PATCH", &path, Some(json!({ "name": "another" })), 200).await;
    for principal in
        [json!({ "type": "user", "id": "user-16" }), json!({ "type": "api_key", "id": in_path("/v1/api-keys/") })]
    {
        let asked = json!({ "principal": principal, "permission": "a:b", "resource": "/projects/16" });
        server.manage("POST", "/v1/access/check", Some(asked), 200).await;
    }
    let owner = json!({ "type": "user", "id": "user-16", "organization_id": "org-16" });
    let key = server.key(json!({ "name": "a key", "owner": owner, "permissions": ["a:b"] })).await;
    server.fetch_token(&key.value).await;
    let asked = json!({ "value": key.value, "permission": "a:b", "resource": "/projects/16" });
    server.manage("POST", "/v1/access/check", Some(asked), 200).await;
    server.manage("DELETE", &path, None, 204).await;
}

async fn configuration(server: &Server) {
    let audience = server.audience("another", None).await;
    let path = format!("/v1/audiences/{}", audience["id"].as_str().unwrap());
    for (method, path, body, status) in [
        ("PATCH", path.as_str(), Some(json!({ "permissions": ["a:b"] })), 200),
        ("DELETE", path.as_str(), None, 204),
        ("PUT", "/v1/permissions/c:d", Some(json!({ "assignable_to": ["user"] })), 201),
        ("PUT", "/v1/roles/reader", Some(json!({ "permissions": ["c:d"] })), 201),
        ("DELETE", "/v1/roles/reader", None, 204),
        ("DELETE", "/v1/permissions/c:d", None, 204),
    ] {
        server.manage(method, path, body, status).await;
    }
}

/// The statements of the background jobs.
async fn jobs(server: &Server) {
    server.services.last_used.flush().await.unwrap();
    // A credential of `fill` that was last used on an earlier day, and a late use of that day.
    let used = server.services.store.run_internal(NoEvent::Counter, |tx| {
        let uses = CredentialUses { last_used_at: tx.now(), uses: 1 };
        let earlier = vec![(7, uses.day().minus(1), 1)];
        store::credentials::credential_usage::add(tx, &UseBatch { latest: vec![(7, uses)], earlier })
    });
    used.await.unwrap();
    retention::roll_up_usage(&server.services).await.unwrap();
    // The events that `fill` inserts do not form a hash chain.
    let _ = events::verify_audit_log(&server.services).await;
    for _ in 0..6 {
        let change = server.services.store.run_transaction(Origin::of(Actor::System), |tx| {
            store::directory::owner_deletions::take_ended_keys(tx, 100, true)?;
            store::directory::members::delete_orphaned(tx, 100)?;
            store::common::idempotency::delete_expired(tx)?;
            store::common::retention::delete_expired(tx)?;
            store::exchange_counts::delete_expired(tx)?;
            store::webhooks::delete_expired_secrets(tx)?;
            store::webhooks::deliveries::delete_expired(tx)?;
            let now = tx.now();
            store::webhooks::deliveries::list_webhooks_with_due_deliveries(tx, now)?;
            store::webhooks::deliveries::find_oldest_waiting(tx)?;
            for webhook in store::webhooks::list(tx, &PageRequest { limit: 10, cursor: None })?.data {
                store::webhooks::deliveries::count_waiting(tx, &webhook.id)?;
                store::webhooks::deliveries::has_delivered_since(tx, &webhook.id, now)?;
                store::webhooks::deliveries::lease_due(tx, &webhook.id, 10, now)?;
                store::webhooks::deliveries::reset_waiting(tx, &webhook.id)?;
            }
            Ok::<_, StoreError>(Outcome::without_event((), NoEvent::Cleanup))
        });
        change.await.unwrap();
    }
}
