//! Signing of tokens, and verification of tokens that are presented to Keyswap itself.

use std::{cell::RefCell, fmt};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    crypto::{
        jwk::PublicJwk,
        signer::{PrivateKeyDer, Signer, SignerError},
    },
    domain::{
        access::token_profile::TokenTypeHeader, common::derived_id::SigningKeyId, exchange::claims::Claims,
        signing::Algorithm,
    },
};

/// A signed token. Zeroized on drop.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A signing key with a precomputed header for access tokens.
#[derive(Debug)]
pub struct TokenSigner {
    signer: Signer,
    /// The encoded header of access tokens, with the trailing dot.
    header: String,
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: Algorithm,
    kid: &'a SigningKeyId,
}

/// Returns the encoded header of a token, without the trailing dot.
fn header(typ: &TokenTypeHeader, alg: Algorithm, kid: &SigningKeyId) -> Result<String, serde_json::Error> {
    let header = serde_json::to_vec(&Header { typ: typ.as_str(), alg, kid })?;
    Ok(URL_SAFE_NO_PAD.encode(header))
}

/// Why a token cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum TokenSigningError {
    #[error("the claims cannot be written: {0}")]
    Claims(#[from] serde_json::Error),
    #[error(transparent)]
    Signer(#[from] SignerError),
    #[error("the private key does not match its public key")]
    SelfTestFailed,
}

impl TokenSigner {
    /// Parses a key and tests it: a signature of the key must verify with the JWK that is published
    /// for it (invariant K4).
    pub async fn prepare(algorithm: Algorithm, der: &PrivateKeyDer) -> Result<Self, TokenSigningError> {
        let signer = Signer::from_pkcs8(algorithm, der)?;
        let header = format!("{}.", header(&TokenTypeHeader::ACCESS_TOKEN, algorithm, &signer.jwk().kid)?);
        let signer = Self { signer, header };
        let signature = URL_SAFE_NO_PAD.encode(signer.signer.sign(b"self-test").await?);
        let key = parse_decoding_key(signer.jwk()).ok_or(TokenSigningError::SelfTestFailed)?;
        match jsonwebtoken::crypto::verify(&signature, b"self-test", &key, to_jsonwebtoken_algorithm(algorithm)) {
            Ok(true) => Ok(signer),
            Ok(false) | Err(_) => Err(TokenSigningError::SelfTestFailed),
        }
    }

    pub const fn jwk(&self) -> &PublicJwk {
        self.signer.jwk()
    }

    /// Signs `claims` in compact serialization (RFC 7515 §3.1).
    pub async fn sign_token(&self, typ: &TokenTypeHeader, claims: &impl Serialize) -> Result<Token, TokenSigningError> {
        let mut token = self.encode_signing_input(typ, claims)?;
        let signature = self.signer.sign(token.as_bytes()).await?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(Token(token))
    }

    /// Returns the header and the claims, encoded, in a buffer that has room for the signature: to
    /// grow it would leave a copy that is not zeroized.
    fn encode_signing_input(
        &self,
        typ: &TokenTypeHeader,
        claims: &impl Serialize,
    ) -> Result<Zeroizing<String>, serde_json::Error> {
        JSON_BUFFER.with_borrow_mut(|json| {
            json.clear();
            let is_access_token = *typ == TokenTypeHeader::ACCESS_TOKEN;
            if !is_access_token {
                let PublicJwk { alg, kid, .. } = self.jwk();
                serde_json::to_writer(&mut *json, &Header { typ: typ.as_str(), alg: *alg, kid })?;
            }
            let header_length = json.len();
            serde_json::to_writer(&mut *json, claims)?;
            let (header, claims) = json.split_at(header_length);
            let header_length = if is_access_token { self.header.len() } else { base64_length(header.len()) + 1 };
            let rest = base64_length(claims.len()) + 1 + base64_length(self.signer.signature_length());
            let mut token = Zeroizing::new(String::with_capacity(header_length + rest));
            if is_access_token {
                token.push_str(&self.header);
            } else {
                URL_SAFE_NO_PAD.encode_string(header, &mut token);
                token.push('.');
            }
            URL_SAFE_NO_PAD.encode_string(claims, &mut token);
            json.clear();
            json.shrink_to(MAX_IDLE_BUFFER_SIZE);
            Ok(token)
        })
    }
}

thread_local! {
    /// Where a thread serializes header and claims before they are encoded.
    static JSON_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The size in bytes up to which a buffer is kept. Status lists are larger, and rare.
const MAX_IDLE_BUFFER_SIZE: usize = 16 * 1024;

/// The length in base64url without padding.
const fn base64_length(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// The `typ` of a header. The rest of the header is compared byte for byte.
#[derive(Deserialize)]
struct TypHeader {
    typ: TokenTypeHeader,
}

/// A public key that verifies tokens of this deployment.
#[derive(Clone)]
pub struct TokenVerifier {
    header: String,
    algorithm: Algorithm,
    kid: SigningKeyId,
    key: DecodingKey,
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({})", self.algorithm)
    }
}

impl TokenVerifier {
    pub fn new(jwk: &PublicJwk) -> Option<Self> {
        // `/v1` accepts access tokens only, whatever `typ` other audiences configure.
        let header = header(&TokenTypeHeader::ACCESS_TOKEN, jwk.alg, &jwk.kid).ok()?;
        Some(Self { header, algorithm: jwk.alg, kid: jwk.kid.clone(), key: parse_decoding_key(jwk)? })
    }

    /// Returns the claims of a token that carries the header of this key, byte for byte, and a
    /// valid signature. This excludes another `alg`, `crit`, `jku` and a second `kid` (RFC 8725
    /// §3.1). Issuer and audience are checked here. The caller checks the expiry against the clock
    /// of the database.
    pub fn verify(&self, token: &str, issuer: &str, audience: &str) -> Option<Claims<'static>> {
        let (header, _) = token.split_once('.')?;
        if header != self.header {
            return None;
        }
        let mut validation = self.validation(issuer);
        validation.set_audience(&[audience]);
        jsonwebtoken::decode(token, &self.key, &validation).ok().map(|data| data.claims)
    }

    /// Like `verify`, for any audience. The header must equal, byte for byte, the header that this
    /// key writes for the named `typ`. A `typ` reserved for another kind of JWT is rejected. The
    /// caller checks that the audience exists and uses this `typ`.
    pub fn verify_any(&self, token: &str, issuer: &str) -> Option<(TokenTypeHeader, Claims<'static>)> {
        let (given, _) = token.split_once('.')?;
        let TypHeader { typ } = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(given).ok()?).ok()?;
        if given != header(&typ, self.algorithm, &self.kid).ok()? {
            return None;
        }
        let mut validation = self.validation(issuer);
        validation.validate_aud = false;
        jsonwebtoken::decode(token, &self.key, &validation).ok().map(|data| (typ, data.claims))
    }

    fn validation(&self, issuer: &str) -> Validation {
        let mut validation = Validation::new(to_jsonwebtoken_algorithm(self.algorithm));
        validation.set_issuer(&[issuer]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        validation.validate_exp = false;
        validation
    }
}

fn parse_decoding_key(jwk: &PublicJwk) -> Option<DecodingKey> {
    let text = serde_json::to_string(jwk).ok()?;
    DecodingKey::from_jwk(&serde_json::from_str(&text).ok()?).ok()
}

const fn to_jsonwebtoken_algorithm(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn token_is_written_into_one_buffer_whatever_its_typ() {
        for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa] {
            let signer = TokenSigner::prepare(algorithm, &Signer::generate(algorithm).unwrap()).await.unwrap();
            for typ in [TokenTypeHeader::ACCESS_TOKEN, TokenTypeHeader::STATUS_LIST] {
                for claims in [json!({ "sub": "a" }), json!({ "sub": "a".repeat(2 * MAX_IDLE_BUFFER_SIZE) })] {
                    let token = signer.sign_token(&typ, &claims).await.unwrap();
                    let parts: Vec<_> = token.expose().split('.').collect();
                    let [header, payload, signature]: [&str; 3] = parts.try_into().unwrap();
                    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
                    let kid = signer.jwk().kid.as_str();
                    let expected = format!(r#"{{"typ":"{typ}","alg":"{algorithm}","kid":"{kid}"}}"#);
                    assert_eq!(String::from_utf8(decode(header)).unwrap(), expected);
                    assert_eq!(serde_json::from_slice::<Value>(&decode(payload)).unwrap(), claims);
                    assert_eq!(decode(signature).len(), signer.signer.signature_length());
                    assert_eq!(token.0.capacity(), token.0.len(), "the buffer did not grow");
                    JSON_BUFFER.with_borrow(|json| assert!(json.capacity() <= MAX_IDLE_BUFFER_SIZE));
                }
            }
        }
    }
}
