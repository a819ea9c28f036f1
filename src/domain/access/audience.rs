//! Audiences: the resource servers that accept tokens.

use serde::Serialize;

use crate::domain::{
    access::{
        permission::{PermissionName, PermissionSet},
        token_profile::TokenProfile,
    },
    common::{
        id::AudienceId,
        key_text::contains_api_key,
        text::{text_enum, text_type},
        time::{Span, Timestamp},
    },
};

text_type! {
    /// Value of the `aud` claim: an absolute URI or a name, 1 to 512 printable ASCII characters
    /// without space, quote, backslash and `#`. Identifiers are compared byte by byte (RFC 8414
    /// §4).
    pub struct Identifier(|text| {
        let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"\\#".contains(&byte);
        (1..=512).contains(&text.len()) && text.bytes().all(is_allowed) && !contains_api_key(text)
    });

    #[error("an audience is an absolute URI or a name: 1 to 512 printable ASCII characters, no space, quote, backslash, # or API key")]
    pub struct InvalidIdentifier;
}

impl Identifier {
    /// Returns whether the identifier is valid as `resource`: an absolute URI without a fragment
    /// (RFC 8707 §2).
    pub fn is_absolute_uri(&self) -> bool {
        let Some((scheme, rest)) = self.0.split_once(':') else { return false };
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        !rest.is_empty() && scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(is_allowed)
    }
}

text_enum! {
    /// The two audiences that exist in every deployment.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum BuiltIn {
        /// Audience of a request that names no target.
        Default = "default",
        /// Keyswap's own `/v1`. It is never the default, so that a token for a service of the
        /// product cannot be replayed against Keyswap.
        Management = "management",
    }
}

/// Permissions that an audience accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcceptedPermissions {
    /// All permissions of the product, that is, all except management permissions.
    Product,
    /// Management permissions only.
    Management,
    /// These permissions, except management permissions.
    Only(PermissionSet),
}

impl AcceptedPermissions {
    pub fn accepts(&self, name: &PermissionName) -> bool {
        match self {
            Self::Product => !name.is_management(),
            Self::Management => name.is_management(),
            // A list never releases a management permission to a service of the product, even if it
            // contains one.
            Self::Only(set) => set.contains(name) && !name.is_management(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    pub id: AudienceId,
    pub identifier: Identifier,
    pub accepts: AcceptedPermissions,
    /// Token lifetime; if `None`, the default of the deployment.
    pub token_ttl: Option<Span>,
    /// Profile of its tokens. The management audience always has the default profile.
    pub token_profile: TokenProfile,
    pub built_in: Option<BuiltIn>,
    pub created_at: Timestamp,
    pub version: i64,
}
