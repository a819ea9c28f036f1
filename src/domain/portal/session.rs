//! Portal sessions: short-lived credentials with which the browser of a user calls `/v1`.

use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::domain::{
    access::owner::OwnerScope,
    common::{
        derived_id::PortalSessionId,
        encoding::{EncodedRow, RowEncoder},
        id::{GenerationId, KeyId, OrganizationId, UserId},
        text::text_enum,
        time::Timestamp,
    },
};

text_enum! {
    /// How a session is presented. A session that is presented in another way is not accepted.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
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
    /// The session of kind `Token` that was opened together with the code of this session. They end
    /// together.
    pub parent_id: Option<PortalSessionId>,
    /// The user, with the generation id for which the session was created: a user who was deleted
    /// or has left cannot use the session after being re-created.
    pub owner_scope: OwnerScope,
    /// The key that opened the session, directly or with a token. The session ends with this key,
    /// and with its permission to open sessions (invariant 13).
    pub opened_by: KeyId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Selects portal sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PortalSessionFilter {
    /// Only sessions of this user.
    pub user: Option<UserId>,
    /// Only sessions in this organization.
    pub organization: Option<OrganizationId>,
    /// Only sessions that this API key opened.
    pub opened_by: Option<KeyId>,
}

impl PortalSession {
    /// Encodes everything that the session is trusted for. Its secret is encrypted for exactly this
    /// (invariant 14).
    pub fn encode(&self) -> EncodedRow {
        RowEncoder::new("portal-session", 1)
            .text(self.id.as_str())
            .text(self.kind.as_str())
            .optional_text(self.owner_scope.user().map(UserId::as_str))
            .optional_text(self.owner_scope.organization().map(OrganizationId::as_str))
            .optional_text(self.owner_scope.generation_id().map(GenerationId::as_str))
            .integer(self.created_at.millis())
            .integer(self.expires_at.millis())
            .optional_text(self.parent_id.as_ref().map(PortalSessionId::as_str))
            .text(self.opened_by.as_str())
            .finish()
    }
}
