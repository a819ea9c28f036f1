//! Ids of users and organizations as identity providers assign them: every one is the same text in
//! paths, `Location`, bodies, headers, filters, tokens and events.

use std::collections::BTreeSet;

use keyswap::domain::common::percent_encoding::encode_segment;
use serde_json::{Value, json};

use crate::support::{
    Server, both,
    calls::{call, read_pages},
    verify,
};

/// Ids of identity providers, and ids that differ only in their escapes.
const IDS: &[&str] = &[
    "auth0|5f7c8ec7c33c6c004bbafe82",
    "ada.lovelace+test@example.com",
    "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
    "spiffe://example.org/ns/default/sa/builder",
    "repo:octo-org/octo-repo:ref:refs/heads/main",
    "https://sts.example.com/ada",
    "CN=Ada Lovelace, OU=R&D; ops, O=\"Analytical\" Engines",
    "EXAMPLE\\ada",
    "ada_example.com#EXT#@tenant.onmicrosoft.example",
    "{3f2504e0-4f89-11d3-9a0c-0305e82c3301}",
    "it's ada!",
    "$ada~(1)[2]<3>`4`^5?6=7",
    "100%",
    "a/b",
    "a%2Fb",
    "a%252Fb",
    "a+b",
    "a b",
    "a%20b",
    "...",
];

/// Texts that are no ids.
fn invalid_ids() -> Vec<String> {
    let texts = [
        " a",
        "a ",
        "a*",
        "*",
        "é",
        "a\u{7f}",
        "a\n",
        "a/../b",
        "a\\.",
        "%2E%2E",
        "..%2Fb",
        "%2A",
        "a%00",
        "/",
        ";x",
        "%2525252525",
        "\"ada\"",
        "mallory;organization=acme",
        "mallory; organization=acme",
    ];
    texts.into_iter().map(str::to_owned).chain(["a".repeat(256)]).collect()
}

/// The value of a parameter of `Keyswap-On-Behalf-Of`.
fn quote(id: &str) -> String {
    format!("\"{}\"", id.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The parameter of a query.
fn query_parameter(name: &str, value: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish()
}

/// Puts an object and reads it back from its `Location`.
async fn put(server: &Server, path: &str, body: Value) -> Value {
    let answer = call(server, &server.admin, "PUT", path, Some(body), &[]).await;
    assert_eq!(answer.status(), 201, "{path}");
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(location, format!("{}{path}", server.services.issuer()), "the path is encoded as RFC 3986 says");
    let location: url::Url = location.parse().unwrap();
    server.manage("GET", location.path(), None, 200).await
}

both! {
    async fn id_is_the_same_text_everywhere(server: Server) {
        server.permissions_for_all(&["a"]).await;
        server.role("editor", &["a", "user-api-keys:manage-self"]).await;
        server.offer_management_permissions().await;
        let longest = "+".repeat(255);
        for id in IDS.iter().copied().chain([longest.as_str()]) {
            let segment = encode_segment(id).to_string();
            let organization = put(&server, &format!("/v1/organizations/{segment}"), json!({ "name": "An organization" })).await;
            assert_eq!(organization["id"], id);
            assert_eq!(put(&server, &format!("/v1/users/{segment}"), json!({ "roles": ["editor"] })).await["id"], id);
            let member = put(&server, &format!("/v1/organizations/{segment}/members/{segment}"), json!({ "roles": ["editor"] })).await;
            assert_eq!((&member["organization_id"], &member["user_id"]), (&json!(id), &json!(id)));

            // A back end creates a key for the user. An id with a separator is in quotes.
            let who = format!("{}; organization={}", quote(id), quote(id));
            let body = json!({ "name": "a key", "permissions": ["a"] });
            let made = server.on_behalf(&who, "POST", "/v1/api-keys").json(&body).send().await.unwrap();
            assert_eq!(made.status(), 201, "{who}");
            let made: Value = made.json().await.unwrap();
            assert_eq!(made["owner"], json!({ "type": "user", "id": id, "organization_id": id }));
            let claims = verify(&server, &server.fetch_token(made["value"].as_str().unwrap()).await, server.services.issuer()).await;
            assert_eq!(claims["sub"], id);
            let bare = server.on_behalf(&format!("{id}; organization={id}"), "GET", "/v1/api-keys").send().await.unwrap();
            let is_bare = !id.contains([' ', ',', ';', '"', '\\']);
            assert_eq!(bare.status(), if is_bare { 200 } else { 400 }, "{id}");

            // Filters find exactly this id.
            for filter in ["user", "organization"] {
                let found = server.manage("GET", &format!("/v1/api-keys?{}", query_parameter(filter, id)), None, 200).await;
                assert_eq!(found["data"].as_array().unwrap().len(), 1, "{filter} {id}");
                assert_eq!(found["data"][0]["id"], made["id"]);
            }

            // A session of the user.
            let session = json!({ "user_id": id, "organization_id": id });
            let session = server.manage("POST", "/v1/portal-sessions", Some(session), 201).await;
            let shown = call(&server, session["token"].as_str().unwrap(), "GET", "/v1/api-keys", None, &[]).await;
            assert_eq!(shown.json::<Value>().await.unwrap()["data"].as_array().unwrap().len(), 1);
        }
        // Pages that end at any of these ids go on behind it.
        for (path, member) in [("/v1/users", "id"), ("/v1/organizations", "id")] {
            let listed = read_pages(&server, path, 1).await;
            let listed: BTreeSet<_> = listed.iter().map(|one| one[member].as_str().unwrap()).collect();
            assert!(IDS.iter().all(|id| listed.contains(id)), "{path}");
        }
        let events = server.events().await;
        for id in IDS {
            let segment = encode_segment(id).to_string();
            let named = events.iter().filter(|event| event["subject"]["id"] == **id).count();
            assert!(named >= 2, "{id}: {named} events");
            server.manage("DELETE", &format!("/v1/organizations/{segment}/members/{segment}"), None, 204).await;
            server.manage("DELETE", &format!("/v1/users/{segment}"), None, 204).await;
            server.manage("DELETE", &format!("/v1/organizations/{segment}"), None, 204).await;
            server.manage("GET", &format!("/v1/users/{segment}"), None, 404).await;
        }
        assert_eq!(read_pages(&server, "/v1/users", 100).await.len(), 1, "the longest stays");
    }

    async fn ambiguous_id_is_refused_with_the_rule(server: Server) {
        for id in invalid_ids() {
            let segment: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
            for collection in ["organizations", "users"] {
                let refused = call(&server, &server.admin, "PUT", &format!("/v1/{collection}/{segment}"), Some(json!({})), &[]).await;
                assert_eq!(refused.status(), 422, "{id:?}");
                let refused: Value = refused.json().await.unwrap();
                let message = refused["errors"][0]["message"].as_str().unwrap();
                assert!(message.contains("1 to 255 printable ASCII characters"), "{id}: {message}");
                // Reading it answers like reading an id that does not exist.
                server.manage("GET", &format!("/v1/{collection}/{segment}"), None, 404).await;
            }
        }
        for id in ["organization:acme", "svc_x", "key_x"] {
            server.manage("PUT", &format!("/v1/users/{id}"), Some(json!({})), 422).await;
        }
    }

    async fn malformed_header_of_a_user_is_refused(server: Server) {
        for who in [
            "", "\"", "\"ada", "ada\"", "\"ada\"x", "\"ada\" x", "a b", "ada, bob", "\"a\\b\"", "ada; organization", "ada; organization=",
            "ada; organization=\"x", "ada; organization=\"x\" y", "ada; tenant=x", "ada; organization=x; organization=y", "; organization=x",
        ] {
            let answer = server.on_behalf(who, "GET", "/v1/api-keys").send().await.unwrap();
            assert_eq!(answer.status(), 400, "{who}");
            let body: Value = answer.json().await.unwrap();
            assert!(body["detail"].as_str().unwrap().contains("double quotes"), "{body}");
        }
    }

    async fn names_have_emoji(server: Server) {
        for name in ["👩‍💻 Ada", "Team 👨‍👩‍👧‍👦", "❤️", "می‌خواهم"] {
            let made = put(&server, "/v1/organizations/acme", json!({ "name": name })).await;
            assert_eq!(made["name"], name);
            server.manage("DELETE", "/v1/organizations/acme", None, 204).await;
        }
        for name in ["ad\u{200D}min", "admin\u{FE0F}", "a\u{200B}b"] {
            server.manage("PUT", "/v1/organizations/acme", Some(json!({ "name": name })), 422).await;
        }
    }
}
