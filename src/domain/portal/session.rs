//! Portal sessions: short-lived credentials with which the browser of a user calls `/v1`.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::{
    access::{owner::OwnerScope, policy::GrantablePermissions},
    common::{derived_id::PortalSessionId, time::Timestamp},
    events::ActorRef,
};

/// How a session is presented. A session that is presented in another way is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortalSessionKind {
    /// In a header, by a page of the product.
    Token,
    /// In the URL to which the product redirects its user. It is exchanged once, for a session of
    /// kind `Page`.
    Code,
    /// In a cookie, by a hosted page.
    Page,
}

impl PortalSessionKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Code => "code",
            Self::Page => "page",
        }
    }
}

/// Returned for a stored kind of session that this version does not support.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a kind of session this version does not know")]
pub struct UnknownPortalSessionKind;

impl FromStr for PortalSessionKind {
    type Err = UnknownPortalSessionKind;
    fn from_str(text: &str) -> Result<Self, UnknownPortalSessionKind> {
        let kinds = [Self::Token, Self::Code, Self::Page];
        kinds.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownPortalSessionKind)
    }
}

/// What a user selects for a new key, besides its name and expiration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyFormOption {
    /// Individual permissions.
    Permissions,
    /// Roles of the user. The key receives the permissions of these roles.
    Roles,
    /// Resources to which those roles apply.
    Resources,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortalSession {
    pub id: PortalSessionId,
    pub kind: PortalSessionKind,
    /// The user, with the generation id for which the session was created: a user who was deleted
    /// or has left cannot use the session after being re-created.
    pub home: OwnerScope,
    pub created_at: Timestamp,
    pub created_by: ActorRef,
    pub expires_at: Timestamp,
    /// Permissions that the creator of the session may grant. The user of the session grants no
    /// others.
    pub grantable_permissions: GrantablePermissions,
}
