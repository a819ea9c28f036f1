//! Wire format of an API key: `<prefix>_<id>_<secret><checksum>`.
//!
//! The alphabet is `[0-9A-Za-z_]`. A key is parsed from the end, where lengths are fixed: the id
//! has 16 and the secret 32 base62 characters from a CSPRNG (190 bits for the secret), the checksum
//! has 6. The checksum is the CRC-32 (IEEE) of all preceding characters in base62, left-padded with
//! `0`. A key that was mistyped or truncated is refused without a database query.

use std::{fmt, str::FromStr};

use zeroize::Zeroizing;

use crate::domain::common::{
    base62,
    derived_id::CredentialId,
    entropy::{Entropy, EntropyUnavailable},
    key_text::{CHECKSUM_LENGTH, ID_LENGTH, SECRET_LENGTH},
    text::impl_serde_as_text,
};

/// `_` + id + `_` + secret + checksum.
const _: () = assert!(CredentialId::LENGTH == ID_LENGTH);

const SUFFIX_LENGTH: usize = 1 + CredentialId::LENGTH + 1 + SECRET_LENGTH + CHECKSUM_LENGTH;

/// The part before the id, by which people and secret scanners recognize the product: 1 to 16
/// characters of `a-z0-9_`, without `_` at either end.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Prefix([u8; 16]);

impl Prefix {
    pub const MAX_LENGTH: usize = 16;

    /// Prefix of the tokens of portal sessions. No API key has it.
    pub const fn portal_session() -> Self {
        Self(*b"kps\0\0\0\0\0\0\0\0\0\0\0\0\0")
    }

    pub fn as_str(&self) -> &str {
        // The bytes are ASCII and zero after the last character, so the default is never used.
        str::from_utf8(&self.0).unwrap_or_default().trim_end_matches('\0')
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({self})")
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Prefix {
    type Err = InvalidPrefix;
    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let ok = (1..=Self::MAX_LENGTH).contains(&text.len())
            && text.bytes().all(is_allowed)
            && !text.starts_with('_')
            && !text.ends_with('_');
        if !ok {
            return Err(InvalidPrefix);
        }
        let mut bytes = [0; Self::MAX_LENGTH];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }
}
impl_serde_as_text!(Prefix);

/// Returned for a text that is not a valid prefix of API keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a prefix must have 1 to 16 characters of a-z, 0-9 and _, without _ at either end")]
pub struct InvalidPrefix;

/// The secret part of an API key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyUnavailable> {
        base62::generate_digits(entropy, SECRET_LENGTH).map(Self)
    }

    /// Returns the bytes to digest. This is the only access to them, so that a search for `expose`
    /// finds every use.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A complete API key, which is returned to its creator once.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKeyValue(Zeroizing<String>);

impl ApiKeyValue {
    pub fn format(prefix: &Prefix, id: &CredentialId, secret: &Secret) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(prefix.as_str().len() + SUFFIX_LENGTH));
        text.push_str(prefix.as_str());
        text.push('_');
        text.push_str(id.as_str());
        text.push('_');
        text.push_str(&secret.0);
        let checksum = base62::encode_six_digits(crc32fast::hash(text.as_bytes()));
        text.extend(checksum.iter().map(|byte| char::from(*byte)));
        Self(text)
    }

    /// Returns the complete key, for the one response that contains it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyValue(…)")
    }
}

/// A well-formed key that a client presented. Its secret is not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedKey {
    pub prefix: Prefix,
    pub credential_id: CredentialId,
    pub secret: Secret,
}

impl PresentedKey {
    /// Parses a key from the end, where lengths are fixed. Clients receive the same response for
    /// every error; `api-key inspect` distinguishes them.
    pub fn parse(text: &str) -> Result<Self, MalformedKey> {
        let text = text.trim_ascii();
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(MalformedKey::Alphabet);
        }
        let prefix_length = text.len().checked_sub(SUFFIX_LENGTH).filter(|n| *n > 0).ok_or(MalformedKey::Length)?;
        if prefix_length > Prefix::MAX_LENGTH {
            return Err(MalformedKey::Length);
        }
        let (prefix, tail) = text.split_at(prefix_length);
        let (body, checksum) = text.split_at(text.len() - CHECKSUM_LENGTH);
        if base62::encode_six_digits(crc32fast::hash(body.as_bytes())) != checksum.as_bytes() {
            return Err(MalformedKey::Checksum);
        }
        let id = &tail[1..1 + CredentialId::LENGTH];
        let secret = &tail[SUFFIX_LENGTH - CHECKSUM_LENGTH - SECRET_LENGTH..SUFFIX_LENGTH - CHECKSUM_LENGTH];
        let separators = tail.starts_with('_') && tail.as_bytes()[1 + CredentialId::LENGTH] == b'_';
        if !separators || !base62::is_base62(secret) {
            return Err(MalformedKey::Format);
        }
        Ok(Self {
            prefix: prefix.parse().map_err(|_| MalformedKey::Format)?,
            credential_id: id.parse().map_err(|_| MalformedKey::Format)?,
            secret: Secret(Zeroizing::new(secret.to_owned())),
        })
    }

    /// Returns the key without its secret, for display.
    pub fn masked_value(&self) -> String {
        masked_value(&self.prefix, &self.credential_id)
    }
}

/// Returns the masked form: prefix, id and `…`, without any character of the secret.
pub fn masked_value(prefix: &Prefix, id: &CredentialId) -> String {
    format!("{prefix}_{id}_…")
}

/// Reason why a text is not an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKey {
    #[error("a key contains only letters, digits and underscores")]
    Alphabet,
    #[error("the length is wrong: a key has its prefix and {SUFFIX_LENGTH} more characters")]
    Length,
    #[error("the checksum does not match: the key was mistyped or truncated")]
    Checksum,
    #[error("the format is wrong: a key is <prefix>_<16 characters>_<38 characters>")]
    Format,
}
