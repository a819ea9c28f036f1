//! Every operation of the OpenAPI document refuses what the document does not describe: unknown body members,
//! bodies of operations without one, unknown and repeated query parameters, and values outside of an enumeration.

use keyswap::domain::events::EventType;
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};

use super::stored_state;
use crate::{
    openapi::operations,
    support::{Server, both, wire::problem},
};

pub type Operation = Map<String, Value>;

pub async fn document(server: &Server) -> Value {
    server.get("/openapi.json").send().await.unwrap().json().await.unwrap()
}

fn parameters<'a>(operation: &'a Operation, place: &'static str) -> impl Iterator<Item = &'a Value> {
    operation.get("parameters").and_then(Value::as_array).into_iter().flatten().filter(move |one| one["in"] == place)
}

/// Public documents below `/v1`.
const PUBLIC: [(&str, &str); 3] =
    [("/v1/branding", "get"), ("/v1/status-lists", "get"), ("/v1/status-lists/{id}", "get")];

/// Operations outside of `/v1` with the errors of `/v1`.
const STRICT: [&str; 5] = ["/metrics", "/portal/sign-in", "/portal/sign-out", "/console/sign-in", "/console/sign-out"];

/// Operations of `/v1` are strict. Those of OAuth ignore unknown parameters (RFC 6749 section 3.2), and so do public
/// documents and pages, as every web server does.
fn is_strict(path: &str, method: &str) -> bool {
    (path.starts_with("/v1/") || STRICT.contains(&path)) && !PUBLIC.contains(&(path, method))
}

/// A request with a query, and everything else that the document requires.
pub fn request(server: &Server, path: &str, method: &str, operation: &Operation, query: &str) -> RequestBuilder {
    let mut path = path.to_owned();
    for parameter in parameters(operation, "path") {
        let name = parameter["name"].as_str().unwrap();
        let example = parameter["schema"]["examples"][0].as_str().or(parameter["example"].as_str()).unwrap();
        path = path.replace(&format!("{{{name}}}"), example);
    }
    let method: Method = method.to_uppercase().parse().unwrap();
    let request = server.http.request(method, server.url(&format!("{path}{query}"))).bearer_auth(&server.admin);
    parameters(operation, "header").filter(|one| one["required"] == true).fold(request, |request, header| {
        request.header(header["name"].as_str().unwrap(), header["schema"]["enum"][0].as_str().unwrap())
    })
}

/// The values of the first enumeration in a schema.
fn enumeration<'a>(document: &'a Value, schema: &'a Value) -> Option<Vec<&'a str>> {
    if let Some(reference) = schema["$ref"].as_str() {
        return enumeration(document, document.pointer(&reference[1..]).unwrap());
    }
    if let Some(values) = schema["enum"].as_array() {
        return Some(values.iter().map(|value| value.as_str().unwrap()).collect());
    }
    let mut within = schema["oneOf"].as_array().into_iter().flatten().chain(schema.get("items"));
    within.find_map(|schema| enumeration(document, schema))
}

both! {
    async fn an_unknown_query_parameter_is_refused_by_every_operation(server: Server) {
        let document = document(&server).await;
        let before = stored_state(&server).await;
        let mut strict = 0;
        for (path, method, operation) in operations(&document) {
            let at = format!("{method} {path}");
            let answer = request(&server, path, method, operation, "?no_such_parameter=1").send().await.unwrap();
            if is_strict(path, method) {
                strict += 1;
                assert_eq!(answer.status(), 400, "{at}");
                let body = problem(answer, 400, "bad_request").await;
                let detail = body["detail"].as_str().unwrap();
                let all_named = parameters(operation, "query").all(|one| detail.contains(one["name"].as_str().unwrap()));
                assert!(detail.contains("query parameter") && all_named, "{at}: {detail}");
            } else if !path.starts_with("/oauth/") && !path.starts_with("/identity/") {
                let plain = request(&server, path, method, operation, "").send().await.unwrap();
                assert_eq!(answer.status(), plain.status(), "{at}");
            }
        }
        assert!(strict > 60, "{strict} operations are strict");
        assert_eq!(stored_state(&server).await, before);
    }

    async fn a_repeated_query_parameter_is_refused_by_every_operation(server: Server) {
        let document = document(&server).await;
        for (path, method, operation) in operations(&document) {
            for parameter in parameters(operation, "query") {
                let name = parameter["name"].as_str().unwrap();
                let query = format!("?{name}=1&{name}=1");
                let answer = request(&server, path, method, operation, &query).send().await.unwrap();
                assert_eq!(answer.status(), 400, "{method} {path}{query}");
            }
        }
    }

    async fn a_value_outside_of_an_enumeration_is_refused_with_the_accepted_values(server: Server) {
        let document = document(&server).await;
        let mut found = Vec::new();
        for (path, method, operation) in operations(&document) {
            for parameter in parameters(operation, "query") {
                let Some(values) = enumeration(&document, &parameter["schema"]) else { continue };
                let name = parameter["name"].as_str().unwrap();
                let query = format!("?{name}=no_such_value");
                let answer = request(&server, path, method, operation, &query).send().await.unwrap();
                let text = if is_strict(path, method) {
                    let body = problem(answer, 422, "invalid").await;
                    assert_eq!(body["errors"][0]["field"], name, "{method} {path}{query}: {body}");
                    body["errors"][0]["message"].as_str().unwrap().to_owned()
                } else {
                    assert_eq!(answer.status(), 400, "{method} {path}{query}");
                    answer.text().await.unwrap()
                };
                assert!(values.iter().all(|value| text.contains(value)), "{method} {path}{query}: {text}");
                found.push(format!("{path}?{name}"));
            }
        }
        for expected in ["/v1/api-keys?owner_type", "/v1/api-keys?state", "/v1/events?order", "/v1/events?type", "/v1/permissions?assignable_to"] {
            assert!(found.iter().any(|one| one == expected), "{expected} is no enumeration: {found:?}");
        }
    }

    async fn each_event_type_is_a_filter_and_nothing_else(server: Server) {
        for kind in EventType::ALL {
            server.manage("GET", &format!("/v1/events?type={}", kind.as_str()), None, 200).await;
        }
        let two = server.manage("GET", "/v1/events?type=permission.created,api_key.created&limit=1", None, 200).await;
        assert_eq!(two["data"].as_array().unwrap().len(), 1, "{two}");
        for wrong in ["api_key.crated", "api_key.created,no_such.type", "api_key.created,", ",", "API_KEY.CREATED", "api_key"] {
            let body = server.manage("GET", &format!("/v1/events?type={wrong}"), None, 422).await;
            assert_eq!(body["errors"][0]["field"], "type", "{wrong}: {body}");
        }
    }

    async fn an_unknown_body_member_is_refused_by_every_operation(server: Server) {
        let document = document(&server).await;
        let before = stored_state(&server).await;
        let (mut with_body, mut without_body) = (0, 0);
        for (path, method, operation) in operations(&document) {
            let at = format!("{method} {path}");
            let content = operation.get("requestBody").map(|body| body["content"].as_object().unwrap());
            if !is_strict(path, method) || content.is_some_and(|content| !content.contains_key("application/json")) {
                continue;
            }
            let request = request(&server, path, method, operation, "").json(&json!({ "no_such_member": 1 }));
            let answer = request.send().await.unwrap();
            if content.is_some() {
                with_body += 1;
                assert_eq!(answer.status(), 422, "{at}");
                let body = problem(answer, 422, "invalid").await;
                assert_eq!(body["errors"][0]["field"], "no_such_member", "{at}: {body}");
            } else {
                without_body += 1;
                assert_eq!(answer.status(), 400, "{at}");
                let body = problem(answer, 400, "bad_request").await;
                assert!(body["detail"].as_str().unwrap().contains("no body"), "{at}: {body}");
            }
        }
        assert!(with_body > 20 && without_body > 30, "{with_body} with and {without_body} without a body");
        assert_eq!(stored_state(&server).await, before);
    }
}
