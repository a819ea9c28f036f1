//! Token status lists (draft-ietf-oauth-status-list-21), read as a verifier reads them, with
//! independent JOSE and zlib libraries.

mod builds;
mod causes;
mod indexes;
mod scale;
mod serving;
mod vectors;

use std::{collections::BTreeMap, io::Read};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use flate2::read::ZlibDecoder;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use keyswap::service::status_lists;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Server, body_of};

/// The URL and the index of the status list entry in a token.
type StatusIndex = (String, u32);

const VALID: u8 = 0;
const INVALID: u8 = 1;
const SUSPENDED: u8 = 2;

/// The claims of a token, without verification, which other tests cover.
fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn place_in(claims: &Value) -> StatusIndex {
    let status = &claims["status"]["status_list"];
    let index = status["idx"].as_u64().unwrap_or_else(|| panic!("{claims}"));
    (status["uri"].as_str().unwrap().to_owned(), index.try_into().unwrap())
}

/// The status list entry in the tokens of a key.
async fn place(server: &Server, key: &str) -> StatusIndex {
    place_in(&claims(&server.fetch_token(key).await))
}

/// The URL of the status list in a token.
pub fn uri_of(token: &str) -> String {
    place_in(&claims(token)).0
}

fn path(uri: &str) -> &str {
    uri.strip_prefix("http://keyswap.test").unwrap()
}

/// Fetches the list at a URL and verifies its signature with the JWKS.
async fn signed(server: &Server, uri: &str) -> Value {
    let answer = server.get(path(uri)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/statuslist+jwt");
    let jwt = answer.text().await.unwrap();
    let jwks = body_of(server.get("/.well-known/jwks.json").send().await.unwrap(), StatusCode::OK).await;
    let jwks: JwkSet = serde_json::from_value(jwks).unwrap();
    let header = decode_header(&jwt).unwrap();
    assert_eq!(header.typ.as_deref(), Some("statuslist+jwt"));
    let key = jwks.find(header.kid.as_deref().unwrap()).expect("the kid is in the JWKS");
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&["http://keyswap.test"]);
    validation.required_spec_claims.clear();
    // The test may have moved the server's clock.
    validation.validate_exp = false;
    let claims = decode::<Value>(&jwt, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap().claims;
    assert_eq!(claims["sub"], uri);
    assert_eq!(claims["status_list"]["bits"], 2);
    claims
}

fn bytes(lst: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    ZlibDecoder::new(&*URL_SAFE_NO_PAD.decode(lst).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// All entries of a list that are not valid. Verifiers accept no index beyond the end of the list.
async fn marked(server: &Server, uri: &str) -> BTreeMap<u32, u8> {
    let bytes = bytes(signed(server, uri).await["status_list"]["lst"].as_str().unwrap());
    assert_eq!(bytes.len(), 32_768, "131,072 indexes of two bits");
    let all = bytes.iter().flat_map(|byte| (0..4).map(move |at| byte >> (2 * at) & 3));
    (0..).zip(all).filter(|(_, status)| *status != VALID).collect()
}

/// Runs the periodic build and refresh once.
async fn build_lists(server: &Server) {
    status_lists::build_lists(&server.services).await.unwrap();
    status_lists::refresh(&server.services).await.unwrap();
}

/// Creates an organization and a user in it, who holds all permissions that keys have here.
async fn acme(server: &Server) {
    server.permissions_for_all(&["a:b"]).await;
    server.role("doer", &["a:b", "api-keys:manage", "user-api-keys:manage-self"]).await;
    server.organization("acme").await;
    server.user("ada", &["doer"]).await;
    server.member("acme", "ada", &["doer"]).await;
}

async fn delete(server: &Server, path: &str) {
    server.manage("DELETE", path, None, 204).await;
}

async fn step(server: &Server, id: &str, step: &str) {
    let body = (step == "rotate").then(|| json!({ "grace": "0s" }));
    server.manage("POST", &format!("/v1/api-keys/{id}/{step}"), body, 200).await;
}
