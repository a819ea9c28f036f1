//! An API key on the wire: `<prefix>_<id>_<secret><checksum>`.
//!
//! Only `[0-9A-Za-z_]`. It is parsed from the end, where lengths are fixed: id 16 and secret 32 base62 characters from a
//! CSPRNG (190 bits), checksum 6: the CRC-32 (IEEE) of every character before it, in base62, left-padded with `0`. A key that
//! was mistyped or cut off is refused without touching the database.

use std::{fmt, str::FromStr};

use zeroize::Zeroizing;

use super::{
    base62,
    entropy::{Entropy, NoEntropy},
    id::CredentialId,
    time::as_text,
};

const SECRET_LENGTH: usize = 32;
const CHECKSUM_LENGTH: usize = 6;
/// `_` + id + `_` + secret + checksum.
const TAIL_LENGTH: usize = 1 + CredentialId::LENGTH + 1 + SECRET_LENGTH + CHECKSUM_LENGTH;

/// What stands before the id and tells people and secret scanners whose key it is: 1 to 16 of `a-z0-9_`, no `_` at either end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prefix(String);

impl Prefix {
    pub const MAX_LENGTH: usize = 16;

    /// Before the tokens of portal sessions, and before no API key.
    pub fn portal_session() -> Self {
        Self("kps".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Prefix {
    type Err = InvalidPrefix;
    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let shape = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let ok = (1..=Self::MAX_LENGTH).contains(&text.len())
            && text.bytes().all(shape)
            && !text.starts_with('_')
            && !text.ends_with('_');
        if ok { Ok(Self(text.to_owned())) } else { Err(InvalidPrefix) }
    }
}
as_text!(Prefix);

/// A text that cannot stand before API keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a prefix has 1 to 16 of a-z, 0-9 and _, and no _ at either end")]
pub struct InvalidPrefix;

/// The part of an API key that must stay secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
        base62::random(entropy, SECRET_LENGTH).map(Self)
    }

    /// The bytes that are digested; the only way to them, so that a search for `expose` finds every use.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A whole API key, as it is shown once to whoever made it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKeyValue(Zeroizing<String>);

impl ApiKeyValue {
    pub fn format(prefix: &Prefix, id: &CredentialId, secret: &Secret) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(prefix.0.len() + TAIL_LENGTH));
        text.push_str(&prefix.0);
        text.push('_');
        text.push_str(id.as_str());
        text.push('_');
        text.push_str(&secret.0);
        let checksum = base62::six_digits(crc32fast::hash(text.as_bytes()));
        text.extend(checksum.iter().map(|byte| char::from(*byte)));
        Self(text)
    }

    /// The text itself, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyValue(…)")
    }
}

/// A key that someone showed us and that is well formed; whether it is right only its credential can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedKey {
    pub prefix: Prefix,
    pub credential: CredentialId,
    pub secret: Secret,
}

impl PresentedKey {
    /// Reads a key from the end, where lengths are fixed.
    ///
    /// # Errors
    /// Why the text cannot be a key of Keyswap. Clients see one answer for all of it; `api-key inspect` tells them apart.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(Malformed::Alphabet);
        }
        let prefix_length = text.len().checked_sub(TAIL_LENGTH).filter(|n| *n > 0).ok_or(Malformed::Length)?;
        if prefix_length > Prefix::MAX_LENGTH {
            return Err(Malformed::Length);
        }
        let (prefix, tail) = text.split_at(prefix_length);
        let (body, checksum) = text.split_at(text.len() - CHECKSUM_LENGTH);
        if base62::six_digits(crc32fast::hash(body.as_bytes())) != checksum.as_bytes() {
            return Err(Malformed::Checksum);
        }
        let id = &tail[1..1 + CredentialId::LENGTH];
        let secret = &tail[TAIL_LENGTH - CHECKSUM_LENGTH - SECRET_LENGTH..TAIL_LENGTH - CHECKSUM_LENGTH];
        let separators = tail.starts_with('_') && tail.as_bytes()[1 + CredentialId::LENGTH] == b'_';
        if !separators || !base62::is_base62(secret) {
            return Err(Malformed::Shape);
        }
        Ok(Self {
            prefix: prefix.parse().map_err(|_| Malformed::Shape)?,
            credential: id.parse().map_err(|_| Malformed::Shape)?,
            secret: Secret(Zeroizing::new(secret.to_owned())),
        })
    }

    /// What may be shown of it: everything but the secret.
    pub fn masked(&self) -> String {
        masked(&self.prefix, &self.credential)
    }
}

/// The masked form: prefix, id and `…`, and never a character of the secret.
pub fn masked(prefix: &Prefix, id: &CredentialId) -> String {
    format!("{prefix}_{id}_…")
}

/// Whether a text holds what looks like an API key, be it cut off within its checksum. Such a text is never kept as a name, in
/// metadata or anywhere else where it would be shown again: people paste keys into the wrong field.
pub fn holds_key(text: &str) -> bool {
    const LENGTH: usize = TAIL_LENGTH - CHECKSUM_LENGTH;
    text.as_bytes().windows(LENGTH).any(|tail| {
        let (id, secret) = (&tail[1..1 + CredentialId::LENGTH], &tail[LENGTH - SECRET_LENGTH..]);
        let all = |shape: fn(&u8) -> bool| id.iter().chain(secret).all(shape);
        tail[0] == b'_'
            && tail[1 + CredentialId::LENGTH] == b'_'
            && all(u8::is_ascii_alphanumeric)
            // Chance makes no text of small letters alone; people do.
            && !all(u8::is_ascii_lowercase)
    })
}

/// Why a text is not an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a key has only letters, digits and underscores")]
    Alphabet,
    #[error("the length is wrong: a key is its prefix and {TAIL_LENGTH} characters")]
    Length,
    #[error("the checksum does not match: the key was mistyped or cut off")]
    Checksum,
    #[error("the parts are not where they should be: <prefix>_<16 characters>_<38 characters>")]
    Shape,
}
