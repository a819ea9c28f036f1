//! Who may call what: every operation of the OpenAPI document by every kind of caller, for objects
//! of its own tenant, of the other tenant and of the account. What is expected follows from the
//! policy table and `expected`. An operation without a rule fails the test.
//!
//! Operations that accept `If-Match` are sent with a version that no object has, so that they change
//! nothing: a caller that may make the change gets 412. `rightful_callers_succeed` then makes each
//! of these changes. Where the body names an owner for whom the caller may not create an object, the
//! answer is 422, the same as for an owner that does not exist.

mod callers;
mod expected;
mod operations;
mod rightful;
mod stage;

use std::{collections::BTreeMap, fmt::Write};

use futures_util::future::join_all;
use serde_json::Value;

use crate::support::{Server, both, wire};
use callers::{ACCOUNT, COLLEAGUE, Caller, Credential, OURS, Owner, STRANGER, THEIRS, callers};
use operations::{Operation, Right, Rule, operations};
use stage::Stage;

/// One request of the matrix.
#[derive(Debug, Clone, Copy)]
struct Cell<'a> {
    operation: &'a Operation,
    caller: &'a Caller,
    target: Owner,
}

/// How many requests for one operation are sent at once.
const CONCURRENCY: usize = 8;

impl Cell<'_> {
    fn expected(&self) -> u16 {
        expected::status(self.operation, self.caller, self.target)
    }

    async fn send(&self, server: &Server, stage: &Stage) -> reqwest::Response {
        let Self { operation, caller, target } = *self;
        let path = stage.path(server, operation, target).await;
        let mut request = caller.request(server, &operation.method, &path);
        if operation.is_conditional {
            request = request.header("if-match", "\"999999\"");
        }
        if operation.speaks_oauth() {
            request = wire::form(request, &[("token", "unknown")]);
        } else if operation.template == "/v1/import" {
            let line = "{\"type\":\"organization\",\"id\":\"ours\"}\n";
            request = request.header("content-type", "application/x-ndjson").body(line);
        } else if let Some(body) = stage.body(&operation.name, caller, target) {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    /// Sends the request, and returns what is different from what is expected.
    async fn check(&self, server: &Server, stage: &Stage) -> Vec<String> {
        let answer = self.send(server, stage).await;
        let (expected, status) = (self.expected(), answer.status().as_u16());
        let text = answer.text().await.unwrap();
        if status != expected {
            return vec![format!("{expected}, seen {status} {text}")];
        }
        let Rule::Object(kind, Right::List) = self.operation.rule else { return Vec::new() };
        if status != 200 {
            return Vec::new();
        }
        let faults = stage.objects.iter().filter_map(|(owner, objects)| {
            let is_readable = expected::rights(kind, self.caller, *owner).read;
            let is_listed = text.contains(&format!("\"{}\"", objects.id(kind)));
            (is_listed != is_readable)
                .then(|| format!("the object of {owner:?} is listed: {is_readable}, seen {is_listed}"))
        });
        faults.collect()
    }
}

/// The requests for an operation. A caller that may not call it at all is tried on one object of
/// each tenant; all others are tried on their own objects, on those of their organization and of a
/// colleague, on those of the other organization or of its member, and on those of the account.
fn cells<'a>(operation: &'a Operation, callers: &'a [Caller], stage: &Stage) -> Vec<Cell<'a>> {
    let mut all = Vec::new();
    for caller in callers {
        let is_gated = operation.permissions().is_some_and(|needed| caller.refusal.is_some() || !caller.holds(needed));
        for target in stage.objects.keys().copied().filter(|target| operation.accepts(*target)) {
            let is_tried = if is_gated {
                target == OURS || target == THEIRS && matches!(operation.rule, Rule::Object(..))
            } else {
                let other_tenant = if caller.owner.user.is_some() { STRANGER } else { THEIRS };
                [caller.owner, OURS, COLLEAGUE, other_tenant, ACCOUNT].contains(&target)
            };
            if is_tried {
                all.push(Cell { operation, caller, target });
            }
        }
    }
    all
}

/// A table of what differs from what is expected.
fn table(faults: &[(String, String, String)]) -> String {
    let mut text = String::new();
    for (operation, who, what) in faults {
        writeln!(text, "{operation:48} {who:70} expected {what}").unwrap();
    }
    text
}

async fn document(server: &Server) -> Value {
    server.get("/openapi.json").send().await.unwrap().json().await.unwrap()
}

both! {
    async fn every_operation_answers_every_caller_as_the_policy_says(server: Server, r#"webhooks.allowed_networks=["127.0.0.0/8"]"#, r#"webhooks.allowed_ports=["1024-65535"]"#, "webhooks.allow_http=true", r#"access_records.user_resources=["/users/{user}/*"]"#, "jobs=by_hand") {
        let stage = Stage::new(&server).await;
        let callers = callers(&server).await;
        let (mut faults, mut counts) = (Vec::new(), BTreeMap::<u16, usize>::new());
        for operation in operations(&document(&server).await) {
            if operation.rule == Rule::Anyone {
                continue;
            }
            // Each revocation takes the next signing key, of which there is one.
            let at_once = if operation.template.starts_with("/v1/signing-keys/") { 1 } else { CONCURRENCY };
            for some in cells(&operation, &callers, &stage).chunks(at_once) {
                let found = join_all(some.iter().map(|cell| cell.check(&server, &stage))).await;
                for (cell, differences) in some.iter().zip(found) {
                    *counts.entry(cell.expected()).or_default() += 1;
                    let who = format!("{} for {:?}", cell.caller.name, cell.target);
                    faults.extend(differences.into_iter().map(|what| (operation.name.clone(), who.clone(), what)));
                }
            }
        }
        assert!(faults.is_empty(), "{} of {counts:?} differ:\n{}", faults.len(), table(&faults));
        // Each answer occurs often: a matrix that refuses everyone shows nothing.
        for (status, least) in [(200, 400), (201, 80), (401, 250), (403, 1500), (404, 600), (412, 400), (422, 100)] {
            assert!(counts[&status] >= least, "{status}: {counts:?}");
        }
    }

    async fn public_operations_ignore_credentials(server: Server) {
        stage::directory(&server).await;
        let callers = callers(&server).await;
        let (anonymous, others) = callers.split_last().unwrap();
        assert!(matches!(anonymous.credential, Credential::Absent));
        let list = status_list(&server).await;
        let page = server.get("/console").send().await.unwrap().text().await.unwrap();
        let asset = page.split('"').find(|part| part.contains("assets/")).unwrap();
        let asset = format!("/{}", asset.trim_start_matches(['.', '/']));
        for operation in operations(&document(&server).await) {
            if operation.rule != Rule::Anyone {
                continue;
            }
            let path = match operation.template.as_str() {
                "/v1/status-lists/{id}" => &list,
                "/assets/{hash}/{folder}/{file}" => &asset,
                "/docs/{file}" => "/docs/start.js",
                template => template,
            };
            let send = async |caller: &Caller| {
                let request = caller.request(&server, &operation.method, path);
                let request = if operation.is_read() { request } else { wire::form(request, &[]) };
                request.send().await.unwrap().status().as_u16()
            };
            let status = send(anonymous).await;
            assert!(!operation.is_read() || status == 200, "{}: {status}", operation.name);
            for caller in others.iter().filter(|caller| caller.on_behalf_of.is_none()) {
                assert_eq!(send(caller).await, status, "{} by {}", operation.name, caller.name);
            }
        }
    }

    async fn rightful_callers_succeed(server: Server, r#"webhooks.allowed_networks=["127.0.0.0/8"]"#, r#"webhooks.allowed_ports=["1024-65535"]"#, "webhooks.allow_http=true", r#"access_records.user_resources=["/users/{user}/*"]"#, "jobs=by_hand") {
        let stage = Stage::new(&server).await;
        let callers = callers(&server).await;
        let mut changes = operations(&document(&server).await);
        changes.retain(|operation| match operation.rule {
            Rule::Anyone | Rule::AnyKey | Rule::AnyClient => false,
            Rule::Action(_, status) => status > 299,
            Rule::Object(_, right) => matches!(right, Right::Change | Right::End),
        });
        // The clock advances for it, and sessions expire.
        changes.sort_by_key(|operation| operation.name == "POST /v1/signing-keys/rotate");
        assert!(changes.len() >= 34, "only {} operations change something", changes.len());
        for operation in &changes {
            rightful::succeeds(&server, &stage, operation, &callers).await;
        }
    }
}

/// The path of a status list that exists.
async fn status_list(server: &Server) -> String {
    let key = server.generic_key(&["projects:write"]).await;
    let token = server.fetch_token(&key.value).await;
    let list = crate::status_lists::uri_of(&token);
    list.strip_prefix("http://keyswap.test").unwrap().to_owned()
}
