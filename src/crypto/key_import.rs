//! Import of private keys in PEM (PKCS#8, PKCS#1, SEC 1) or as a private JWK (RFC 7518 §6).

use aws_lc_rs::{
    rsa::{KeyPair as RsaKeyPair, KeyPairComponents, PublicKeyComponents},
    signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls_pki_types::{PrivateKeyDer as ParsedDer, pem::PemObject};
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    crypto::signer::{PrivateKeyDer, ecdsa_algorithm},
    domain::signing::Algorithm,
};

/// Why a private key cannot be imported. The messages contain no key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error("neither PEM nor a JWK: give a private key as PKCS#8, PKCS#1 or SEC 1 in PEM, or as a private JWK")]
    UnknownFormat,
    #[error("the JWK is not a private key: it needs \"d\"")]
    MissingPrivateKey,
    #[error("the JWK is for {found}, not for {wanted}")]
    WrongAlgorithm { found: String, wanted: Algorithm },
    #[error(
        "the JWK says that it is not for signing (\"use\" or \"key_ops\"): a key has one purpose (RFC 7517 §4.2, §4.3)"
    )]
    NotASigningKey,
    #[error(
        "the RSA key comes from a generator whose private keys can be computed (CVE-2017-15361): generate a new one"
    )]
    RocaVulnerable,
    #[error("not a private key for {0}, or its private and public components do not match")]
    Rejected(Algorithm),
}

/// Parses a private key for `algorithm` and returns it as PKCS#8.
pub fn parse_private_key(text: &str, algorithm: Algorithm) -> Result<PrivateKeyDer, ImportError> {
    if text.trim_start().starts_with('{') { parse_jwk(text, algorithm) } else { parse_pem(text, algorithm) }
}

fn parse_pem(text: &str, algorithm: Algorithm) -> Result<PrivateKeyDer, ImportError> {
    let parsed = ParsedDer::from_pem_slice(text.as_bytes()).map_err(|_| ImportError::UnknownFormat)?;
    let der = parsed.secret_der();
    let key = match algorithm {
        Algorithm::Es256 | Algorithm::Es384 => EcdsaKeyPair::from_private_key_der(ecdsa_algorithm(algorithm), der)
            .ok()
            .and_then(|pair| PrivateKeyDer::from_document(pair.to_pkcs8v1())),
        Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .ok()
            .and_then(|pair| PrivateKeyDer::from_document(pair.to_pkcs8v1())),
        Algorithm::Rs256 | Algorithm::Ps256 => {
            let pair = RsaKeyPair::from_pkcs8(der)
                .or_else(|_| RsaKeyPair::from_der(der))
                .map_err(|_| ImportError::Rejected(algorithm))?;
            if has_roca_fingerprint(pair.public_key().modulus().big_endian_without_leading_zero()) {
                return Err(ImportError::RocaVulnerable);
            }
            PrivateKeyDer::from_rsa(&pair)
        }
    };
    key.ok_or(ImportError::Rejected(algorithm))
}

/// Returns whether an RSA modulus has the ROCA fingerprint (CVE-2017-15361): it is a power of 65537
/// modulo each of the listed primes. At most one in 2^27 other moduli matches by chance.
fn has_roca_fingerprint(modulus: &[u8]) -> bool {
    const PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];
    PRIMES.into_iter().all(|prime| {
        let rest = modulus.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let powers = std::iter::successors(Some(1), |power| Some(power * 65_537 % prime));
        powers.take(prime as usize).any(|power| power == rest)
    })
}

/// The members of a private JWK. Unknown members, such as the `kid` of the source system, are
/// ignored. A duplicate of a listed member is an error.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct PrivateJwk {
    #[zeroize(skip)]
    kty: String,
    #[zeroize(skip)]
    crv: Option<String>,
    #[zeroize(skip)]
    alg: Option<String>,
    #[zeroize(skip)]
    r#use: Option<String>,
    #[zeroize(skip)]
    key_ops: Option<Vec<String>>,
    x: Option<String>,
    y: Option<String>,
    d: Option<String>,
    n: Option<String>,
    e: Option<String>,
    p: Option<String>,
    q: Option<String>,
    dp: Option<String>,
    dq: Option<String>,
    qi: Option<String>,
}

fn parse_jwk(text: &str, algorithm: Algorithm) -> Result<PrivateKeyDer, ImportError> {
    let jwk: PrivateJwk = serde_json::from_str(text).map_err(|_| ImportError::UnknownFormat)?;
    if jwk.d.is_none() {
        return Err(ImportError::MissingPrivateKey);
    }
    let is_for_signing = jwk.r#use.as_deref().is_none_or(|purpose| purpose == "sig")
        && jwk.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "sign"));
    if !is_for_signing {
        return Err(ImportError::NotASigningKey);
    }
    if jwk.n.is_some() && decode(&jwk.n).is_some_and(|modulus| has_roca_fingerprint(&modulus)) {
        return Err(ImportError::RocaVulnerable);
    }
    if let Some(found) = jwk.alg.as_deref().filter(|alg| *alg != algorithm.as_str()) {
        return Err(ImportError::WrongAlgorithm { found: found.to_owned(), wanted: algorithm });
    }
    let der = match (algorithm, jwk.kty.as_str(), jwk.crv.as_deref()) {
        (Algorithm::Es256, "EC", Some("P-256")) | (Algorithm::Es384, "EC", Some("P-384")) => {
            parse_ec_jwk(&jwk, algorithm)
        }
        (Algorithm::EdDsa, "OKP", Some("Ed25519")) => parse_okp_jwk(&jwk),
        (Algorithm::Rs256 | Algorithm::Ps256, "RSA", _) => parse_rsa_jwk(&jwk),
        (Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa | Algorithm::Rs256 | Algorithm::Ps256, kty, crv) => {
            let found = format!("{kty} {}", crv.unwrap_or_default()).trim().to_owned();
            return Err(ImportError::WrongAlgorithm { found, wanted: algorithm });
        }
    };
    der.ok_or(ImportError::Rejected(algorithm))
}

fn parse_ec_jwk(jwk: &PrivateJwk, algorithm: Algorithm) -> Option<PrivateKeyDer> {
    let point = [[4].as_slice(), decode(&jwk.x)?.as_slice(), decode(&jwk.y)?.as_slice()].concat();
    let pair =
        EcdsaKeyPair::from_private_key_and_public_key(ecdsa_algorithm(algorithm), &decode(&jwk.d)?, &point).ok()?;
    PrivateKeyDer::from_document(pair.to_pkcs8v1())
}

fn parse_okp_jwk(jwk: &PrivateJwk) -> Option<PrivateKeyDer> {
    let pair = Ed25519KeyPair::from_seed_and_public_key(&decode(&jwk.d)?, &decode(&jwk.x)?).ok()?;
    PrivateKeyDer::from_document(pair.to_pkcs8v1())
}

fn parse_rsa_jwk(jwk: &PrivateJwk) -> Option<PrivateKeyDer> {
    let parts = [&jwk.n, &jwk.e, &jwk.d, &jwk.p, &jwk.q, &jwk.dp, &jwk.dq, &jwk.qi];
    let parts = parts.into_iter().map(decode).collect::<Option<Vec<_>>>()?;
    let [n, e, d, p, q, dp, dq, qi] = parts.as_slice() else { return None };
    let components = KeyPairComponents {
        public_key: PublicKeyComponents { n: n.as_slice(), e: e.as_slice() },
        d: d.as_slice(),
        p: p.as_slice(),
        q: q.as_slice(),
        dP: dp.as_slice(),
        dQ: dq.as_slice(),
        qInv: qi.as_slice(),
    };
    PrivateKeyDer::from_rsa(&RsaKeyPair::from_components(&components).ok()?)
}

fn decode(member: &Option<String>) -> Option<Zeroizing<Vec<u8>>> {
    URL_SAFE_NO_PAD.decode(member.as_deref()?).ok().map(Zeroizing::new)
}
