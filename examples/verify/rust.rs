//! Verifies a token of Keyswap with jsonwebtoken and reqwest: verify ISSUER AUDIENCE TOKEN [PERMISSION RESOURCE]
#![expect(clippy::print_stdout, reason = "it prints the subject of the token")]

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde_json::Value;

const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256, Algorithm::PS256];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [issuer, audience, token, wanted @ ..] = arguments.as_slice() else {
        return Err("usage: verify ISSUER AUDIENCE TOKEN [PERMISSION RESOURCE]".into());
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
    if let [permission, resource] = wanted
        && !grants(&verified.claims, permission, resource)
    {
        return Err("refused: not granted on the resource".into());
    }
    println!("{} {}", verified.claims["sub"].as_str().unwrap_or(""), verified.claims["scope"].as_str().unwrap_or(""));
    Ok(())
}

const DETAIL_TYPE: &str = "urn:keyswap:params:oauth:authorization-details:access";

/// Whether the token has the permission on the resource: without `authorization_details` that say so, it has not.
fn grants(claims: &Value, permission: &str, resource: &str) -> bool {
    let has = |list: &Value, is_wanted: &dyn Fn(&str) -> bool| {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).any(is_wanted)
    };
    !is_ambiguous(resource)
        && claims["authorization_details"].as_array().into_iter().flatten().any(|detail| {
            detail["type"] == DETAIL_TYPE
                && has(&detail["actions"], &|action| action == permission)
                && has(&detail["locations"], &|pattern| matches(pattern, resource))
        })
}

/// Compares part by part. `*` matches one part, at the end one or more.
fn matches(pattern: &str, resource: &str) -> bool {
    let wanted: Vec<_> = pattern.split('/').collect();
    let mut parts: Vec<_> = resource.split('/').collect();
    if wanted.last() == Some(&"*") {
        parts.truncate(wanted.len());
    }
    wanted.len() == parts.len() && wanted.iter().zip(&parts).all(|(one, part)| *one == "*" || one == part)
}

/// An empty, `.` or `..` part, an escape that another server could decode again, or a character that no path has.
fn is_ambiguous(resource: &str) -> bool {
    let path = resource.split_once("://").map_or(resource, |(_, rest)| rest);
    path.split('/').skip(1).any(|part| {
        let part = part.to_ascii_lowercase();
        matches!(part.split(';').next(), Some("" | "." | ".."))
            || part.contains(|one: char| "*?#\\".contains(one) || one.is_whitespace())
            || ["%2a", "%2e", "%2f", "%25", "%3b", "%5c"].iter().any(|escape| part.contains(escape))
    })
}
