//! Signing keys: what they are, without the cryptography.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    id::SigningKeyId,
    time::{Span, Timestamp, as_text},
};

/// How tokens are signed (RFC 7518 §3.1, RFC 8037 §3.1). A key is made for one algorithm and never used with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Es256,
    Es384,
    EdDsa,
    Rs256,
    Ps256,
}

impl Algorithm {
    pub const ALL: [Self; 5] = [Self::Es256, Self::Es384, Self::EdDsa, Self::Rs256, Self::Ps256];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = InvalidAlgorithm;
    fn from_str(text: &str) -> Result<Self, InvalidAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text).ok_or(InvalidAlgorithm)
    }
}
as_text!(Algorithm);

/// A text that names no algorithm of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the algorithm is one of ES256, ES384, EdDSA, RS256 and PS256")]
pub struct InvalidAlgorithm;

/// Where a signing key stands in its life. It only ever moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SigningKeyState {
    /// Published, so that verifiers know it before it signs.
    Next,
    /// Signs.
    Active,
    /// Signs no more; published until its last token is dead.
    Retiring,
    /// No longer published.
    Removed,
    /// Pulled in an emergency.
    Revoked,
}

impl SigningKeyState {
    pub const ALL: [Self; 5] = [Self::Next, Self::Active, Self::Retiring, Self::Removed, Self::Revoked];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Removed => "removed",
            Self::Revoked => "revoked",
        }
    }

    pub const fn is_published(self) -> bool {
        match self {
            Self::Next | Self::Active | Self::Retiring => true,
            Self::Removed | Self::Revoked => false,
        }
    }
}

impl FromStr for SigningKeyState {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}

/// The database holds a state that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a state this version does not know")]
pub struct UnknownState;

/// A signing key as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SigningKeyInfo {
    pub kid: SigningKeyId,
    pub algorithm: Algorithm,
    pub state: SigningKeyState,
    pub published_at: Timestamp,
    /// When another transaction saw it published: its time counts from here. Absent for a moment after it was published.
    pub seen_at: Option<Timestamp>,
    pub activated_at: Option<Timestamp>,
    pub retired_at: Option<Timestamp>,
    pub removed_at: Option<Timestamp>,
    /// When the private half was destroyed.
    pub destroyed_at: Option<Timestamp>,
    /// The longest life of any token it may have signed.
    pub longest_ttl: Span,
    pub version: i64,
}
