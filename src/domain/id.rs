//! Identifiers as types: an id is parsed once at the edge and cannot be mistaken for another kind.

use std::{fmt, str::FromStr};

use ulid::Ulid;

use super::{
    base62,
    entropy::{Entropy, NoEntropy},
    time::{Timestamp, as_text},
};

/// A text that is not an id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this kind: {expected}")]
pub struct InvalidId {
    expected: &'static str,
}

/// An id made by Keyswap: a prefix that tells its kind and a ULID, so that ids sort by the time they were made.
pub trait Generated: Sized {
    fn generate(now: Timestamp, entropy: &dyn Entropy) -> Result<Self, NoEntropy>;
}

/// The length of a ULID's text.
const ULID: usize = ulid::ULID_LEN;

macro_rules! generated_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $prefix.len() + ULID]);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            pub fn as_str(&self) -> &str {
                // Nothing else is ever put in.
                str::from_utf8(&self.0).unwrap_or_default()
            }

            fn of(ulid: Ulid) -> Self {
                let mut text = [0; $prefix.len() + ULID];
                let (prefix, rest) = text.split_at_mut($prefix.len());
                prefix.copy_from_slice($prefix.as_bytes());
                rest.copy_from_slice(ulid.array_to_str(&mut [0; ULID]).as_bytes());
                Self(text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl Generated for $name {
            fn generate(now: Timestamp, entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
                let mut bytes = [0; 16];
                entropy.fill(&mut bytes)?;
                let ulid = Ulid::from_parts(now.millis().max(0).unsigned_abs(), u128::from_be_bytes(bytes));
                Ok(Self::of(ulid))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = InvalidId { expected: concat!($prefix, " and 26 characters") };
                let ulid = text.strip_prefix($prefix).ok_or(invalid.clone())?;
                // The ULID alphabet is read case-insensitively by its parser; an id has one spelling only.
                match Ulid::from_string(ulid).map(Self::of) {
                    Ok(id) if id.as_str() == text => Ok(id),
                    Ok(_) | Err(_) => Err(invalid),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        as_text!($name);
    };
}

generated_id!(
    /// A running server.
    ReplicaId,
    "rep_"
);
generated_id!(
    /// An API key. It never changes, however often its credential is rotated.
    KeyId,
    "key_"
);
generated_id!(
    /// A service client: a non-human identity with permissions of its own.
    ServiceClientId,
    "svc_"
);
generated_id!(
    /// An audience: a resource server that takes tokens.
    AudienceId,
    "aud_"
);
generated_id!(
    /// A line of the audit trail.
    EventId,
    "evt_"
);

generated_id!(
    /// One life of a user, an organization or a membership. What is deleted and put again under the same id gets another, and so
    /// none of the keys that hung on the one before.
    Incarnation,
    "inc_"
);

generated_id!(
    /// An access record: roles over resources.
    AccessRecordId,
    "rec_"
);

generated_id!(
    /// A status list: where verifiers learn what became of a token.
    StatusListId,
    "stl_"
);

macro_rules! product_id {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $refused:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let refused: &[&str] = &$refused;
                if is_product_id(text) && !refused.iter().any(|prefix| text.starts_with(prefix)) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId { expected: $expected })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        as_text!($name);
    };
}

product_id!(
    /// An organization, as the product calls it.
    OrganizationId,
    "1 to 128 of A-Z, a-z, 0-9 and ._:@|-, not . or .., and no API key",
    []
);
product_id!(
    /// A user, as the product calls them: bare in `sub`, so it may not look like the other subjects.
    UserId,
    "1 to 128 of A-Z, a-z, 0-9 and ._:@|-, not . or .., no API key, and not beginning with organization:, svc_ or key_",
    ["organization:", "svc_", "key_"]
);

/// What the product may call things: safe in a path, and not one that a path means something else by.
fn is_product_id(text: &str) -> bool {
    let shape = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@|-".contains(&byte);
    (1..=128).contains(&text.len())
        && text.bytes().all(shape)
        && text != "."
        && text != ".."
        && !super::api_key_value::holds_key(text)
}

generated_id!(
    /// A webhook: where events are sent to.
    WebhookId,
    "whk_"
);
generated_id!(
    /// A delivery: one event on its way to one webhook.
    DeliveryId,
    "whd_"
);

/// The 16 base62 characters that stand in an API key's value and name its credential. Public: it finds the row and proves
/// nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialId([u8; 16]);

impl CredentialId {
    pub const LENGTH: usize = 16;

    pub fn as_str(&self) -> &str {
        // Nothing else is ever put in.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    pub fn generate(entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
        let text = base62::random(entropy, Self::LENGTH)?;
        text.as_bytes().try_into().map(Self).map_err(|_| NoEntropy)
    }

    /// The id no credential can have: `generate` never draws it (the chance is 62⁻¹⁶) and the look-up of an unknown key does
    /// its work on it.
    pub const fn decoy() -> Self {
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
as_text!(CredentialId);

/// A session in which a user manages their own keys in a browser: `pss_` and the 16 characters that stand in its token, as a
/// credential's do.
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
as_text!(PortalSessionId);

/// The RFC 7638 thumbprint that names a signing key: SHA-256 in base64url, 43 characters.
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
        let shape = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if text.len() == 43 && text.bytes().all(shape) {
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
as_text!(SigningKeyId);
