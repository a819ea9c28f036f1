//! Audiences: the resource servers that tokens are for.

use std::{fmt, str::FromStr};

use serde::Serialize;

use super::{
    api_key_value::holds_key,
    id::AudienceId,
    permission::{PermissionName, PermissionSet},
    time::{Span, Timestamp, as_text},
    token_shape::TokenShape,
};

/// What stands in a token's `aud`: an absolute URI or a name, 1 to 512 printable ASCII characters, no space, quote, backslash
/// or `#`. Compared byte by byte (RFC 8414 §4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier(String);

impl Identifier {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can stand in `resource`: an absolute URI without a fragment (RFC 8707 §2).
    pub fn is_absolute_uri(&self) -> bool {
        let Some((scheme, rest)) = self.0.split_once(':') else { return false };
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        !rest.is_empty() && scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(letters)
    }
}

impl FromStr for Identifier {
    type Err = InvalidIdentifier;
    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        let shape = |byte: u8| byte.is_ascii_graphic() && !b"\"\\#".contains(&byte);
        if (1..=512).contains(&text.len()) && text.bytes().all(shape) && !holds_key(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidIdentifier)
        }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
as_text!(Identifier);

/// A text that cannot name an audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an audience is an absolute URI or a name: 1 to 512 printable ASCII characters, no space, quote, backslash, # or API key"
)]
pub struct InvalidIdentifier;

/// The two audiences every deployment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BuiltIn {
    /// Where tokens go when nothing was asked for.
    Default,
    /// Keyswap's own `/v1`. Never a default: a token for a product's service can never be replayed here.
    Management,
}

impl BuiltIn {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Management => "management",
        }
    }
}

/// Which permissions an audience takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takes {
    /// Every permission of the product: all but those that govern Keyswap.
    Product,
    /// Those that govern Keyswap, and no other.
    Management,
    Listed(PermissionSet),
}

impl Takes {
    pub fn takes(&self, name: &PermissionName) -> bool {
        match self {
            Self::Product => !name.is_management(),
            Self::Management => name.is_management(),
            // A list cannot let a management permission out to a product's service, whatever stands in it.
            Self::Listed(set) => set.contains(name) && !name.is_management(),
        }
    }
}

/// An audience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    pub id: AudienceId,
    pub identifier: Identifier,
    pub takes: Takes,
    /// How long its tokens live; the deployment's default when absent.
    pub token_ttl: Option<Span>,
    /// What its tokens look like; the management audience's is the default, always.
    pub shape: TokenShape,
    pub built_in: Option<BuiltIn>,
    pub created_at: Timestamp,
    pub version: i64,
}
