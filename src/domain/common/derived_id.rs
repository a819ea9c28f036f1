//! Ids that are not ULIDs: of credentials, portal sessions and signing keys.

use crate::domain::common::{
    base62,
    entropy::{Entropy, EntropyUnavailable},
    id::InvalidId,
    text::{display_as_str, impl_serde_as_text, valid_text},
};
use std::{fmt, str::FromStr};

/// 62¹⁰ is less than 2⁶³.
const NUMBER_DIGITS: usize = 10;

/// The 16 base62 characters in an API key that identify its credential. They are not secret: they
/// only select the row of the credential.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialId([u8; 16]);

impl CredentialId {
    pub const LENGTH: usize = 16;
    /// All numbers are less than this one.
    pub const NUMBER_LIMIT: i64 = 62_i64.pow(10);

    pub fn as_str(&self) -> &str {
        // The bytes are always ASCII, so the default is never used.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyUnavailable> {
        let text = base62::generate_digits(entropy, Self::LENGTH)?;
        text.as_bytes().try_into().map(Self).map_err(|_| EntropyUnavailable)
    }

    /// Returns the number under which the database has what is read or written at each exchange: an
    /// integer primary key takes one search where a text takes two. Only the last ten characters
    /// fit into 63 bits, so `store::api_keys::credentials` creates no two credentials with the same
    /// number.
    pub fn number(&self) -> i64 {
        base62::decode(&self.0[Self::LENGTH - NUMBER_DIGITS..])
    }

    /// Returns an id that no credential has: `generate` returns it with a probability of 62⁻¹⁶. The
    /// verification of an unknown key uses it to do the same work as for a known key.
    pub const fn placeholder() -> Self {
        Self([b'0'; Self::LENGTH])
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialId({self})")
    }
}

impl FromStr for CredentialId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bytes = <[u8; Self::LENGTH]>::try_from(text.as_bytes()).ok().filter(|_| base62::is_base62(text));
        bytes.map(Self).ok_or(InvalidId { expected: "16 of 0-9A-Za-z" })
    }
}

display_as_str!(CredentialId);
impl_serde_as_text!(CredentialId);

/// A session in which a user manages their own keys in a browser: `pss_` and the 16 characters in
/// the session token, which have the format of a credential id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortalSessionId(String);

impl PortalSessionId {
    pub const PREFIX: &'static str = "pss_";
}

impl From<&CredentialId> for PortalSessionId {
    fn from(credential: &CredentialId) -> Self {
        Self(format!("{}{credential}", Self::PREFIX))
    }
}

valid_text!(PortalSessionId, InvalidId = InvalidId { expected: "pss_ and 16 of 0-9A-Za-z" }, |text| {
    text.strip_prefix(PortalSessionId::PREFIX).is_some_and(|rest| rest.parse::<CredentialId>().is_ok())
});

/// RFC 7638 thumbprint of a signing key: SHA-256 in base64url, 43 characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SigningKeyId([u8; 43]);

impl SigningKeyId {
    pub fn as_str(&self) -> &str {
        // The bytes are always ASCII, so the default is never used.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for SigningKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeyId({self})")
    }
}

impl FromStr for SigningKeyId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let bytes = <[u8; 43]>::try_from(text.as_bytes()).ok().filter(|_| text.bytes().all(is_allowed));
        bytes.map(Self).ok_or(InvalidId { expected: "43 characters of base64url" })
    }
}

display_as_str!(SigningKeyId);
impl_serde_as_text!(SigningKeyId);
