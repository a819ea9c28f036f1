//! `errors` names every faulty member of a body and every faulty parameter, in one response.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    null_members::resolve,
    stored_state,
    undocumented::{Operation, document, request},
};
use crate::{
    openapi::operations,
    support::{Server, both, wire::problem},
};

/// The schema of the JSON body of an operation.
fn body_schema<'a>(document: &'a Value, operation: &'a Operation) -> Option<&'a Map<String, Value>> {
    let content = operation.get("requestBody")?["content"].get("application/json")?;
    resolve(document, &content["schema"]).as_object()
}

/// The JSON types that a schema accepts. Empty if it accepts every value.
fn accepted_types<'a>(document: &'a Value, schema: &'a Value) -> BTreeSet<&'a str> {
    let schema = resolve(document, schema);
    let own = schema["type"].as_array().into_iter().flatten().chain([&schema["type"]]).filter_map(Value::as_str);
    let choices =
        ["oneOf", "anyOf", "allOf"].into_iter().flat_map(move |name| schema[name].as_array().into_iter().flatten());
    own.chain(choices.flat_map(|one| accepted_types(document, one))).collect()
}

/// A value that is neither of the accepted types nor `null`.
fn wrong_value(accepted: &BTreeSet<&str>) -> Value {
    if accepted.contains("object") { json!(1) } else { json!({ "SECRET": "SECRET" }) }
}

/// The field and the message of each fault.
fn faults(body: &Value) -> Vec<(&str, &str)> {
    let errors = body["errors"].as_array().unwrap_or_else(|| panic!("no errors: {body}"));
    errors.iter().map(|fault| (fault["field"].as_str().unwrap(), fault["message"].as_str().unwrap())).collect()
}

fn fields(body: &Value) -> Vec<&str> {
    faults(body).into_iter().map(|(field, _)| field).collect()
}

async fn send(server: &Server, method: &str, path: &str, body: &str) -> Value {
    let request = server.http.request(method.parse().unwrap(), server.url(path)).bearer_auth(&server.admin);
    let request = request.header("content-type", "application/json").body(body.to_owned());
    problem(request.send().await.unwrap(), 422, "invalid").await
}

both! {
    async fn every_member_of_a_wrong_type_is_named_by_every_operation(server: Server) {
        let document = document(&server).await;
        let before = stored_state(&server).await;
        let (mut bodies, mut members) = (0, 0);
        for (path, method, operation) in operations(&document) {
            let Some(schema) = body_schema(&document, operation) else { continue };
            let properties = schema["properties"].as_object().unwrap();
            let mut body = Map::from_iter([("no_such_member".to_owned(), json!(1))]);
            for (name, property) in properties {
                let accepted = accepted_types(&document, property);
                assert!(!accepted.is_empty(), "{method} {path} {name} has no type");
                body.insert(name.clone(), wrong_value(&accepted));
            }
            let answer = request(&server, path, method, operation, "").json(&body).send().await.unwrap();
            let answer = problem(answer, 422, "invalid").await;
            let named: BTreeSet<_> = fields(&answer).into_iter().collect();
            let expected: BTreeSet<_> = body.keys().map(String::as_str).collect();
            assert_eq!(named, expected, "{method} {path}: {answer}");
            assert_eq!(fields(&answer).len(), expected.len(), "{method} {path}: each once: {answer}");
            assert!(!answer.to_string().contains("SECRET"), "{method} {path}: {answer}");
            bodies += 1;
            members += properties.len();
        }
        assert!(bodies > 25 && members > 90, "{bodies} bodies with {members} members");
        assert_eq!(stored_state(&server).await, before);
    }

    async fn every_missing_member_is_named_by_every_operation(server: Server) {
        let document = document(&server).await;
        let before = stored_state(&server).await;
        let mut missing = 0;
        for (path, method, operation) in operations(&document) {
            let Some(schema) = body_schema(&document, operation) else { continue };
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            let required: BTreeSet<_> = required.map(|name| name.as_str().unwrap()).collect();
            let answer = request(&server, path, method, operation, "").json(&json!({ "no_such_member": 1 }));
            let answer = problem(answer.send().await.unwrap(), 422, "invalid").await;
            let faults = faults(&answer);
            let named: BTreeSet<_> = faults.iter().filter(|(_, text)| *text == "is missing").map(|(field, _)| *field).collect();
            assert_eq!((faults[0].0, &named), ("no_such_member", &required), "{method} {path}: {answer}");
            assert_eq!(faults.len(), 1 + required.len(), "{method} {path}: {answer}");
            missing += required.len();
        }
        assert!(missing > 14, "{missing} required members");
        assert_eq!(stored_state(&server).await, before);
    }

    async fn members_of_several_kinds_of_faults_are_named_together(server: Server) {
        let before = stored_state(&server).await;
        let body = r#"{"name":" ","permissions":["ok","a b",1],"expires_at":"soon","metadata":[],"max_token_ttl":null,
            "exchanges_per_minute":-1,"owner":{"type":"user","id":"a","kind":"x"},"nane":"a","record_bound":null}"#;
        let answer = send(&server, "POST", "/v1/api-keys", body).await;
        let expected = [
            "name", "permissions[1]", "permissions[2]", "expires_at", "metadata", "exchanges_per_minute", "owner.kind", "nane",
            "record_bound",
        ];
        assert_eq!(fields(&answer), expected, "{answer}");
        assert!(faults(&answer).iter().all(|(_, message)| !message.is_empty()), "{answer}");
        let body = r#"{"name":"a","record_bound":true,"name":"b","record_bound":false,"metadata":{"a":1,"a":2}}"#;
        assert_eq!(fields(&send(&server, "POST", "/v1/api-keys", body).await), ["name", "record_bound", "metadata"]);
        // In nested objects and lists as well.
        let body = r#"{"name":"a","statements":[{"roles":["a"],"resources":1,"x":1},{"roles":[]}],"admins":1}"#;
        let answer = send(&server, "POST", "/v1/access-records", body).await;
        let expected = ["statements[0].resources", "statements[0].x", "statements[1].resources", "admins", "principals"];
        assert_eq!(fields(&answer), expected, "{answer}");
        assert_eq!(stored_state(&server).await, before);
    }

    async fn faults_that_the_database_decides_are_named_together(server: Server) {
        let before = stored_state(&server).await;
        let body = json!({
            "name": "a", "owner": { "type": "none" }, "permissions": ["no-such", "none-such"], "expires_at": "2001-01-01T00:00:00Z",
            "audiences": ["https://no-such.test/"], "max_token_ttl": "0s", "exchanges_per_minute": 0,
        });
        let answer = send(&server, "POST", "/v1/api-keys", &body.to_string()).await;
        let expected = ["permissions", "permissions", "audiences", "expires_at", "max_token_ttl", "exchanges_per_minute"];
        assert_eq!(fields(&answer), expected, "{answer}");
        // The permissions depend on the owner, the others do not.
        let mut of_absent = body.clone();
        of_absent["owner"] = json!({ "type": "user", "id": "absent" });
        let answer = send(&server, "POST", "/v1/api-keys", &of_absent.to_string()).await;
        assert_eq!(fields(&answer), ["owner", "audiences", "expires_at", "max_token_ttl", "exchanges_per_minute"], "{answer}");
        assert_eq!(stored_state(&server).await, before);

        let key = server.generic_key(&[]).await;
        let path = format!("/v1/api-keys/{}", key.id);
        let large = "x".repeat(10_000);
        server.manage("PATCH", &path, Some(json!({ "metadata": { "large": large } })), 200).await;
        let patch = json!({ "metadata": { "more": large }, "expires_at": "2001-01-01T00:00:00Z", "permissions": ["no-such"] });
        let answer = send(&server, "PATCH", &path, &patch.to_string()).await;
        assert_eq!(fields(&answer), ["permissions", "expires_at", "metadata"], "{answer}");
    }

    async fn a_body_with_many_faults_is_refused_with_the_first(server: Server) {
        let before = stored_state(&server).await;
        let members: Vec<_> = (0..3000).map(|n| format!("\"member_{n}\":1")).collect();
        let answer = send(&server, "POST", "/v1/api-keys", &format!("{{{}}}", members.join(","))).await;
        let named = fields(&answer);
        assert_eq!((named.len(), named[0], named[31], named[32]), (33, "member_0", "member_31", "body"), "{answer}");
        // A large body is examined fewer times.
        let body = json!({ "name": "a", "permissions": vec!["a b"; 10_000] }).to_string();
        let answer = send(&server, "POST", "/v1/api-keys", &body).await;
        let expected = ["permissions[0]", "permissions[1]", "permissions[2]", "permissions[3]", "body"];
        assert_eq!(fields(&answer), expected, "{answer}");
        let body = json!({ "statements": vec![json!({}); 20_000] }).to_string();
        let answer = send(&server, "POST", "/v1/access-records", &body).await;
        assert_eq!((fields(&answer).len(), fields(&answer)[0]), (33, "statements[0].roles"), "{answer}");
        // The body of an exchange is examined before its key.
        let members: Vec<_> = (0..40).map(|n| format!("\"x{n}\":1")).collect();
        let body = format!("{{\"audience\":{},{}}}", json!(vec!["https://a.test/"; 3000]), members.join(","));
        for path in ["/v1/exchange", "/v1/exchange/explain"] {
            let stranger = server.post(path).bearer_auth("unknown").header("content-type", "application/json").body(body.clone());
            let answer = problem(stranger.send().await.unwrap(), 422, "invalid").await;
            let named = fields(&answer);
            assert_eq!((named.len(), named[0], named[31], named[32]), (33, "x0", "x31", "body"), "{answer}");
        }
        assert_eq!(stored_state(&server).await, before);
    }

    async fn a_name_of_the_client_is_cut_as_a_whole(server: Server) {
        let name = "acme.live.0123456789abcdef";
        let answer = send(&server, "POST", "/v1/api-keys", &json!({ "name": "a", name: 1 }).to_string()).await;
        assert_eq!(fields(&answer), ["acme.liv..."], "{answer}");
        let answer = server.get(&format!("/v1/api-keys?{name}=1")).bearer_auth(&server.admin).send().await.unwrap();
        let answer = problem(answer, 400, "bad_request").await;
        assert_eq!(fields(&answer), ["acme.liv..."], "{answer}");
        assert!(!answer.to_string().contains("0123456789"), "{answer}");
        // A position is no part of a name.
        let permissions: Vec<_> = (0..=100).map(|n| if n < 100 { json!("a") } else { json!(1) }).collect();
        let body = json!({ "value": "x", "required_permissions": permissions }).to_string();
        assert_eq!(fields(&send(&server, "POST", "/v1/api-keys/validate", &body).await), ["required_permissions[100]"]);
    }

    async fn every_faulty_parameter_is_named(server: Server) {
        let admin = |path: &str| server.get(path).bearer_auth(&server.admin);
        // Several arguments of the handler read them.
        let answer = admin("/v1/api-keys?limit=0&state=open&unused_since=soon&archived=maybe").send().await.unwrap();
        let answer = problem(answer, 422, "invalid").await;
        let named: BTreeSet<_> = fields(&answer).into_iter().collect();
        assert_eq!(named, BTreeSet::from(["limit", "state", "unused_since", "archived"]), "{answer}");
        let answer = admin("/v1/api-keys?one=1&limit=1&limit=1&state=&two=2&a_parameter_with_a_long_name_SECRET=1").send().await.unwrap();
        let answer = problem(answer, 400, "bad_request").await;
        assert_eq!(fields(&answer), ["one", "limit", "state", "two", "a_parame..."], "{answer}");
        let detail = answer["detail"].as_str().unwrap();
        for part in ["unknown query parameter; this operation accepts: ", "`limit` is repeated", "`state` is empty"] {
            assert_eq!(detail.matches(part).count(), 1, "{detail}");
        }
        let many: Vec<_> = (0..200).map(|n| format!("p{n}=1")).collect();
        let answer = admin(&format!("/v1/api-keys?{}", many.join("&"))).send().await.unwrap();
        assert_eq!(fields(&problem(answer, 400, "bad_request").await).len(), 32);
    }

    async fn the_faults_of_a_path_and_of_a_body_are_named_together(server: Server) {
        let answer = send(&server, "PUT", "/v1/permissions/a%20b", r#"{"assignable_to":["absent"],"description":1}"#).await;
        assert_eq!(fields(&answer), ["assignable_to[0]", "description", "name"], "{answer}");
    }

    async fn an_error_that_is_no_fault_of_a_field_precedes_the_faults(server: Server) {
        let request = server.http.put(server.url("/v1/permissions/a")).bearer_auth(&server.admin);
        let request = request.header("if-match", "no tag").json(&json!({ "description": 1 }));
        let answer = problem(request.send().await.unwrap(), 400, "bad_request").await;
        assert!(answer.get("errors").is_none(), "{answer}");
    }
}
