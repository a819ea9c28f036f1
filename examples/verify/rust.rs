//! Verifies a token of Keyswap with jsonwebtoken and reqwest: verify ISSUER AUDIENCE TOKEN
#![expect(clippy::print_stdout, reason = "it says whom it trusts")]

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde_json::Value;

const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256, Algorithm::PS256];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [issuer, audience, token] = arguments.as_slice() else {
        return Err("usage: verify ISSUER AUDIENCE TOKEN".into());
    };
    let metadata: Value = reqwest::get(format!("{issuer}/.well-known/openid-configuration")).await?.json().await?;
    // Keep the set for some minutes, and fetch it again (not more often than that) for a `kid` it does not know.
    let keys: JwkSet = reqwest::get(metadata["jwks_uri"].as_str().ok_or("no jwks_uri")?).await?.json().await?;
    let header = decode_header(token)?;
    let key = header.kid.as_deref().and_then(|kid| keys.find(kid)).ok_or("refused: unknown key")?;
    let algorithm = Algorithm::try_from(key.common.key_algorithm.ok_or("refused: a key without an algorithm")?)?;
    if !ALGORITHMS.contains(&algorithm) {
        return Err("refused: an algorithm that is not on the list".into());
    }
    let mut validation = Validation::new(algorithm); // the one that the key is for, whatever the token says
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
    let verified = decode::<Value>(token, &DecodingKey::from_jwk(key)?, &validation)?;
    // jsonwebtoken looks at neither.
    if header.typ.as_deref() != Some("at+jwt") || header.crit.is_some() {
        return Err("refused: not an access token".into());
    }
    println!("{} {}", verified.claims["sub"].as_str().unwrap_or(""), verified.claims["scope"].as_str().unwrap_or(""));
    Ok(())
}
