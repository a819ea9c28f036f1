//! Portal sessions: what a user's own browser calls `/v1` with, for a short while.

use std::str::FromStr;

use serde::Serialize;

use super::{event::ActorRef, id::PortalSessionId, policy::Holdings, standing::Home, time::Timestamp};

/// How a session is shown. Shown in another way, it is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKind {
    /// In a header, by a page of the product's.
    Token,
    /// In a URL that the product sends its user to: spent once, for a session of the page.
    Code,
    /// In a cookie, by a hosted page.
    Page,
}

impl SessionKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Code => "code",
            Self::Page => "page",
        }
    }
}

/// The database holds a kind of session that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a kind of session this version does not know")]
pub struct UnknownKind;

impl FromStr for SessionKind {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let kinds = [Self::Token, Self::Code, Self::Page];
        kinds.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

/// What a user chooses for a new key, beside its name and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Permissions, one by one.
    Permissions,
    /// Roles that they have: the key gets what these hold.
    Roles,
    /// Which resources those roles are over.
    Resources,
}

/// A text that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give permissions, roles or resources")]
pub struct UnknownChoice;

impl FromStr for Choice {
    type Err = UnknownChoice;
    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        match text {
            "permissions" => Ok(Self::Permissions),
            "roles" => Ok(Self::Roles),
            "resources" => Ok(Self::Resources),
            _ => Err(UnknownChoice),
        }
    }
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortalSession {
    pub id: PortalSessionId,
    pub kind: SessionKind,
    /// The user, in the incarnation for which it was opened: one who was deleted or has left does not come back into it.
    pub home: Home,
    pub created_at: Timestamp,
    pub created_by: ActorRef,
    pub expires_at: Timestamp,
    /// What whoever opened it may hand out: the user hands out nothing beyond.
    pub held: Holdings,
}
