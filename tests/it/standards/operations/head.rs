//! HEAD answers like GET, without the body (RFC 9110 §9.3.2).

use std::collections::BTreeSet;

use reqwest::{Method, Response};

use super::{Differences, header, operations, over_operations, subjects::Subject};

/// The elements of a header, whose order does not matter in the headers for pages.
fn sorted(answer: &Response, name: &str) -> String {
    let value = header(answer, name);
    if !name.starts_with("access-control-") {
        return value;
    }
    let elements: BTreeSet<_> = value.split(", ").collect();
    elements.into_iter().collect::<Vec<_>>().join(", ")
}

over_operations! {
    async fn head_answers_like_get_without_a_body(server: Server) {
        let mut differences = Differences::default();
        let all = operations(&server).await;
        for operation in &all {
            let subject = Subject::new(&server, operation).await;
            let head = subject.request_by(&server, Method::HEAD).send().await.unwrap();
            if !operation.is_read() {
                let is_readable = all.iter().any(|one| one.is_read() && one.template == operation.template);
                let is_found = (head.status() != 405).to_string();
                differences.check(operation, "HEAD", &is_readable.to_string(), &is_found);
                continue;
            }
            let get = subject.request(&server).send().await.unwrap();
            differences.check(operation, "GET", "200", get.status().as_str());
            differences.check(operation, "HEAD", "200", head.status().as_str());
            let names = get.headers().keys().chain(head.headers().keys()).map(reqwest::header::HeaderName::as_str);
            let names: BTreeSet<_> = names.collect();
            for name in names.into_iter().filter(|name| !["date", "x-request-id"].contains(name)) {
                // The content of these moves from one request to the next.
                let moves = ["/v1/events", "/v1/overview", "/metrics"].contains(&operation.template.as_str());
                if !(moves && ["etag", "content-length"].contains(&name)) {
                    differences.check(operation, &format!("HEAD: {name}"), &sorted(&get, name), &sorted(&head, name));
                }
            }
            differences.check(operation, "HEAD: body", "", &head.text().await.unwrap());
            let refused = subject.request_by(&server, Method::TRACE).send().await.unwrap();
            let allow = header(&refused, "allow");
            let lists = ["GET", "HEAD"].iter().all(|one| allow.split(", ").any(|allowed| allowed == *one));
            differences.check(operation, &format!("405 with Allow: {allow}"), "true", &lists.to_string());
        }
        differences.assert_none(400);
    }
}
