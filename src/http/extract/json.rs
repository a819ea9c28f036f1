//! Strict JSON bodies. An unknown member, a duplicate member or a wrong type is an error that names
//! the member and never quotes the input.

use actix_web::{Error, HttpRequest, dev::Payload, web::BytesMut};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::json;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::{
    crypto::sha256_hex,
    domain::common::key_text::contains_api_key,
    http::{
        extract::body::{self, MAX_JSON_SIZE},
        openapi::signature::{HandlerArgument, HandlerSignature, body, header_parameter},
        problem::Problem,
    },
    service::common::{idempotency::IdempotencyRequest, json_errors},
};

/// A JSON body.
pub struct Json<T>(pub T);

/// A JSON body that may be omitted. An empty body is the default value.
pub struct OptionalJson<T>(pub T);

/// The JSON body of a request that creates an object, with the `Idempotency-Key` of the request.
pub struct IdempotentJson<T> {
    pub body: T,
    pub idempotency: Option<IdempotencyRequest>,
}

async fn read(request: &HttpRequest, payload: &mut Payload) -> Result<BytesMut, Problem> {
    require_json(request)?;
    Ok(body::read(payload, MAX_JSON_SIZE).await?)
}

/// A secret, which is zeroized on drop.
pub fn deserialize_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

fn require_json(request: &HttpRequest) -> Result<(), Problem> {
    if body::media_type(request) == "application/json" {
        Ok(())
    } else {
        Err(Problem::unsupported_media_type("The body is not JSON", "send JSON, with Content-Type: application/json"))
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| problem_from_json_error(&error))?;
    deserializer.end().map_err(|_| Problem::bad_request("the body continues after its JSON value"))?;
    Ok(value)
}

fn problem_from_json_error(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let inner = error.inner();
    if inner.classify() == serde_json::error::Category::Data {
        Problem::invalid(vec![json_errors::to_input_fault("body", error)])
    } else {
        Problem::bad_request(format!("the body is not valid JSON at line {} column {}", inner.line(), inner.column()))
    }
}

/// Reads `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): 1 to 255 printable ASCII
/// characters.
fn idempotency(request: &HttpRequest, body: &[u8]) -> Result<Option<IdempotencyRequest>, Problem> {
    let mut values = request.headers().get_all("idempotency-key");
    let Some(value) = values.next() else { return Ok(None) };
    // With two keys it is ambiguous which one a retry will repeat.
    let key = if values.next().is_none() { value.to_str().unwrap_or_default() } else { "" };
    let printable = key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !(1..=255).contains(&key.len()) || !printable || contains_api_key(key) {
        return Err(Problem::bad_request(
            "Idempotency-Key must be 1 to 255 printable ASCII characters without an API key",
        ));
    }
    let mut hashed = format!("{} {}\n", request.method(), request.path()).into_bytes();
    // The same request on behalf of another user or organization is a different request.
    let on_behalf = request.headers().get("keyswap-on-behalf-of").map_or(&b""[..], |value| value.as_bytes());
    hashed.extend_from_slice(on_behalf);
    hashed.push(b'\n');
    hashed.extend_from_slice(body);
    Ok(Some(IdempotencyRequest { key: key.to_owned(), request_hash: sha256_hex(&hashed) }))
}

impl<T: DeserializeOwned + ToSchema> HandlerArgument for Json<T> {
    const READS_BODY: bool = true;
    fn describe(signature: &mut HandlerSignature) {
        signature.body = Some(body::<T>("application/json", true));
    }
    async fn extract(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        Ok(Self(parse(&read(request, payload).await?)?))
    }
}

impl<T: DeserializeOwned + Default + ToSchema> HandlerArgument for OptionalJson<T> {
    const READS_BODY: bool = true;
    fn describe(signature: &mut HandlerSignature) {
        signature.body = Some(body::<T>("application/json", false));
    }
    async fn extract(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        let body = body::read(payload, MAX_JSON_SIZE).await.map_err(Problem::from)?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        require_json(request)?;
        Ok(Self(parse(&body)?))
    }
}

impl<T: DeserializeOwned + ToSchema> HandlerArgument for IdempotentJson<T> {
    const READS_BODY: bool = true;
    fn describe(signature: &mut HandlerSignature) {
        Json::<T>::describe(signature);
        signature.parameters.extend(header_parameter(json!({
            "name": "Idempotency-Key",
            "description": "A unique key for the request. If a request with the same key and content is repeated within 24 hours, \
                nothing is created again, and the response contains the object without its secret.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$" },
        })));
    }
    async fn extract(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        let body = read(request, payload).await?;
        let idempotency = idempotency(request, &body)?;
        Ok(Self { body: parse(&body)?, idempotency })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::common::name::DisplayName, service::InputFault};

    #[derive(Debug, Deserialize)]
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
            (r#"{"name":"a","name":"SECRET"}"#, "body", "duplicate field `name`"),
            (r#"{"ks_0123456789abcdef_SECRET0":1}"#, "ks_01234...", "not recognized: expected `name`"),
            ("{}", "body", "missing field `name`"),
        ] {
            let shown = format!("{:?}", parse::<Body>(body.as_bytes()).unwrap_err());
            assert!(shown.contains(&format!("{:?}", InputFault::new(field, message))), "{body}: {shown}");
        }
        let deep = format!(r#"{{"name":{}"#, "[".repeat(1000));
        assert!(parse::<Body>(deep.as_bytes()).is_err(), "deep JSON is refused, not followed");
    }
}
