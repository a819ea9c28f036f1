//! Signing keys, parsed once. `jsonwebtoken::encode` parses the private key on every call, at twice
//! the cost.

use std::{fmt, ops::Deref};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    error::Unspecified,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
    },
};
use zeroize::Zeroizing;

use crate::{crypto::jwk::PublicJwk, domain::signing::Algorithm};

/// A parsed private key with its public JWK.
pub struct Signer {
    key: PreparedKey,
    jwk: PublicJwk,
    random: SystemRandom,
}

enum PreparedKey {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
}

/// A private key in PKCS#8, before encryption or after decryption. Zeroized on drop.
pub struct PrivateKeyDer(Zeroizing<Vec<u8>>);

impl PrivateKeyDer {
    pub fn new(der: &[u8]) -> Self {
        Self(Zeroizing::new(der.to_vec()))
    }

    pub(super) fn from_document(document: Result<impl AsRef<[u8]>, Unspecified>) -> Option<Self> {
        document.ok().map(|document| Self::new(document.as_ref()))
    }

    pub(super) fn from_rsa(pair: &RsaKeyPair) -> Option<Self> {
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(pair).ok()?;
        Some(Self::new(der.as_ref()))
    }

    /// Returns the bytes, for encryption and for [`Signer::from_pkcs8`].
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// A signature in the format of JWS (RFC 7518 §3). Only those of RSA are allocated.
#[derive(Debug, Clone)]
pub enum Signature {
    /// Of ECDSA or Ed25519, in the first `length` bytes.
    Curve {
        bytes: [u8; MAX_CURVE_SIGNATURE_LENGTH],
        length: usize,
    },
    Rsa(Vec<u8>),
}

/// The length of a signature of ES384.
const MAX_CURVE_SIGNATURE_LENGTH: usize = 96;

impl Signature {
    fn of_curve(signature: &[u8]) -> Option<Self> {
        let (mut bytes, length) = ([0; MAX_CURVE_SIGNATURE_LENGTH], signature.len());
        bytes.get_mut(..length)?.copy_from_slice(signature);
        Some(Self::Curve { bytes, length })
    }
}

impl Deref for Signature {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Curve { bytes, length } => bytes.get(..*length).unwrap_or_default(),
            Self::Rsa(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Signature {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for PrivateKeyDer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKeyDer(…)")
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} {})", self.jwk.alg, self.jwk.kid)
    }
}

/// Why a key cannot be created, loaded or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    #[error("failed to generate the key")]
    KeyGenerationFailed,
    #[error("not a private key for this algorithm")]
    Rejected,
    #[error("RSA keys need 2048 bits or more")]
    RsaKeyTooShort,
    #[error("failed to sign")]
    SigningFailed,
}

/// The size of generated RSA keys. 2048 bits have a strength of about 112 bits, less than ASVS
/// 11.2.3 requires.
const GENERATED_RSA_KEY_SIZE: KeySize = KeySize::Rsa3072;
/// The minimum size of an RSA key, in bytes (RFC 7518 §3.3).
const MIN_RSA_MODULUS_BYTES: usize = 256;

impl Signer {
    /// Generates a private key. RSA takes up to one second of CPU time.
    pub fn generate(algorithm: Algorithm) -> Result<PrivateKeyDer, SignerError> {
        let random = SystemRandom::new();
        let der = match algorithm {
            Algorithm::Es256 | Algorithm::Es384 => {
                PrivateKeyDer::from_document(EcdsaKeyPair::generate_pkcs8(ecdsa_algorithm(algorithm), &random))
            }
            Algorithm::EdDsa => PrivateKeyDer::from_document(Ed25519KeyPair::generate_pkcs8v1(&random)),
            Algorithm::Rs256 | Algorithm::Ps256 => {
                RsaKeyPair::generate(GENERATED_RSA_KEY_SIZE).ok().as_ref().and_then(PrivateKeyDer::from_rsa)
            }
        };
        der.ok_or(SignerError::KeyGenerationFailed)
    }

    /// Parses a private key for `algorithm`. RSA keys shorter than 2048 bits are rejected.
    pub fn from_pkcs8(algorithm: Algorithm, der: &PrivateKeyDer) -> Result<Self, SignerError> {
        let rejected = |_| SignerError::Rejected;
        let (key, jwk) = match algorithm {
            Algorithm::Es256 | Algorithm::Es384 => {
                let pair = EcdsaKeyPair::from_pkcs8(ecdsa_algorithm(algorithm), der.expose()).map_err(rejected)?;
                let crv = if algorithm == Algorithm::Es256 { "P-256" } else { "P-384" };
                let jwk = PublicJwk::ec(algorithm, crv, pair.public_key().as_ref());
                (PreparedKey::Ecdsa(pair), jwk)
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(der.expose()).map_err(rejected)?;
                let jwk = PublicJwk::okp(algorithm, pair.public_key().as_ref());
                (PreparedKey::Ed25519(pair), jwk)
            }
            Algorithm::Rs256 | Algorithm::Ps256 => {
                let pair = RsaKeyPair::from_pkcs8(der.expose()).map_err(rejected)?;
                if pair.public_modulus_len() < MIN_RSA_MODULUS_BYTES {
                    return Err(SignerError::RsaKeyTooShort);
                }
                let public = pair.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                let jwk =
                    PublicJwk::rsa(algorithm, n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                let encoding: &'static dyn RsaEncoding =
                    if algorithm == Algorithm::Rs256 { &RSA_PKCS1_SHA256 } else { &RSA_PSS_SHA256 };
                (PreparedKey::Rsa(Box::new(pair), encoding), jwk)
            }
        };
        Ok(Self { key, jwk: jwk.ok_or(SignerError::Rejected)?, random: SystemRandom::new() })
    }

    pub const fn jwk(&self) -> &PublicJwk {
        &self.jwk
    }

    /// Returns the length of a signature in bytes.
    pub fn signature_length(&self) -> usize {
        match &self.key {
            PreparedKey::Ecdsa(_) if self.jwk.alg == Algorithm::Es384 => MAX_CURVE_SIGNATURE_LENGTH,
            PreparedKey::Ecdsa(_) | PreparedKey::Ed25519(_) => 64,
            PreparedKey::Rsa(pair, _) => pair.public_modulus_len(),
        }
    }

    /// Signs `message` in the signature format of JWS (RFC 7518 §3): R and S at fixed width for
    /// ECDSA, not DER. The function is async to allow for keys in an HSM.
    pub async fn sign(&self, message: &[u8]) -> Result<Signature, SignerError> {
        let failed = |_| SignerError::SigningFailed;
        let signature = match &self.key {
            PreparedKey::Ecdsa(pair) => pair.sign(&self.random, message).map_err(failed)?,
            PreparedKey::Ed25519(pair) => pair.try_sign(message).map_err(failed)?,
            PreparedKey::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &self.random, message, &mut signature).map_err(failed)?;
                return Ok(Signature::Rsa(signature));
            }
        };
        Signature::of_curve(signature.as_ref()).ok_or(SignerError::SigningFailed)
    }
}

pub(super) fn ecdsa_algorithm(algorithm: Algorithm) -> &'static EcdsaSigningAlgorithm {
    if algorithm == Algorithm::Es384 { &ECDSA_P384_SHA384_FIXED_SIGNING } else { &ECDSA_P256_SHA256_FIXED_SIGNING }
}
