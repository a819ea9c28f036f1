//! Conditional requests (RFC 9110 §13.1.1).

use actix_web::{Error, HttpRequest, dev::Payload, http::header::IF_MATCH};
use serde_json::json;

use crate::http::{
    openapi::signature::{HandlerArgument, HandlerSignature, header_parameter},
    problem::Problem,
};

/// The version in `If-Match`. `None` for `*` and without the header.
pub struct IfMatch(pub Option<i64>);

fn parse(request: &HttpRequest) -> Result<Option<i64>, Problem> {
    let mut values = request.headers().get_all(IF_MATCH);
    let Some(value) = values.next() else { return Ok(None) };
    // Several header lines are a list of versions, but an object has only one.
    let text = if values.next().is_none() { value.to_str().unwrap_or_default().trim() } else { "" };
    if text == "*" {
        return Ok(None);
    }
    let version = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).and_then(|tag| tag.parse().ok());
    version
        .map(Some)
        .ok_or_else(|| Problem::bad_request("If-Match must be the ETag of the object, such as \"3\", or *"))
}

impl HandlerArgument for IfMatch {
    fn describe(signature: &mut HandlerSignature) {
        signature.parameters.extend(header_parameter(json!({
            "name": "If-Match",
            "description": "The ETag of the version to change, or `*` for any version. If the object has another version, the \
                request fails with 412.",
            "schema": { "type": "string", "pattern": "^(\\*|\"[0-9]{1,18}\")$", "examples": ["\"3\""] },
        })));
    }
    async fn extract(request: &HttpRequest, _: &mut Payload) -> Result<Self, Error> {
        Ok(Self(parse(request)?))
    }
}
