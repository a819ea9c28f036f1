//! Public keys as JWKs (RFC 7517), identified by their thumbprint (RFC 7638).

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    crypto::sha256,
    domain::{common::derived_id::SigningKeyId, signing::Algorithm},
};

/// A public key (RFC 7517).
// The type has no private members, so a private key cannot be published by mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Jwk)]
#[serde(deny_unknown_fields)]
pub struct PublicJwk {
    #[schema(pattern = "^(EC|OKP|RSA)$")]
    pub kty: String,
    #[serde(rename = "use")]
    #[schema(pattern = "^sig$")]
    pub usage: String,
    pub alg: Algorithm,
    pub kid: SigningKeyId,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub crv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub y: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub e: Option<String>,
}

impl PublicJwk {
    /// Returns the key of an uncompressed point: `04`, followed by x and y at full width (RFC 7518
    /// §6.2.1).
    pub(super) fn ec(alg: Algorithm, crv: &str, point: &[u8]) -> Option<Self> {
        let (x, y) = point.get(1..)?.split_at((point.len() - 1) / 2);
        Self::new(alg, "EC", [("crv", crv.to_owned()), ("x", encode(x)), ("y", encode(y))])
    }

    pub(super) fn okp(alg: Algorithm, x: &[u8]) -> Option<Self> {
        Self::new(alg, "OKP", [("crv", "Ed25519".to_owned()), ("x", encode(x))])
    }

    /// The numbers are big-endian, without leading zero octets (RFC 7518 §6.3.1).
    pub(super) fn rsa(alg: Algorithm, n: &[u8], e: &[u8]) -> Option<Self> {
        Self::new(alg, "RSA", [("n", encode(n)), ("e", encode(e))])
    }

    /// `parameters` and `kty` are the members that RFC 7638 requires.
    fn new<const N: usize>(alg: Algorithm, kty: &'static str, parameters: [(&'static str, String); N]) -> Option<Self> {
        let mut members = BTreeMap::from(parameters);
        members.insert("kty", kty.to_owned());
        let kid = compute_thumbprint(&members)?;
        let mut member = |name| members.remove(name);
        Some(Self {
            kty: kty.to_owned(),
            usage: "sig".to_owned(),
            alg,
            kid,
            crv: member("crv"),
            x: member("x"),
            y: member("y"),
            n: member("n"),
            e: member("e"),
        })
    }
}

/// Computes the RFC 7638 thumbprint: SHA-256 over the required members in lexicographic order,
/// without whitespace.
fn compute_thumbprint(members: &BTreeMap<&str, String>) -> Option<SigningKeyId> {
    encode(&sha256(&serde_json::to_vec(members).ok()?)).parse().ok()
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jose_08_thumbprint_is_that_of_rfc_7638() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCi\
                 FV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgn\
                 Yb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqb\
                 w0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let jwk = PublicJwk::rsa(Algorithm::Rs256, &decode(n), &decode("AQAB")).unwrap();
        assert_eq!(jwk.kid.as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        // RFC 8037 appendix A.3.
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let jwk = PublicJwk::okp(Algorithm::EdDsa, &decode(x)).unwrap();
        assert_eq!(jwk.kid.as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
