//! Ids that are not ULIDs: of credentials, portal sessions and signing keys.

use crate::domain::common::{
    base62,
    entropy::{Entropy, EntropyUnavailable},
    id::InvalidId,
    text::impl_serde_as_text,
};
use std::{fmt, str::FromStr};

/// The 16 base62 characters in an API key that identify its credential. They are not secret: they
/// only select the row of the credential.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialId([u8; 16]);

impl CredentialId {
    pub const LENGTH: usize = 16;

    pub fn as_str(&self) -> &str {
        // The bytes are always ASCII, so the default is never used.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyUnavailable> {
        let text = base62::generate_digits(entropy, Self::LENGTH)?;
        text.as_bytes().try_into().map(Self).map_err(|_| EntropyUnavailable)
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

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A session in which a user manages their own keys in a browser: `pss_` and the 16 characters in
/// the session token, which have the format of a credential id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortalSessionId(String);

impl PortalSessionId {
    pub const PREFIX: &'static str = "pss_";

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&CredentialId> for PortalSessionId {
    fn from(credential: &CredentialId) -> Self {
        Self(format!("{}{credential}", Self::PREFIX))
    }
}

impl FromStr for PortalSessionId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId { expected: "pss_ and 16 of 0-9A-Za-z" };
        let credential = text.strip_prefix(Self::PREFIX).and_then(|rest| rest.parse::<CredentialId>().ok());
        credential.as_ref().map(Self::from).ok_or(invalid)
    }
}

impl fmt::Display for PortalSessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// RFC 7638 thumbprint of a signing key: SHA-256 in base64url, 43 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SigningKeyId(String);

impl SigningKeyId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SigningKeyId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if text.len() == 43 && text.bytes().all(is_base64url) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId { expected: "43 characters of base64url" })
        }
    }
}

impl fmt::Display for SigningKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl_serde_as_text!(CredentialId);
impl_serde_as_text!(PortalSessionId);
impl_serde_as_text!(SigningKeyId);
