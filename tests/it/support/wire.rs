//! Every way to present an API key over HTTP, and the expected error response of each.

use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;

use super::{Server, body_of};

pub const API_KEY: &str = "urn:keyswap:params:oauth:token-type:api-key";
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub const IBM: &str = "urn:ibm:params:oauth:grant-type:apikey";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Basic,
    Body,
    TokenExchange,
    Ibm,
    Bearer,
    Header,
    Management,
}

impl Wire {
    pub const ALL: [Self; 7] =
        [Self::Basic, Self::Body, Self::TokenExchange, Self::Ibm, Self::Bearer, Self::Header, Self::Management];

    /// A request that presents `key` and is valid in every other respect.
    pub fn request(self, server: &Server, key: &str) -> RequestBuilder {
        let id = client_id(key);
        match self {
            Self::Basic => form(server.post("/oauth/token").basic_auth(id, Some(key)), &[CLIENT_CREDENTIALS]),
            Self::Body => {
                form(server.post("/oauth/token"), &[CLIENT_CREDENTIALS, ("client_id", &id), ("client_secret", key)])
            }
            Self::TokenExchange => form(server.post("/oauth/token"), &exchange_of(key)),
            Self::Ibm => form(server.post("/identity/token"), &[("grant_type", IBM), ("apikey", key)]),
            Self::Bearer => server.post("/v1/exchange").bearer_auth(key),
            Self::Header => server.post("/v1/exchange").header("x-api-key", key),
            Self::Management => server.get("/v1/api-keys").bearer_auth(key),
        }
    }

    /// Status and error code of the response to a key that is not accepted.
    pub const fn refusal(self) -> (u16, &'static str) {
        match self {
            Self::Basic | Self::Body => (401, "invalid_client"),
            Self::TokenExchange => (400, "invalid_request"),
            Self::Ibm => (400, "invalid_grant"),
            Self::Bearer | Self::Header | Self::Management => (401, "invalid_token"),
        }
    }

    pub const fn speaks_oauth(self) -> bool {
        matches!(self, Self::Basic | Self::Body | Self::TokenExchange | Self::Ibm)
    }
}

pub const CLIENT_CREDENTIALS: (&str, &str) = ("grant_type", "client_credentials");

pub const fn exchange_of(key: &str) -> [(&str, &str); 3] {
    [("grant_type", TOKEN_EXCHANGE), ("subject_token", key), ("subject_token_type", API_KEY)]
}

/// The `<prefix>_<id>` part of a key, or the whole text if it has no such part.
pub fn client_id(key: &str) -> String {
    key.rsplit_once('_').map_or(key, |(id, _)| id).to_owned()
}

/// The same key id with another secret and a valid checksum: a brute-force attempt.
pub fn wrong(key: &str) -> String {
    let (id, _) = key.rsplit_once('_').unwrap();
    checksummed(&format!("{id}_{}", "A".repeat(32)))
}

/// A well-formed key that was never issued.
pub fn unknown() -> String {
    checksummed(&format!("ks_{}_{}", "Z".repeat(16), "A".repeat(32)))
}

/// Appends the checksum of a well-formed key: CRC-32 as six base62 digits.
pub fn checksummed(body: &str) -> String {
    let alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = crc32fast::hash(body.as_bytes()) as usize;
    let mut digits = [0; 6];
    for digit in digits.iter_mut().rev() {
        *digit = alphabet[rest % 62];
        rest /= 62;
    }
    format!("{body}{}", std::str::from_utf8(&digits).unwrap())
}

/// Sets a form-encoded body.
pub fn form(request: RequestBuilder, pairs: &[(&str, &str)]) -> RequestBuilder {
    let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    request.header("content-type", "application/x-www-form-urlencoded").body(body)
}

/// Status, headers and body of a response, without the headers that differ between equal responses
/// (`Date`, `X-Request-Id`).
pub async fn snapshot(response: Response) -> (StatusCode, Vec<String>, String) {
    let mut headers: Vec<_> = response
        .headers()
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    (response.status(), headers, response.text().await.unwrap())
}

/// Asserts that the response is an error as RFC 6749 section 5.2 defines it, and returns its body.
pub async fn oauth_error(response: Response, status: u16, error: &str) -> Value {
    let header = |name: &str| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    assert_eq!(header("content-type"), "application/json");
    assert_eq!((header("cache-control").as_str(), header("pragma").as_str()), ("no-store", "no-cache"));
    let body = body_of(response, StatusCode::from_u16(status).unwrap()).await;
    assert_eq!(body["error"], error, "{body}");
    for text in body.as_object().unwrap().values() {
        let text = text.as_str().unwrap();
        assert!(!text.is_empty() && text.bytes().all(is_described), "{text}");
    }
    assert!(body.as_object().unwrap().keys().all(|name| ["error", "error_description"].contains(&name.as_str())));
    body
}

/// The characters of `error_description`: %x20-21 / %x23-5B / %x5D-7E (RFC 6749 section 5.2).
const fn is_described(byte: u8) -> bool {
    matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E)
}

/// Asserts that the response is a problem document (RFC 9457), and returns its body.
pub async fn problem(response: Response, status: u16, code: &str) -> Value {
    let header = |name: &str| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    assert_eq!(header("content-type"), "application/problem+json");
    assert_eq!(header("cache-control"), "no-store");
    let body = body_of(response, StatusCode::from_u16(status).unwrap()).await;
    assert_eq!(body["code"], code, "{body}");
    assert_eq!(body["status"], status);
    assert_eq!(body["type"], format!("urn:keyswap:problem:{code}"));
    assert!(!body["title"].as_str().unwrap().is_empty() && !body["detail"].as_str().unwrap().is_empty());
    body
}
