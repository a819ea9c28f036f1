//! Portal sessions: short-lived credentials with which the browser of a user calls `/v1`.

use serde::{Deserialize, Serialize};

use crate::domain::{
    access::{owner::OwnerScope, policy::GrantablePermissions},
    common::{derived_id::PortalSessionId, text::text_enum, time::Timestamp},
    events::ActorRef,
};

text_enum! {
    /// How a session is presented. A session that is presented in another way is not accepted.
    pub enum PortalSessionKind {
        /// In a header, by a page of the product.
        Token = "token",
        /// In the URL to which the product redirects its user. It is exchanged once, for a session
        /// of kind `Page`.
        Code = "code",
        /// In a cookie, by a hosted page.
        Page = "page",
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
    pub owner_scope: OwnerScope,
    pub created_at: Timestamp,
    pub created_by: ActorRef,
    pub expires_at: Timestamp,
    /// Permissions that the creator of the session may grant. The user of the session grants no
    /// others.
    pub grantable_permissions: GrantablePermissions,
}
