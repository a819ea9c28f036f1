//! What members can and cannot grant, in each form of each call that creates or changes a
//! record.

use serde_json::{Value, json};

use super::{
    Credential, is_allowed, record,
    stage::{ALICE, MAX, Stage, client, grant, key, user, within_acme},
    statement,
};
use crate::support::{Server, both};

/// Statements beyond what an operator granted to Alice, with the control that she may grant.
const BEYOND: [(&str, &str); 7] = [
    ("viewer", "/*"),
    ("viewer", "/bob/*"),
    ("viewer", "/acme/1"),
    ("viewer", "/*/a"),
    ("editor", "/shared/a"),
    ("both", "/shared/a"),
    ("viewer", "https://other.test/*"),
];
const WITHIN: (&str, &str) = ("viewer", "/shared/a/*");

/// The requests of Alice that grant a statement: method, path and body.
async fn grants_of(server: &Server, stage: &Stage, role: &str, resource: &str) -> Vec<(&'static str, String, Value)> {
    let statements = [statement(role, resource)];
    let own_client = json!({ "name": "own", "permissions": ["docs:read"] });
    let made = server.on_behalf(ALICE, "POST", "/v1/service-clients").json(&own_client).send().await.unwrap();
    let made: Value = made.json().await.unwrap();
    let record_of_alice = grant(server, &stage.alice, &[statement("viewer", "/shared/b")], &["alice"]).await;
    let initial = json!({ "name": "r", "statements": statements });
    let owner = json!({ "type": "user" });
    vec![
        ("POST", "/v1/access-records".to_owned(), record(&stage.alice, &statements)),
        ("POST", "/v1/access-records".to_owned(), record(&client(&made["id"]), &statements)),
        ("POST", "/v1/access-records".to_owned(), record(&key(&stage.keys[0].id), &statements)),
        ("PATCH", record_of_alice, json!({ "statements": statements })),
        (
            "POST",
            "/v1/api-keys".to_owned(),
            json!({ "name": "k", "owner": owner, "permissions": ["docs:read"], "access_record": initial }),
        ),
        (
            "POST",
            "/v1/service-clients".to_owned(),
            json!({ "name": "c", "permissions": ["docs:read"], "access_record": initial }),
        ),
    ]
}

both! {
    async fn member_grants_only_what_others_granted(server: Server) {
        let stage = Stage::new(&server).await;
        for caller in stage.credentials(&server, ALICE).await {
            for (role, resource) in BEYOND {
                for (method, path, body) in grants_of(&server, &stage, role, resource).await {
                    let refusal = caller.expect(&server, (method, &path), Some(body), 422).await;
                    let field = refusal["errors"][0]["field"].as_str().unwrap();
                    assert!(field.ends_with("statements[0].resources"), "{role} {resource}: {refusal}");
                }
            }
            for (method, path, body) in grants_of(&server, &stage, WITHIN.0, WITHIN.1).await {
                let (status, answer) = caller.call(&server, method, &path, Some(body)).await;
                assert!(status.is_success(), "{method} {path}: {answer}");
            }
        }
        // What she granted to herself is no source: she cannot keep what is taken from her.
        let alice = Credential { value: server.admin.clone(), on_behalf_of: Some(ALICE) };
        for record in server.manage("GET", "/v1/access-records?limit=100", None, 200).await["data"].as_array().unwrap() {
            if record["granted_by"]["type"] != "user" && record["principals"][0] == stage.alice {
                server.manage("DELETE", &format!("/v1/access-records/{}", record["id"].as_str().unwrap()), None, 204).await;
            }
        }
        assert!(is_allowed(&server, &within_acme(&stage.alice), "docs:read", "/shared/a/1").await);
        let again = record(&stage.alice, &[statement(WITHIN.0, WITHIN.1)]);
        alice.expect(&server, ("POST", "/v1/access-records"), Some(again), 422).await;
    }

    async fn member_without_any_grant_grants_nothing(server: Server) {
        Stage::new(&server).await;
        server.user("carol", &["both", "self"]).await;
        let carol = Credential { value: server.admin.clone(), on_behalf_of: Some("carol") };
        for resource in ["/*", "/users/carol/*", "/a"] {
            let body = record(&user("carol"), &[statement("viewer", resource)]);
            carol.expect(&server, ("POST", "/v1/access-records"), Some(body), 422).await;
        }
    }

    // Ids enter the templates percent-encoded, and a template without a user is for managers.
    async fn templates_give_resources(
        server: Server, r#"access_records.user_resources=["/users/{user}/*", "/organizations/{organization}/*"]"#
    ) {
        let stage = Stage::new(&server).await;
        server.user("auth0|a@b", &[]).await;
        server.member("acme", "auth0|a@b", &["both", "self"]).await;
        let at = |who: &'static str| Credential { value: server.admin.clone(), on_behalf_of: Some(who) };
        for (caller, principal, resource, status) in [
            (at(ALICE), user("alice"), "/users/alice/*", 201),
            (at(ALICE), user("alice"), "/users/alice/x/*", 201),
            (at(ALICE), user("alice"), "/users/*", 422),
            (at(ALICE), user("alice"), "/users/bob/*", 422),
            (at(ALICE), user("alice"), "/users/alice", 422),
            (at(ALICE), user("alice"), "/organizations/acme/*", 422),
            (at("auth0|a@b; organization=acme"), user("auth0|a@b"), "/users/auth0%7Ca%40b/*", 201),
            (at("auth0|a@b; organization=acme"), user("auth0|a@b"), "/users/auth0|a@b/*", 422),
            (at(MAX), user("max"), "/organizations/acme/*", 201),
            (at(MAX), user("bob"), "/organizations/acme/7", 201),
            (at(MAX), user("bob"), "/organizations/other/7", 422),
            (at(MAX), user("bob"), "/users/bob/*", 422),
            (at(MAX), stage.limited.clone(), "/organizations/acme/*", 422),
        ] {
            let body = record(&principal, &[statement("both", resource)]);
            let (found, answer) = caller.call(&server, "POST", "/v1/access-records", Some(body)).await;
            assert_eq!(found.as_u16(), status, "{:?} {resource}: {answer}", caller.on_behalf_of);
        }
        // A member cannot grant what it cannot do itself, in the resources of a template either.
        server.role("delete", &["user-api-keys:manage-all"]).await;
        let body = record(&user("alice"), &[statement("delete", "/users/alice/*")]);
        at(ALICE).expect(&server, ("POST", "/v1/access-records"), Some(body), 422).await;
    }

    // A manager names users, and the keys and service clients of the organization and its own.
    async fn manager_cannot_name_keys_of_other_members(server: Server) {
        let stage = Stage::new(&server).await;
        let of_organization = server.key_of(json!({ "type": "organization", "id": "acme" }), &["docs:read"]).await;
        let made = json!({ "name": "free", "owner": { "type": "organization", "id": "acme" }, "permissions": ["docs:read"] });
        let free = client(&server.manage("POST", "/v1/service-clients", Some(made), 201).await["id"]);
        for caller in stage.credentials(&server, MAX).await {
            for (principal, status) in [
                (&key(&stage.keys[0].id), 422),
                (&key(&stage.keys[1].id), 422),
                (&stage.limited, 422),
                (&stage.of_bob, 422),
                (&key(&of_organization.id), 201),
                (&free, 201),
                (&key(&stage.keys[2].id), 201),
                (&stage.bob, 201),
                (&stage.max, 201),
            ] {
                let body = record(principal, &[statement("viewer", "/acme/2")]);
                let (found, answer) = caller.call(&server, "POST", "/v1/access-records", Some(body)).await;
                assert_eq!(found.as_u16(), status, "{principal}: {answer}");
                if status == 422 {
                    assert_eq!(answer["errors"][0]["field"], "principals[0]", "{answer}");
                }
            }
            // Nor by adding them to a record.
            let own = caller.expect(&server, ("POST", "/v1/access-records"),
                Some(record(&stage.max, &[statement("viewer", "/acme/2")])), 201).await;
            let path = format!("/v1/access-records/{}", own["id"].as_str().unwrap());
            let more = json!({ "principals": [stage.max, key(&stage.keys[1].id)] });
            caller.expect(&server, ("PATCH", &path), Some(more), 422).await;
        }
        assert!(!is_allowed(&server, &key(&stage.keys[0].id), "docs:read", "/acme/2").await);
    }
}
