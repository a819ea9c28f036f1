//! Every operation of the OpenAPI document against the rules that hold for all of them, one module a
//! rule: what is expected of an operation against what is seen. `subjects` prepares for each
//! operation a request that succeeds, on an object that was created for it. A new operation without
//! a subject fails the tests.

mod conditional;
mod head;
mod idempotency;
mod messages;
mod races;
mod subjects;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use crate::support::Server;
use subjects::Subject;

/// Settings under which every operation can succeed.
macro_rules! settings {
    () => {
        [
            r#"webhooks.allowed_networks=["127.0.0.0/8"]"#,
            r#"webhooks.allowed_ports=["1024-65535"]"#,
            "webhooks.allow_http=true",
            r#"portal.allowed_origins=["https://page.test"]"#,
            crate::support::MANUAL_JOBS,
        ]
    };
}
pub(crate) use settings;

/// Defines a test over all operations on both databases.
macro_rules! over_operations {
    ($(#[$doc:meta])* async fn $name:ident($server:ident: Server) $body:block) => {
        $(#[$doc])*
        mod $name {
            use super::*;
            async fn test($server: crate::support::Server) $body
            #[test]
            fn sqlite() {
                crate::support::Server::run(crate::support::Kind::Sqlite, &super::super::settings!(), test);
            }
            #[test]
            fn postgres() {
                crate::support::Server::run(crate::support::Kind::Postgres, &super::super::settings!(), test);
            }
        }
    };
}
pub(crate) use over_operations;

/// An operation of the document.
#[derive(Debug, Clone)]
pub struct Operation {
    pub method: Method,
    pub template: String,
    /// Method and path template.
    pub name: String,
    pub described: Value,
}

impl Operation {
    pub fn is_read(&self) -> bool {
        self.method == Method::GET
    }

    /// Whether anyone may call it. Such a document ignores what it does not understand.
    pub fn is_public(&self) -> bool {
        self.described["security"].as_array().is_some_and(Vec::is_empty)
    }

    pub fn has_header(&self, name: &str) -> bool {
        let parameters = self.described["parameters"].as_array();
        parameters.into_iter().flatten().any(|one| one["in"] == "header" && one["name"] == name)
    }

    /// Whether the path names one object.
    pub fn names_object(&self) -> bool {
        self.template.starts_with("/v1/") && self.template.contains('{')
    }
}

/// The operations of the document. Those that end what others need come last.
pub async fn operations(server: &Server) -> Vec<Operation> {
    let document: Value = server.get("/openapi.json").send().await.unwrap().json().await.unwrap();
    let mut all: Vec<_> = crate::openapi::operations(&document)
        .into_iter()
        .map(|(template, method, described)| {
            let method: Method = method.to_uppercase().parse().unwrap();
            let name = format!("{method} {template}");
            Operation { method, template: template.to_owned(), name, described: Value::Object(described.clone()) }
        })
        .collect();
    // They move the clock and replace the keys that sign.
    all.sort_by_key(|operation| operation.template.starts_with("/v1/signing-keys/"));
    all
}

/// Header lines of a request.
pub type Lines<'a> = &'a [(&'a str, &'a str)];

pub fn with_lines(request: RequestBuilder, lines: Lines<'_>) -> RequestBuilder {
    lines.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

/// What differs from what is expected.
#[derive(Debug, Default)]
pub struct Differences {
    lines: Vec<String>,
    checks: usize,
}

impl Differences {
    pub fn check(&mut self, operation: &Operation, what: &str, expected: &str, seen: &str) {
        self.checks += 1;
        if expected != seen {
            self.lines.push(format!("{:50} {what:60} expected {expected}, seen {seen}", operation.name));
        }
    }

    /// Fails if anything differs, or if fewer checks than `least` were made.
    pub fn assert_none(&self, least: usize) {
        assert!(self.lines.is_empty(), "{} of {} differ:\n{}", self.lines.len(), self.checks, self.lines.join("\n"));
        assert!(self.checks >= least, "only {} checks", self.checks);
    }
}

/// A header of a response. Empty if it is absent.
pub fn header(answer: &Response, name: &str) -> String {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
}

/// The current representation of the object that `subject` names, and its tag.
pub async fn current(server: &Server, subject: &Subject) -> Option<(Value, String)> {
    let answer = server.get(subject.object.as_ref()?).bearer_auth(&server.admin).send().await.unwrap();
    let tag = header(&answer, "etag");
    answer.status().is_success().then_some((answer.json().await.unwrap(), tag))
}
