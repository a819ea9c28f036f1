//! Audiences: the resource servers that accept tokens.

use serde::Serialize;
use url::Url;

use crate::domain::{
    access::{
        permission::{PermissionName, PermissionSet},
        token_profile::TokenProfile,
    },
    common::{
        encoding::{EncodedRow, RowEncoder},
        id::AudienceId,
        key_text::contains_api_key,
        text::{text_enum, text_type},
        time::{Span, Timestamp},
    },
    signing::Algorithm,
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

    /// Returns the form in which identifiers that people and URL libraries confuse are the same: in
    /// lower case, without a default port, dot segments and slashes at the end.
    pub fn normalized(&self) -> String {
        let text = Url::parse(&self.0).map_or_else(|_| self.0.clone(), String::from);
        text.to_ascii_lowercase().trim_end_matches('/').to_owned()
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
    /// Whether its tokens have `authorization_details` instead of a scope. The management audience
    /// is never record-bound.
    pub record_bound: bool,
    pub built_in: Option<BuiltIn>,
    pub created_at: Timestamp,
    pub version: i64,
}

impl Audience {
    /// Encodes everything that the audience is trusted for (invariant 14).
    pub fn encode(&self) -> EncodedRow {
        let (kind, listed) = match &self.accepts {
            AcceptedPermissions::Product => ("product", None),
            AcceptedPermissions::Management => ("management", None),
            AcceptedPermissions::Only(listed) => ("only", Some(listed)),
        };
        let TokenProfile { algorithm, typ, scope_claim, aud_claim, claims, status } = &self.token_profile;
        RowEncoder::new("audience", 1)
            .text(self.id.as_str())
            .text(self.identifier.as_str())
            .text(kind)
            .optional(listed, |row, listed| row.list(listed.iter(), |row, name| row.text(name.as_str())))
            .optional_integer(self.token_ttl.map(Span::millis))
            .optional_text(algorithm.map(Algorithm::as_str))
            .text(typ.as_str())
            .text(scope_claim.as_str())
            .text(aud_claim.as_str())
            .list(claims.iter(), |row, (name, source)| row.text(name.as_str()).text(&source.to_string()))
            .text(status.as_str())
            .integer(self.record_bound.into())
            .optional_text(self.built_in.map(BuiltIn::as_str))
            .integer(self.version)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_that_are_easily_confused_have_the_same_normalized_form() {
        let normalized = |text: &str| text.parse::<Identifier>().unwrap().normalized();
        for (one, other) in [
            ("https://api.example.com", "https://api.example.com/"),
            ("https://api.example.com", "https://API.example.com"),
            ("https://api.example.com", "HTTPS://api.example.com:443/"),
            ("http://api.example.com", "http://api.example.com:80"),
            ("https://api.example.com/v1", "https://api.example.com/V1//"),
            ("https://api.example.com/v1", "https://api.example.com/x/../v1"),
            ("orders", "Orders/"),
            ("urn:example:orders", "URN:example:Orders"),
        ] {
            assert_eq!(normalized(one), normalized(other), "{one} {other}");
        }
        for (one, other) in [
            ("https://api.example.com", "http://api.example.com"),
            ("https://api.example.com", "https://api.example.com:8443"),
            ("https://api.example.com", "https://api.example.com/v1"),
            ("orders", "order"),
        ] {
            assert_ne!(normalized(one), normalized(other), "{one} {other}");
        }
    }
}
