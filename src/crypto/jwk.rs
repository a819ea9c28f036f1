//! Public keys as JWKs (RFC 7517), identified by their thumbprint (RFC 7638).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::domain::{common::derived_id::SigningKeyId, signing::Algorithm};

/// A public signature key. The type has no private members, so a private key cannot be published by
/// mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicJwk {
    pub kty: String,
    #[serde(rename = "use")]
    pub usage: String,
    pub alg: Algorithm,
    pub kid: SigningKeyId,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub crv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub y: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub e: Option<String>,
}

/// The public parameters of a key.
#[derive(Debug)]
pub(super) enum PublicKeyParameters<'a> {
    /// An uncompressed point: `04`, followed by x and y at full width (RFC 7518 §6.2.1).
    Ec {
        crv: &'static str,
        point: &'a [u8],
    },
    Okp {
        x: &'a [u8],
    },
    /// Big-endian, without leading zero octets (RFC 7518 §6.3.1).
    Rsa {
        n: &'a [u8],
        e: &'a [u8],
    },
}

impl PublicJwk {
    pub(super) fn new(alg: Algorithm, numbers: &PublicKeyParameters<'_>) -> Option<Self> {
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (kty, crv, x, y, n, e) = match numbers {
            PublicKeyParameters::Ec { crv, point } => {
                let (x, y) = point.get(1..)?.split_at((point.len() - 1) / 2);
                ("EC", Some((*crv).to_owned()), Some(b64(x)), Some(b64(y)), None, None)
            }
            PublicKeyParameters::Okp { x } => ("OKP", Some("Ed25519".to_owned()), Some(b64(x)), None, None, None),
            PublicKeyParameters::Rsa { n, e } => ("RSA", None, None, None, Some(b64(n)), Some(b64(e))),
        };
        let kid = thumbprint(kty, crv.as_deref(), x.as_deref(), y.as_deref(), n.as_deref(), e.as_deref())?;
        Some(Self { kty: kty.to_owned(), usage: "sig".to_owned(), alg, kid, crv, x, y, n, e })
    }
}

/// Computes the RFC 7638 thumbprint: SHA-256 over the required members in lexicographic order,
/// without whitespace.
fn thumbprint(
    kty: &str,
    crv: Option<&str>,
    x: Option<&str>,
    y: Option<&str>,
    n: Option<&str>,
    e: Option<&str>,
) -> Option<SigningKeyId> {
    let members = [("crv", crv), ("e", e), ("kty", Some(kty)), ("n", n), ("x", x), ("y", y)];
    let present: Vec<_> =
        members.iter().filter_map(|(name, value)| value.map(|value| format!(r#""{name}":"{value}""#))).collect();
    URL_SAFE_NO_PAD.encode(super::sha256(format!("{{{}}}", present.join(",")).as_bytes())).parse().ok()
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
        let kid = thumbprint("RSA", None, None, None, Some(n), Some("AQAB")).unwrap();
        assert_eq!(kid.as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        // RFC 8037 appendix A.3.
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let kid = thumbprint("OKP", Some("Ed25519"), Some(x), None, None, None).unwrap();
        assert_eq!(kid.as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
