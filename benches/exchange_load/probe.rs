//! Verifies one exchange completely, so that a run cannot measure responses without valid tokens.

use keyswap::{
    crypto::{jwk::PublicJwk, token::TokenVerifier},
    domain::signing::Algorithm,
};
use serde_json::Value;

use super::{
    baseline::Answer,
    processes::{ISSUER, Process, ask},
    seed::Keys,
};

/// How many of the keys are probed for the sizes of an average response.
const SAMPLES: usize = 64;

/// Exchanges keys from all parts of `keys` as `probe` does, and returns the average sizes of the
/// responses.
pub fn probe_average(server: &Process, algorithm: Algorithm, keys: &Keys) -> Answer {
    let samples = SAMPLES.min(keys.count());
    let answers: Vec<_> =
        (0..samples).map(|sample| probe(server, algorithm, keys.get(sample * keys.count() / samples))).collect();
    let average = |of: fn(&Answer) -> usize| answers.iter().map(of).sum::<usize>() / samples;
    Answer { body: average(|answer| answer.body), message: average(|answer| answer.message) }
}

/// Exchanges a key, verifies the token with the JWKS as a relying service would, and measures the
/// response.
pub fn probe(server: &Process, algorithm: Algorithm, key: &[u8]) -> Answer {
    let key = std::str::from_utf8(key).expect("a key");
    let headers = format!("Authorization: Bearer {key}\r\n");
    let (status, body) = ask(server.port, "POST", "/v1/exchange", &headers).expect("an answer");
    assert_eq!(status, 200, "{}\n{}", String::from_utf8_lossy(&body), server.said());
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    let token = answer["access_token"].as_str().expect("a token");
    let (_, jwks) = ask(server.port, "GET", "/.well-known/jwks.json", "").expect("the JWKS");
    let jwks: Value = serde_json::from_slice(&jwks).expect("JSON");
    let keys: Vec<PublicJwk> = serde_json::from_value(jwks["keys"].clone()).expect("public keys");
    let verifiers = keys.iter().filter(|key| key.alg == algorithm).filter_map(TokenVerifier::new);
    let claims = verifiers.filter_map(|verifier| verifier.verify(token, ISSUER, ISSUER)).next();
    assert!(claims.is_some_and(|claims| claims.scope.is_some()), "the token does not verify");
    Answer { body: body.len(), message: token.rfind('.').expect("a signature") }
}
