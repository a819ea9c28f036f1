//! Strict JSON bodies. An unknown member, a duplicate member or a wrong type is an error that names
//! the member and never quotes the input.

use std::{
    future::{Ready, ready},
    marker::PhantomData,
};
use utoipa::ToSchema;

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use crate::{
    crypto::sha256_hex,
    domain::common::key_text::holds_key,
    http::{
        extract::body,
        openapi::signature::{HandlerSignature, Part, body},
        problem::Problem,
    },
    service::common::{idempotency::IdempotencyRequest, reading},
};

/// Maximum size of a body in bytes. Metadata may take 16 KiB, names and lists the rest.
const LIMIT: usize = 64 * 1024;

/// A body of type `T` that is not read yet, so that the caller is authenticated first. Otherwise a
/// request with an invalid key and an invalid body would get either of the two errors, and the
/// brute-force limiter might not count it.
pub struct Json<T> {
    request: HttpRequest,
    payload: Payload,
    kind: PhantomData<T>,
}

/// Like `Json`, but an empty body is the default value.
pub struct OptionalJson<T>(Json<T>);

/// A parsed body.
#[derive(Debug)]
pub struct Body<T> {
    pub value: T,
    /// Set if the request has an `Idempotency-Key`.
    pub once: Option<IdempotencyRequest>,
}

impl<T: DeserializeOwned> Json<T> {
    pub async fn read(mut self) -> Result<Body<T>, Problem> {
        require_json(&self.request)?;
        let body = body::read(&mut self.payload, LIMIT).await?;
        let once = idempotency(&self.request, &body)?;
        Ok(Body { value: parse(&body)?, once })
    }
}

impl<T: DeserializeOwned + Default> OptionalJson<T> {
    pub async fn read(mut self) -> Result<T, Problem> {
        let body = body::read(&mut self.0.payload, LIMIT).await?;
        if body.is_empty() {
            return Ok(T::default());
        }
        require_json(&self.0.request)?;
        parse(&body)
    }
}

impl<T> FromRequest for Json<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Ok(Self { request: request.clone(), payload: payload.take(), kind: PhantomData }))
    }
}

impl<T> FromRequest for OptionalJson<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Ok(Self(Json { request: request.clone(), payload: payload.take(), kind: PhantomData })))
    }
}

/// A PATCH member that may be `null`: `None` if it is absent, `Some(None)` if it is `null`.
pub fn deserialize_nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn require_json(request: &HttpRequest) -> Result<(), Problem> {
    if body::media_type(request) == "application/json" { Ok(()) } else { Err(Problem::media_type()) }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| problem_from_json_error(&error))?;
    deserializer.end().map_err(|_| Problem::bad_request("something stands after the JSON"))?;
    Ok(value)
}

fn problem_from_json_error(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let inner = error.inner();
    if inner.classify() == serde_json::error::Category::Data {
        Problem::invalid(vec![reading::fault("body", error)])
    } else {
        Problem::bad_request(format!("the body is not JSON: see line {} column {}", inner.line(), inner.column()))
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
    if !(1..=255).contains(&key.len()) || !printable || holds_key(key) {
        return Err(Problem::bad_request(
            "an Idempotency-Key has 1 to 255 printable ASCII characters, and no API key in it",
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

impl<T: ToSchema> Part for Json<T> {
    fn tell(signature: &mut HandlerSignature) {
        signature.body = Some(body::<T>("application/json", true));
    }
}

impl<T: ToSchema> Part for OptionalJson<T> {
    fn tell(signature: &mut HandlerSignature) {
        signature.body = Some(body::<T>("application/json", false));
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
            (r#"{"name":"a","SECRET":1}"#, "SECRET", "not known here: expected `name`"),
            (r#"{"name":"a","name":"SECRET"}"#, "body", "duplicate field `name`"),
            (r#"{"ks_0123456789abcdef_SECRET0":1}"#, "ks_01234...", "not known here: expected `name`"),
            ("{}", "body", "missing field `name`"),
        ] {
            let shown = format!("{:?}", parse::<Body>(body.as_bytes()).unwrap_err());
            assert!(shown.contains(&format!("{:?}", InputFault::new(field, message))), "{body}: {shown}");
        }
        let deep = format!(r#"{{"name":{}"#, "[".repeat(1000));
        assert!(parse::<Body>(deep.as_bytes()).is_err(), "deep JSON is refused, not followed");
    }
}
