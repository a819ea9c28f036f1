//! Token verification as a relying service does it: `jsonwebtoken` and the published JWKS, without
//! any Keyswap code.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde_json::Value;

use super::{Server, body_of};

/// Verifies a token against the server's JWKS and returns its claims.
pub async fn verify(server: &Server, token: &str, audience: &str) -> Value {
    let jwks = body_of(server.get("/.well-known/jwks.json").send().await.unwrap(), reqwest::StatusCode::OK).await;
    let jwks: JwkSet = serde_json::from_value(jwks).unwrap();
    let header = decode_header(token).unwrap();
    let key = jwks.find(header.kid.as_deref().unwrap()).expect("the kid is in the JWKS");
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[server.services.issuer()]);
    // `exp` is not checked because the test may have moved the server's clock.
    validation.validate_exp = false;
    decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap().claims
}

pub fn header_of(token: &str) -> Value {
    let part = token.split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
