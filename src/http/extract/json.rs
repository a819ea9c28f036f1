//! Strict JSON bodies. The error of a body names each member that is unknown, repeated, missing or
//! of a wrong type, and never quotes the input.

use actix_web::{
    Error, HttpRequest,
    dev::Payload,
    http::{Method, header::HeaderName},
    web::BytesMut,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::json;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::{
    crypto::sha256_hex,
    domain::common::{id::OrganizationId, key_text::contains_api_key, structured_field},
    http::{
        extract::{
            access::parse_on_behalf_of,
            body::{self, MAX_JSON_SIZE, has_media_type},
            json_faults::find_faults,
        },
        openapi::signature::{HandlerArgument, HandlerSignature, body, header_parameter},
        problem::Problem,
    },
    service::{
        common::{idempotency::IdempotencyRequest, json_errors::remove_values},
        credentials::caller::OnBehalfOf,
    },
};

/// A JSON body.
pub struct Json<T>(pub T);

/// A JSON body that may be omitted. An empty body is the default value.
pub struct OptionalJson<T>(pub T);

/// The body of a request that creates an object or shows a secret, `Json` or `OptionalJson`, with
/// the `Idempotency-Key` of the request.
pub struct Idempotent<B> {
    pub body: B,
    pub idempotency: Option<IdempotencyRequest>,
}

/// A JSON body, which may be read together with its bytes.
pub trait JsonBody: HandlerArgument {
    fn read(request: &HttpRequest, payload: &mut Payload) -> impl Future<Output = Result<(Self, BytesMut), Problem>>;
}

/// A secret, which is zeroized on drop.
pub fn deserialize_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// A PATCH is a merge patch (RFC 7396), by either media type.
fn require_json(request: &HttpRequest) -> Result<(), Problem> {
    let is_patch = request.method() == Method::PATCH;
    if has_media_type(request, "application/json") || (is_patch && has_media_type(request, MERGE_PATCH)) {
        return Ok(());
    }
    let problem =
        Problem::unsupported_media_type("The body is not JSON", "send JSON, with Content-Type: application/json");
    // RFC 5789 §2.2.
    let accepted = format!("{MERGE_PATCH}, application/json");
    Err(if is_patch { problem.with(ACCEPT_PATCH, accepted) } else { problem })
}

/// Media type of a JSON merge patch (RFC 7396).
pub const MERGE_PATCH: &str = "application/merge-patch+json";
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

fn parse<T: DeserializeOwned + ToSchema>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| problem_of_body::<T>(body, &error))
}

/// Returns the problem of a body that cannot be deserialized. It is parsed again, to find more
/// faults than the first.
fn problem_of_body<T: DeserializeOwned + ToSchema>(body: &[u8], error: &serde_json::Error) -> Problem {
    let tree = match serde_json::from_slice(body) {
        Ok(tree) => tree,
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            return Problem::bad_request(format!("the body is not valid JSON at line {line} column {column}"));
        }
    };
    let faults = find_faults::<T>(tree, body.len());
    if faults.is_empty() {
        Problem::invalid_field("body", remove_values(&error.to_string()))
    } else {
        Problem::invalid(faults)
    }
}

/// Parses an idempotency key. The draft defines a string in quotes, and many clients send it bare:
/// both are the same key.
fn parse_key(text: &str) -> Option<String> {
    if !text.starts_with('"') {
        return Some(text.to_owned());
    }
    let (key, rest) = structured_field::parse_string(text)?;
    rest.is_empty().then_some(key)
}

/// Reads `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): 1 to 255 printable ASCII
/// characters.
fn idempotency(request: &HttpRequest, body: &[u8]) -> Result<Option<IdempotencyRequest>, Problem> {
    let mut values = request.headers().get_all("idempotency-key");
    let Some(value) = values.next() else { return Ok(None) };
    // With two keys it is ambiguous which one a retry will repeat.
    let text = if values.next().is_none() { value.to_str().unwrap_or_default() } else { "" };
    let key = parse_key(text).unwrap_or_default();
    let printable = key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !(1..=255).contains(&key.len()) || !printable || contains_api_key(&key) {
        return Err(Problem::bad_request(
            "Idempotency-Key must be 1 to 255 printable ASCII characters, bare or in double quotes, without an API key",
        ));
    }
    let mut hashed = format!("{} {}\n", request.method(), request.path()).into_bytes();
    // The same request on behalf of another user or organization is a different request.
    if let Some(OnBehalfOf { user, organization }) = parse_on_behalf_of(request.headers())? {
        let organization = organization.as_ref().map(OrganizationId::as_str).unwrap_or_default();
        hashed.extend_from_slice(format!("{user}\n{organization}\n").as_bytes());
    }
    hashed.push(b'\n');
    hashed.extend_from_slice(body);
    Ok(Some(IdempotencyRequest { key, request_hash: sha256_hex(&hashed) }))
}

impl<T: DeserializeOwned + ToSchema> HandlerArgument for Json<T> {
    const READS_BODY: bool = true;
    fn describe(signature: &mut HandlerSignature) {
        signature.body = Some(body::<T>("application/json", true));
    }
    async fn extract(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        Ok(Self::read(request, payload).await?.0)
    }
}

impl<T: DeserializeOwned + ToSchema> JsonBody for Json<T> {
    async fn read(request: &HttpRequest, payload: &mut Payload) -> Result<(Self, BytesMut), Problem> {
        require_json(request)?;
        let body = body::read(payload, MAX_JSON_SIZE).await?;
        Ok((Self(parse(&body)?), body))
    }
}

impl<T: DeserializeOwned + Default + ToSchema> HandlerArgument for OptionalJson<T> {
    const READS_BODY: bool = true;
    fn describe(signature: &mut HandlerSignature) {
        signature.body = Some(body::<T>("application/json", false));
    }
    async fn extract(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        Ok(Self::read(request, payload).await?.0)
    }
}

impl<T: DeserializeOwned + Default + ToSchema> JsonBody for OptionalJson<T> {
    async fn read(request: &HttpRequest, payload: &mut Payload) -> Result<(Self, BytesMut), Problem> {
        let body = body::read(payload, MAX_JSON_SIZE).await?;
        if body.is_empty() {
            return Ok((Self(T::default()), body));
        }
        require_json(request)?;
        Ok((Self(parse(&body)?), body))
    }
}

impl<B: JsonBody> HandlerArgument for Idempotent<B> {
    const READS_BODY: bool = true;
    fn describe(signature: &mut HandlerSignature) {
        B::describe(signature);
        signature.parameters.extend(header_parameter(json!({
            "name": "Idempotency-Key",
            "description": "A unique key for the request, bare or in double quotes. If a request with the same key and content is \
                repeated within 24 hours, nothing is done again, and the response contains the object without its secret.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]([ -~]*[!-~])?$" },
        })));
    }
    async fn extract(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        let (body, bytes) = B::read(request, payload).await?;
        Ok(Self { body, idempotency: idempotency(request, &bytes)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::common::name::DisplayName, service::InputFault};

    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[expect(dead_code, reason = "read by serde alone")]
        name: DisplayName,
    }

    #[test]
    fn errors_name_the_field_and_never_quote_the_value() {
        for (body, field, message) in [
            (
                r#"{"name":" SECRET"}"#,
                "name",
                "a name has 1 to 200 characters, none of them control, invisible or bidirectional, no space at either end, and no API key in it",
            ),
            (r#"{"name":{"SECRET":1}}"#, "name", "must be a string"),
            (r#"{"name":"a","SECRET":1}"#, "SECRET", "not recognized: expected `name`"),
            (r#"{"name":"a","name":"SECRET"}"#, "name", "is repeated: send it once"),
            (r#"{"ks_0123456789abcdef_SECRET0":1}"#, "ks_01234...", "not recognized: expected `name`"),
            ("{}", "name", "is missing"),
        ] {
            let shown = format!("{:?}", parse::<Body>(body.as_bytes()).unwrap_err());
            assert!(shown.contains(&format!("{:?}", InputFault::new(field, message))), "{body}: {shown}");
        }
        let deep = format!(r#"{{"name":{}"#, "[".repeat(1000));
        assert!(parse::<Body>(deep.as_bytes()).is_err(), "deep JSON is refused, not followed");
    }
}
