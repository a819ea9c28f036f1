//! What a token says (RFC 9068 §2.2), in the order in which it is written.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    audience::Identifier,
    id::{KeyId, OrganizationId, ServiceClientId, UserId},
};

/// Who a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    User(UserId),
    Organization(OrganizationId),
    ServiceClient(ServiceClientId),
    ApiKey(KeyId),
}

impl Subject {
    /// The `sub_type` claim.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Organization(_) => "organization",
            Self::ServiceClient(_) => "service_client",
            Self::ApiKey(_) => "api_key",
        }
    }

    /// The `sub` claim. Keyswap makes it; no client can choose it (RFC 9068 §5).
    pub fn id(&self) -> Cow<'_, str> {
        match self {
            // Bare, as in the product's own browser tokens.
            Self::User(id) => id.as_str().into(),
            Self::Organization(id) => format!("organization:{id}").into(),
            Self::ServiceClient(id) => id.as_str().into(),
            Self::ApiKey(id) => id.as_str().into(),
        }
    }
}

/// `aud`: one string where there is one, since some verifiers take no array (RFC 7519 §4.1.3 allows both).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AudienceClaim {
    One(Identifier),
    Several(Vec<Identifier>),
}

impl AudienceClaim {
    pub fn contains(&self, identifier: &str) -> bool {
        match self {
            Self::One(one) => one.as_str() == identifier,
            Self::Several(all) => all.iter().any(|one| one.as_str() == identifier),
        }
    }
}

/// The claims of an access token. No `nbf`: stock verifiers allow it no tolerance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    pub sub_type: String,
    pub aud: AudienceClaim,
    /// Whole seconds since 1970: some verifiers refuse fractions.
    pub exp: i64,
    pub iat: i64,
    /// 128 random bits in base64url.
    pub jti: String,
    pub client_id: String,
    /// One string; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scope: Option<String>,
    pub key_id: KeyId,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub org_id: Option<OrganizationId>,
}
