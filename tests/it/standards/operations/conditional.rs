//! Conditional requests (RFC 9110 §13): each form of each field, alone and together.

use reqwest::Method;

use super::{
    Differences, Lines, Operation, current, header, operations, over_operations, subjects::Subject, with_lines,
};
use crate::support::Server;

/// POST operations that change one object with a version: their preconditions are about that object.
const ACTIONS: [&str; 8] = [
    "POST /v1/api-keys/{id}/rotate",
    "POST /v1/api-keys/{id}/cancel-rotation",
    "POST /v1/api-keys/{id}/suspend",
    "POST /v1/api-keys/{id}/resume",
    "POST /v1/api-keys/{id}/revoke",
    "POST /v1/users/{id}/lock",
    "POST /v1/users/{id}/unlock",
    "POST /v1/webhooks/{id}/rotate-secret",
];

/// Objects that have no version, and a result that moves with the clock, so no tag names them.
const UNVERSIONED: [&str; 3] = ["DELETE /v1/portal-sessions", "DELETE /v1/portal-sessions/{id}", "GET /v1/overview"];

/// What an operation does with preconditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Read,
    Change,
    /// No representation is selected, so it must ignore them (§13.2.1).
    Ignores,
}

fn class(operation: &Operation) -> Class {
    match operation.method {
        Method::GET => Class::Read,
        Method::POST if !ACTIONS.contains(&operation.name.as_str()) => Class::Ignores,
        _ => Class::Change,
    }
}

const MATCH: &str = "if-match";
const NONE: &str = "if-none-match";

/// The forms of one field: its lines, and whether the list contains the tag. `None` is malformed.
fn forms(tag: &str) -> Vec<(Vec<String>, Option<bool>)> {
    let is_tagged = !tag.is_empty();
    let tag = if is_tagged { tag } else { "\"none\"" };
    let (weak, list, weak_list) = (format!("W/{tag}"), format!("\"999\", {tag}"), format!("\"999\",, W/{tag} ,"));
    let found = |lines: &[&str]| (lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(), Some(is_tagged));
    let other = |lines: &[&str]| (lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(), Some(false));
    let malformed = |line: &str| (vec![line.to_owned()], None);
    vec![
        (vec!["*".to_owned()], Some(true)),
        found(&[tag]),
        found(&[&weak]),
        found(&[&list]),
        found(&[&weak_list]),
        found(&["\"999\"", tag]),
        other(&["\"999\""]),
        other(&["W/\"999\""]),
        other(&["\"a,b\""]),
        other(&["\"\""]),
        other(&[""]),
        other(&["\"999\"", "\"998\""]),
        malformed("1"),
        malformed("\"1"),
        malformed("w/\"1\""),
        malformed("W/ \"1\""),
        malformed("\"1\" \"2\""),
        malformed("*, \"1\""),
        malformed("\"1\", *"),
        malformed("\"a b\""),
        malformed("**"),
    ]
}

/// The status of a request with these fields: for each, whether its list contains the tag.
fn expected(
    operation: &Operation,
    success: &str,
    if_match: Option<Option<bool>>,
    if_none: Option<Option<bool>>,
) -> String {
    let class = class(operation);
    let is_lenient = class == Class::Read && operation.is_public();
    let (if_match, if_none) = if is_lenient {
        // A public document ignores what it cannot understand.
        (if_match.filter(Option::is_some), if_none.filter(Option::is_some))
    } else {
        (if_match, if_none)
    };
    let status = match (class, if_match, if_none) {
        (Class::Ignores, ..) => success,
        (_, Some(None), _) | (_, _, Some(None)) => "400",
        (_, Some(Some(false)), _) => "412",
        (Class::Read, _, Some(Some(true))) => "304",
        (Class::Change, _, Some(Some(true))) => "412",
        _ => success,
    };
    status.to_owned()
}

/// The lines of both fields, with what is expected.
type Case = (Vec<(&'static str, String)>, String);

fn cases(operation: &Operation, success: &str, tag: &str) -> Vec<Case> {
    let lines =
        |name: &'static str, values: &[String]| -> Vec<_> { values.iter().map(|one| (name, one.clone())).collect() };
    let mut all = Vec::new();
    for (values, result) in forms(tag) {
        all.push((lines(MATCH, &values), expected(operation, success, Some(result), None)));
        all.push((lines(NONE, &values), expected(operation, success, None, Some(result))));
    }
    let present = [(Some(Some(true)), "*"), (Some(Some(false)), "\"999\""), (Some(None), "x")];
    for (if_match, first) in present {
        for (if_none, second) in present {
            let both = vec![(MATCH, first.to_owned()), (NONE, second.to_owned())];
            all.push((both, expected(operation, success, if_match, if_none)));
        }
    }
    // There is no Last-Modified and no range, so these are ignored (§13.1.3 to §13.1.5).
    for (name, value) in [
        ("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT"),
        ("if-unmodified-since", "Mon, 01 Jan 1990 00:00:00 GMT"),
        ("if-unmodified-since", "nonsense"),
        ("if-range", "\"999\""),
    ] {
        all.push((vec![(name, value.to_owned())], success.to_owned()));
    }
    all
}

fn borrowed<'a>(lines: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    lines.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

async fn send(server: &Server, subject: &Subject, lines: Lines<'_>) -> (String, String) {
    let answer = with_lines(subject.request(server), lines).send().await.unwrap();
    let (status, tag) = (answer.status().as_str().to_owned(), header(&answer, "etag"));
    let text = answer.text().await.unwrap();
    assert!(status != "304" || text.is_empty(), "a body with 304");
    (status, tag)
}

/// The tag of what the operation reads or changes. Empty if it has none.
async fn tag_of(server: &Server, subject: &Subject) -> String {
    if UNVERSIONED.contains(&subject.operation.name.as_str()) {
        return String::new();
    }
    if subject.operation.is_read() {
        return header(&subject.request(server).send().await.unwrap(), "etag");
    }
    current(server, subject).await.map(|(_, tag)| tag).unwrap_or_default()
}

fn success(operation: &Operation) -> String {
    let statuses = operation.described["responses"].as_object().unwrap().keys();
    statuses.filter(|status| status.starts_with('2')).min().unwrap().clone()
}

over_operations! {
    async fn each_form_of_a_precondition_is_evaluated(server: Server) {
        let mut differences = Differences::default();
        for operation in operations(&server).await.iter().filter(|one| class(one) != Class::Ignores) {
            let success = success(operation);
            let mut subject = Subject::new(&server, operation).await;
            let mut tag = tag_of(&server, &subject).await;
            let mut state = current(&server, &subject).await;
            let count = cases(operation, &success, &tag).len();
            for at in 0..count {
                let (lines, expected) = cases(operation, &success, &tag).swap_remove(at);
                let what = format!("{lines:?}");
                let (status, seen) = send(&server, &subject, &borrowed(&lines)).await;
                differences.check(operation, &what, &expected, &status);
                if status == "304" && !tag.is_empty() {
                    differences.check(operation, &format!("{what}: ETag"), &tag, &seen);
                }
                if class(operation) == Class::Change && status.starts_with('2') {
                    subject = Subject::new(&server, operation).await;
                    (tag, state) = (tag_of(&server, &subject).await, current(&server, &subject).await);
                } else if subject.object.is_some() {
                    let after = current(&server, &subject).await;
                    differences.check(operation, &format!("{what}: unchanged"), "true", &(after == state).to_string());
                }
            }
        }
        differences.assert_none(4000);
    }
}

over_operations! {
    async fn an_absent_object_is_created_only_if_the_precondition_allows_it(server: Server) {
        let mut differences = Differences::default();
        for operation in operations(&server).await.iter().filter(|one| one.names_object() && one.template != "/v1/status-lists/{id}") {
            let subject = Subject::new(&server, operation).await.of_absent();
            for (lines, is_met) in [
                (vec![(MATCH, "*")], false),
                (vec![(MATCH, "\"0\"")], false),
                (vec![(MATCH, "\"1\"")], false),
                (vec![(MATCH, "*"), (NONE, "*")], false),
                (vec![(NONE, "\"1\"")], true),
                (vec![(NONE, "*")], true),
            ] {
                let is_put = operation.method == Method::PUT;
                let expected = match (is_put, is_met) {
                    (false, _) => "404",
                    (true, false) => "412",
                    (true, true) => "201",
                };
                let (status, _) = send(&server, &subject, &lines).await;
                differences.check(operation, &format!("absent, {lines:?}"), expected, &status);
                if is_put {
                    let exists = current(&server, &subject).await.is_some();
                    differences.check(operation, &format!("absent, {lines:?}: exists"), &is_met.to_string(), &exists.to_string());
                    if exists {
                        server.manage("DELETE", subject.object.as_ref().unwrap(), None, 204).await;
                    }
                }
            }
        }
        differences.assert_none(250);
    }
}

over_operations! {
    async fn an_operation_that_selects_no_representation_ignores_preconditions(server: Server) {
        let mut differences = Differences::default();
        for operation in operations(&server).await.iter().filter(|one| class(one) == Class::Ignores) {
            differences.check(operation, "documents If-Match", "false", &operation.has_header("If-Match").to_string());
            for lines in [[(MATCH, "\"999\""), (NONE, "*")], [(MATCH, "x"), (NONE, "\"")]] {
                let subject = Subject::new(&server, operation).await;
                let (status, _) = send(&server, &subject, &lines).await;
                differences.check(operation, &format!("{lines:?}"), &success(operation), &status);
            }
        }
        differences.assert_none(60);
    }
}

over_operations! {
    /// The tag of a representation changes with its bytes, and the answer to a change has the tag of
    /// the next GET.
    async fn a_tag_covers_the_whole_representation(server: Server) {
        let mut differences = Differences::default();
        for operation in operations(&server).await.iter().filter(|one| class(one) == Class::Change) {
            let documents = |name| operation.has_header(name).to_string();
            differences.check(operation, "documents If-Match", "true", &documents("If-Match"));
            differences.check(operation, "documents If-None-Match", "true", &documents("If-None-Match"));
            let subject = Subject::new(&server, operation).await;
            let before = current(&server, &subject).await;
            let answer = subject.request(&server).send().await.unwrap();
            let (status, tag) = (answer.status(), header(&answer, "etag"));
            let after = current(&server, &subject).await;
            if let (200 | 201, Some((_, seen))) = (status.as_u16(), &after) {
                differences.check(operation, "ETag of the answer and of GET", seen, &tag);
            }
            if let (Some((before, old)), Some((after, new))) = (&before, &after) {
                differences.check(operation, "the tag moves with the content", &(before != after).to_string(), &(old != new).to_string());
            }
        }
        differences.assert_none(90);
    }
}

over_operations! {
    /// Members that move without a new version: the last use, and the state that follows from the
    /// clock and the owner.
    async fn a_304_never_hides_a_change(server: Server) {
        let key = server.generic_key(&[]).await;
        let path = format!("/v1/api-keys/{}", key.id);
        let get = async |tag: &str| server.get(&path).bearer_auth(&server.admin).header(NONE, tag).send().await.unwrap();
        let first = get("\"none\"").await;
        let tag = header(&first, "etag");
        assert!(tag.starts_with('"'), "a strong tag: {tag}");
        assert_eq!(get(&tag).await.status(), 304);
        server.exchange(&key.value).await;
        server.run_jobs().await;
        let moved = get(&tag).await;
        assert_eq!(moved.status(), 200, "the key was used since");
        let now = header(&moved, "etag");
        assert!(now != tag && moved.json::<serde_json::Value>().await.unwrap()["last_used_at"].is_string());
        // If-Match is about the version, which a use does not change.
        let patch = server.http.patch(server.url(&path)).bearer_auth(&server.admin).header(MATCH, &tag);
        assert_eq!(patch.json(&serde_json::json!({ "name": "b" })).send().await.unwrap().status(), 200);
    }
}
