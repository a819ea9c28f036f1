//! Conditional requests (RFC 9110 §13). A request that reads is evaluated here, by the tag of the
//! response of its handler. The preconditions of a change are an argument of its handler, which
//! passes them to the service: they are evaluated within the transaction, after the object is
//! locked. A handler without this argument selects no representation and ignores them.

use actix_web::{
    Error, HttpRequest, HttpResponse, ResponseError,
    dev::Payload,
    http::{
        StatusCode,
        header::{CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH},
    },
};
use serde_json::json;

use crate::{
    domain::common::preconditions::{EntityTag, FailedPrecondition, Preconditions, ReadOutcome, TagList},
    http::{
        oauth_error::OAuthError,
        openapi::{
            responses::tag_list_schema,
            signature::{HandlerArgument, HandlerSignature, header_parameter},
        },
        problem::{Problem, is_oauth_path},
    },
};

impl HandlerArgument for Preconditions {
    fn describe(signature: &mut HandlerSignature) {
        signature.parameters.extend(header_parameter(json!({
            "name": "If-Match",
            "description": "Tags of the versions to change, or `*` for any version. If the object has another version or does not \
                exist, the request fails with 412.",
            "schema": tag_list_schema(),
        })));
        signature.parameters.extend(header_parameter(json!({
            "name": "If-None-Match",
            "description": "`*` to change nothing that exists, or tags of versions not to change. Otherwise the request fails with 412.",
            "schema": tag_list_schema(),
        })));
    }
    async fn extract(request: &HttpRequest, _: &mut Payload) -> Result<Self, Error> {
        let parse = |name| parse_field(request, &name).map_err(|fault| Problem::bad_request(fault.0));
        Ok(Self { if_match: parse(IF_MATCH)?, if_none_match: parse(IF_NONE_MATCH)? })
    }
}

/// A field that cannot be understood, as a message for the client.
struct FieldFault(String);

fn parse_field(request: &HttpRequest, name: &HeaderName) -> Result<Option<TagList>, FieldFault> {
    let lines = request.headers().get_all(name).map(|value| value.as_bytes());
    // Names of fields in messages have their usual spelling.
    let name = if name == IF_MATCH { "If-Match" } else { "If-None-Match" };
    TagList::parse(lines).map_err(|fault| FieldFault(format!("{name} {fault}")))
}

/// Evaluates the preconditions of a request that reads, if its response is 200: an error of the
/// request itself precedes them (§13.2.1). A public document ignores a field that it cannot
/// understand, because verifiers that send one cannot be changed.
pub fn evaluate_read(request: &HttpRequest, response: HttpResponse, is_public: bool) -> HttpResponse {
    let is_conditional = [IF_MATCH, IF_NONE_MATCH].iter().any(|name| request.headers().contains_key(name));
    if response.status() != StatusCode::OK || !is_conditional {
        return response;
    }
    let parse = |name| match parse_field(request, &name) {
        Err(_) if is_public => Ok(None),
        parsed => parsed,
    };
    let preconditions = parse(IF_MATCH).and_then(|if_match| {
        let if_none_match = parse(IF_NONE_MATCH)?;
        Ok(Preconditions { if_match, if_none_match })
    });
    let tag = response.headers().get(ETAG).and_then(|tag| EntityTag::parse(tag.to_str().ok()?));
    match preconditions.map(|preconditions| preconditions.check_read(tag.as_ref())) {
        Ok(Ok(ReadOutcome::Proceed)) => response,
        Ok(Ok(ReadOutcome::NotModified)) => not_modified(response),
        Ok(Err(failed)) => precondition_failed(request, failed),
        Err(FieldFault(fault)) if is_oauth_path(request) => OAuthError::invalid_request(fault).error_response(),
        Err(FieldFault(fault)) => Problem::bad_request(fault).error_response(),
    }
}

/// The response without its content, and with the headers that concern caches (§15.4.5).
fn not_modified(response: HttpResponse) -> HttpResponse {
    let mut response = response.drop_body();
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    for name in [CONTENT_TYPE, CONTENT_ENCODING] {
        response.headers_mut().remove(name);
    }
    response.map_into_boxed_body()
}

fn precondition_failed(request: &HttpRequest, failed: FailedPrecondition) -> HttpResponse {
    if is_oauth_path(request) {
        OAuthError::precondition_failed().error_response()
    } else {
        Problem::precondition_failed(failed).error_response()
    }
}
