//! Signing keys: algorithms, states and metadata, without the cryptography.

pub mod manifest;
pub mod master_key;
pub mod rotation;

use serde::{Deserialize, Serialize};

use crate::domain::common::{
    derived_id::SigningKeyId,
    text::{impl_serde_as_text, text_enum},
    time::{Span, Timestamp},
};

text_enum! {
    /// Signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1). A key is generated for one algorithm and
    /// is never used with another.
    #[derive(Hash)]
    pub enum Algorithm {
        Es256 = "ES256",
        Es384 = "ES384",
        EdDsa = "EdDSA",
        Rs256 = "RS256",
        Ps256 = "PS256",
    }

    #[error("the algorithm is one of ES256, ES384, EdDSA, RS256 and PS256")]
    pub struct InvalidAlgorithm;
}
impl_serde_as_text!(Algorithm);

text_enum! {
    /// State of a signing key. It changes only to a later one in this list.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum SigningKeyState {
        /// The key is published, so that verifiers have it before it signs.
        Next = "next",
        /// The key signs tokens.
        Active = "active",
        /// The key no longer signs, but remains published until its last token has expired.
        Retiring = "retiring",
        /// The key is no longer published.
        Removed = "removed",
        /// The key was withdrawn in an emergency.
        Revoked = "revoked",
    }
}

impl SigningKeyState {
    pub const fn is_published(self) -> bool {
        match self {
            Self::Next | Self::Active | Self::Retiring => true,
            Self::Removed | Self::Revoked => false,
        }
    }
}

/// Metadata of a signing key, without key material.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SigningKeyMetadata {
    pub kid: SigningKeyId,
    pub algorithm: Algorithm,
    pub state: SigningKeyState,
    pub published_at: Timestamp,
    /// When another transaction saw the key published. Waiting periods count from this time.
    pub seen_at: Option<Timestamp>,
    pub activated_at: Option<Timestamp>,
    pub retired_at: Option<Timestamp>,
    pub removed_at: Option<Timestamp>,
    /// When the private key was destroyed.
    pub destroyed_at: Option<Timestamp>,
    /// Longest lifetime of any token that the key may have signed.
    pub longest_ttl: Span,
    pub version: i64,
}
