//! Imported keys: identified by the SHA-256 digest of their complete text, and presented in the
//! format of their issuer.

use std::{fmt, str::FromStr};

use zeroize::Zeroizing;

use crate::domain::common::{key_text::contains_api_key, name::is_deceptive_character, text::impl_serde_as_text};

/// A shorter key could be guessed. A longer one is not a key of any known issuer.
const KEY_LENGTHS: std::ops::RangeInclusive<usize> = 16..=512;

/// Returns whether a text can be an imported key: printable ASCII characters without spaces.
pub fn is_importable_format(text: &str) -> bool {
    KEY_LENGTHS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// SHA-256 digest of an imported key. The issuer determined the entropy of the key, so the digest
/// is protected like the key itself.
#[derive(Clone, PartialEq, Eq)]
pub struct ImportedKeyDigest(Zeroizing<[u8; 32]>);

impl ImportedKeyDigest {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the bytes. This is the only access to them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ImportedKeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ImportedKeyDigest(…)")
    }
}

impl FromStr for ImportedKeyDigest {
    type Err = InvalidKeyDigest;
    fn from_str(text: &str) -> Result<Self, InvalidKeyDigest> {
        if text.len() != 64 {
            return Err(InvalidKeyDigest);
        }
        let mut bytes = Zeroizing::new([0; 32]);
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = match pair {
                [high, low] => {
                    hex_digit(*high).ok_or(InvalidKeyDigest)? << 4 | hex_digit(*low).ok_or(InvalidKeyDigest)?
                }
                _ => return Err(InvalidKeyDigest),
            };
        }
        Ok(Self(bytes))
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|hex_digit| u8::try_from(hex_digit).ok())
}

/// There is no `Serialize`: no response contains a digest.
impl<'de> serde::Deserialize<'de> for ImportedKeyDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(<String as serde::Deserialize>::deserialize(deserializer)?);
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Returned for a text that is not a SHA-256 digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the digest must be the SHA-256 digest of the complete key, in 64 hexadecimal digits")]
pub struct InvalidKeyDigest;

/// Masked form of an imported key, such as `sk_live_…abcd`: at most 40 characters, with `…` or
/// `...` in place of the omitted part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedKey(String);

impl MaskedKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for MaskedKey {
    /// Returns the mask for a key whose format is unknown.
    fn default() -> Self {
        Self("imported…".to_owned())
    }
}

impl FromStr for MaskedKey {
    type Err = InvalidMaskedKey;
    fn from_str(text: &str) -> Result<Self, InvalidMaskedKey> {
        let ok = text.chars().count() <= 40
            && (text.contains('…') || text.contains("..."))
            && text.trim() == text
            && !text.chars().any(is_deceptive_character)
            && !contains_api_key(text);
        if ok { Ok(Self(text.to_owned())) } else { Err(InvalidMaskedKey) }
    }
}

impl fmt::Display for MaskedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl_serde_as_text!(MaskedKey);

/// Returned for a text that is not a valid masked form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a masked key must have at most 40 printable characters including … or ..., without spaces at either end, and must not contain an API key"
)]
pub struct InvalidMaskedKey;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_a_digest_is_64_hexadecimal_digits_and_debug_omits_it() {
        let text = "00ff".repeat(16);
        let digest: ImportedKeyDigest = text.parse().unwrap();
        assert_eq!(digest.expose()[..2], [0, 255]);
        assert_eq!(text.to_uppercase().parse::<ImportedKeyDigest>().unwrap(), digest, "in either case");
        assert!(!format!("{digest:?}").contains("255") && !format!("{digest:?}").contains("ff"));
        for bad in [&text[1..], &text.replace('f', "g"), "", &format!("{text}0"), &"+f".repeat(32), &"é".repeat(32)] {
            assert!(bad.parse::<ImportedKeyDigest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn p13_a_masked_key_omits_a_part() {
        for good in ["sk_live_…abcd", "abc...", "…"] {
            assert!(good.parse::<MaskedKey>().is_ok(), "{good}");
        }
        let key = format!("ks_{}_{}…", "0A".repeat(8), "0A".repeat(16));
        for bad in ["sk_live_abcd", "", "a\n…", "a\u{202e}…", " …", &"…".repeat(41), &key] {
            assert!(bad.parse::<MaskedKey>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn p13_an_imported_key_is_printable_and_16_to_512_characters_long() {
        for (text, expected) in [
            ("a".repeat(15), false),
            ("a".repeat(16), true),
            ("!~".repeat(256), true),
            ("a".repeat(513), false),
            (format!("{} ", "a".repeat(20)), false),
            (format!("{}\u{7f}", "a".repeat(20)), false),
            ("é".repeat(20), false),
        ] {
            assert_eq!(is_importable_format(&text), expected, "{text}");
        }
    }
}
