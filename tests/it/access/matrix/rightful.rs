//! The changes that the matrix does not make: the caller with the right makes each of them, on an
//! object that is created for it.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::{
    callers::{ACCOUNT, Caller, member},
    operations::{Operation, Rule},
    stage::{Stage, created, created_by, fresh},
};
use crate::{access::trust::private_key, support::Server};

/// Makes the change of an operation as the rightful caller: the owner's session for objects that
/// have an owner, and the administrator for all others.
pub async fn succeeds(server: &Server, stage: &Stage, operation: &Operation, callers: &[Caller]) {
    let is_rightful = |caller: &&Caller| match operation.rule {
        Rule::Object(..) => caller.name == "session, every",
        Rule::Anyone | Rule::AnyKey | Rule::AnyClient | Rule::Action(..) => caller.name == "administrator",
    };
    let caller = callers.iter().find(is_rightful).unwrap();
    let path = path(server, stage, operation, caller).await;
    let request = caller.request(server, &operation.method, &path);
    let answer = with_body(request, stage, operation, caller).send().await.unwrap();
    let status = answer.status();
    assert!(status.is_success(), "{} by {}: {status} {}", operation.name, caller.name, answer.text().await.unwrap());
}

fn with_body(request: RequestBuilder, stage: &Stage, operation: &Operation, caller: &Caller) -> RequestBuilder {
    match operation.name.as_str() {
        "POST /v1/signing-keys" => request.json(&json!({ "key": private_key() })),
        "POST /v1/signing-keys/rotate" => request,
        name => match stage.body(name, caller, ACCOUNT) {
            Some(body) => request.json(&body),
            None => request,
        },
    }
}

/// The path of the operation on a new object.
async fn path(server: &Server, stage: &Stage, operation: &Operation, caller: &Caller) -> String {
    let template = operation.template.as_str();
    if template == "/v1/signing-keys/rotate" {
        // The next key may sign only after every verifier can have it.
        server.advance(3661);
    }
    let Some((collection, rest)) = template.split_once("/{") else {
        // Without a filter it is refused.
        let filter = if operation.name == "DELETE /v1/portal-sessions" { "?user=absent" } else { "" };
        return format!("{template}{filter}");
    };
    let (_, step) = rest.split_once('}').unwrap();
    let name = fresh("another");
    let id = match collection {
        "/v1/api-keys" | "/v1/service-clients" | "/v1/access-records" => {
            let body = stage.body(&format!("POST {collection}"), caller, member("every")).unwrap();
            created_by(server, caller, collection, &body).await
        }
        "/v1/organizations" => {
            server.organization(&name).await;
            server.user(&name, &[]).await;
            server.member(&name, &name, &[]).await;
            name.clone()
        }
        "/v1/users" => {
            server.user(&name, &[]).await;
            name.clone()
        }
        "/v1/permissions" => {
            server.permissions_for_all(&[&name]).await;
            name.clone()
        }
        "/v1/roles" => {
            server.role(&name, &[]).await;
            name.clone()
        }
        "/v1/audiences" | "/v1/webhooks" | "/v1/portal-sessions" => {
            created(server, collection, stage.body(&format!("POST {collection}"), caller, ACCOUNT).unwrap()).await
        }
        other => panic!("{other}/{{…}}: say here how to create one"),
    };
    if step == "/cancel-rotation" {
        let rotate = caller.request(server, &Method::POST, &format!("{collection}/{id}/rotate"));
        assert!(rotate.json(&json!({ "grace": "1h" })).send().await.unwrap().status().is_success());
    }
    format!("{collection}/{id}{}", step.replace("{user}", &name))
}
