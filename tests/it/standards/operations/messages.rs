//! Media types, ids, preflights and caching of every operation.

use reqwest::Response;
use serde_json::Value;

use super::{
    Differences, Operation, header, operations, over_operations,
    subjects::{Body, Subject},
};

/// The origin that the settings allow.
const ORIGIN: &str = "https://page.test";

impl Operation {
    /// Whether pages of every origin read it (`standards::cors`).
    fn is_public_document(&self) -> bool {
        ["/.well-known/", "/v1/status-lists", "/openapi.json"].iter().any(|start| self.template.starts_with(start))
    }

    /// Whether it serves a page or a file of one.
    fn is_file(&self) -> bool {
        let is_page = ["/console", "/portal/organization-keys", "/portal/user-keys"].contains(&self.template.as_str());
        let is_file = ["/assets/{hash}/{folder}/{file}", "/docs", "/docs/{file}", "/widget/v1.js"];
        is_page || is_file.contains(&self.template.as_str())
    }

    fn is_oauth(&self) -> bool {
        ["/oauth/", "/identity/"].iter().any(|start| self.template.starts_with(start))
    }

    /// The media types that a response with this status may have.
    fn media_types(&self, status: u16) -> Vec<String> {
        let content = self.described["responses"][status.to_string()]["content"].as_object();
        content.into_iter().flat_map(|content| content.keys().cloned()).collect()
    }
}

/// The media type of a response, without parameters.
fn media_type(answer: &Response) -> String {
    header(answer, "content-type").split(';').next().unwrap_or_default().to_owned()
}

over_operations! {
    /// RFC 9110 §8.3 and §15.5.16: a body of another type is refused with 415 in the format of the
    /// path, and parameters of a media type do not matter.
    async fn media_types_are_those_of_the_document(server: Server) {
        let mut differences = Differences::default();
        for operation in operations(&server).await {
            let subject = Subject::new(&server, &operation).await;
            let (kind, text) = match &subject.body {
                Body::None => (None, String::new()),
                Body::Json(body) => (Some("application/json"), body.to_string()),
                Body::Form(pairs) => {
                    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
                    (Some("application/x-www-form-urlencoded"), form)
                }
                Body::Lines(lines) => (Some("application/x-ndjson"), (*lines).to_owned()),
            };
            let answer = if let Some(kind) = kind {
                let error = if operation.is_oauth() { "application/json" } else { "application/problem+json" };
                for other in ["text/plain", "application/xml", "multipart/form-data; boundary=a", "application/json-seq"] {
                    let answer = subject.request_with(&server, other, text.clone()).send().await.unwrap();
                    let seen = format!("{} {}", answer.status().as_u16(), media_type(&answer));
                    differences.check(&operation, &format!("Content-Type: {other}"), &format!("415 {error}"), &seen);
                }
                let parameterized = kind.to_uppercase() + " ; charset=\"UTF-8\"";
                let answer = subject.request_with(&server, &parameterized, text).send().await.unwrap();
                let seen = answer.status().is_success().to_string();
                differences.check(&operation, &format!("Content-Type: {parameterized}"), "true", &seen);
                answer
            } else {
                subject.request(&server).send().await.unwrap()
            };
            let documented = operation.media_types(answer.status().as_u16());
            let seen = media_type(&answer);
            // The type of a file depends on its name.
            let is_documented = match seen.as_str() {
                "" => documented.is_empty(),
                "text/css" | "text/javascript" => operation.is_file(),
                seen => documented.iter().any(|one| one == seen),
            };
            differences.check(&operation, &format!("Content-Type of the response: {seen}"), "true", &is_documented.to_string());
        }
        differences.assert_none(250);
    }
}

over_operations! {
    /// An id that does not exist, and a text that is no id, have the same answer.
    async fn absent_and_malformed_ids_have_one_answer(server: Server) {
        let mut differences = Differences::default();
        for operation in operations(&server).await.into_iter().filter(Operation::names_object) {
            let subject = Subject::new(&server, &operation).await;
            let Some(object) = subject.object.clone() else { continue };
            if operation.method == "PUT" {
                continue; // It creates the object; a malformed id is 422.
            }
            let answer = async |subject: &Subject| {
                let answer = subject.request(&server).send().await.unwrap();
                let status = answer.status().as_u16();
                let mut body: Value = answer.json().await.unwrap_or_default();
                body.as_object_mut().map(|body| body.remove("instance"));
                format!("{status} {body}")
            };
            let mut malformed = Subject::new(&server, &operation).await;
            let (head, _) = malformed.object.clone().unwrap().rsplit_once('/').map(|(head, id)| (head.to_owned(), id.to_owned())).unwrap();
            malformed.path = malformed.path.replacen(malformed.object.as_ref().unwrap(), &format!("{head}/%2A%00"), 1);
            let absent = answer(&subject.of_absent()).await;
            differences.check(&operation, &format!("absent, instead of {object}"), "404", &absent[..3]);
            differences.check(&operation, "malformed", &absent, &answer(&malformed).await);
        }
        differences.assert_none(70);
    }
}

over_operations! {
    /// Fetch §4.8: pages of every origin may read public documents, pages of a configured origin
    /// may call `/v1`, and nothing else answers a page.
    async fn preflights_are_answered_where_pages_may_call(server: Server) {
        let mut differences = Differences::default();
        for operation in operations(&server).await {
            let subject = Subject::new(&server, &operation).await;
            let is_v1 = operation.template.starts_with("/v1/");
            for origin in [ORIGIN, "https://other.test"] {
                let expected = match (operation.is_public_document(), is_v1 && origin == ORIGIN) {
                    (true, _) => "*",
                    (false, true) => origin,
                    (false, false) => "",
                };
                let preflight = server.http.request(reqwest::Method::OPTIONS, server.url(&subject.path));
                let preflight = preflight.header("origin", origin).header("access-control-request-method", operation.method.as_str());
                let answer = preflight.send().await.unwrap();
                let what = format!("preflight of {origin}");
                differences.check(&operation, &what, expected, &header(&answer, "access-control-allow-origin"));
                if !expected.is_empty() {
                    differences.check(&operation, &format!("{what}: success"), "true", &answer.status().is_success().to_string());
                    let methods = header(&answer, "access-control-allow-methods");
                    let allows = methods.split(',').any(|method| method.trim() == operation.method.as_str());
                    differences.check(&operation, &format!("{what}: methods {methods}"), "true", &allows.to_string());
                    let max_age: u32 = header(&answer, "access-control-max-age").parse().unwrap_or_default();
                    differences.check(&operation, &format!("{what}: max age"), "true", &(max_age >= 600).to_string());
                }
                differences.check(&operation, &format!("{what}: credentials"), "", &header(&answer, "access-control-allow-credentials"));
            }
        }
        differences.assert_none(500);
    }
}

over_operations! {
    /// RFC 9111 §5.2.2: public documents and files say how long they are fresh, and nothing else
    /// is stored. Errors are never stored.
    async fn caching_is_allowed_for_public_documents_only(server: Server) {
        let mut differences = Differences::default();
        for operation in operations(&server).await {
            let subject = Subject::new(&server, &operation).await;
            let answer = subject.request(&server).send().await.unwrap();
            let control = header(&answer, "cache-control");
            let is_stored = operation.is_public_document() || operation.is_file();
            let seen = if control.starts_with("public, ") { "public" } else { control.as_str() };
            // A 204 to a request other than GET has no content to store.
            if answer.status().as_u16() != 204 {
                let expected = if is_stored { "public" } else { "no-store" };
                differences.check(&operation, "Cache-Control", expected, seen);
            }
            if is_stored {
                differences.check(&operation, "ETag", "true", &header(&answer, "etag").starts_with('"').to_string());
            }
            if operation.is_public_document() {
                // Without credentials there is nothing to vary by, except the encoding.
                let vary = header(&answer, "vary");
                let is_free = ["", "Accept-Encoding"].contains(&vary.as_str());
                differences.check(&operation, &format!("Vary: {vary}"), "true", &is_free.to_string());
            }
            if !operation.is_public() && !operation.is_oauth() {
                let refused = server.http.request(operation.method.clone(), server.url(&subject.path)).send().await.unwrap();
                differences.check(&operation, "without a credential", "401", refused.status().as_str());
                differences.check(&operation, "Cache-Control of the error", "no-store", &header(&refused, "cache-control"));
            }
        }
        differences.assert_none(200);
    }
}
