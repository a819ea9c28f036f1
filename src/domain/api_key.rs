//! API keys: permissions, limits and a life, held by an owner, proved by a credential.

use serde::Serialize;

use super::{
    api_key_value::{Prefix, masked},
    audience::Identifier,
    event::ActorRef,
    id::{CredentialId, KeyId, ServiceClientId},
    json::Metadata,
    name::DisplayName,
    permission::PermissionSet,
    time::{Span, Timestamp},
};

/// Who holds a key. Users and organizations come with the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    ServiceClient(ServiceClientId),
    /// A generic key: it stands for itself.
    Nobody,
}

/// What is written on a key about its life. Expiry is not: it follows from the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    pub suspended_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
}

impl Life {
    /// The state at `now`, by the database's clock. The gravest word wins: a revoked key stays revoked when it expires.
    pub fn state(&self, now: Timestamp) -> State {
        if self.revoked_at.is_some() {
            State::Revoked
        } else if self.expires_at.is_some_and(|end| end <= now) {
            State::Expired
        } else if self.suspended_at.is_some() {
            State::Suspended
        } else {
            State::Active
        }
    }
}

/// What a key is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Active,
    Suspended,
    Revoked,
    Expired,
}

/// What proves a key: one, or two while it rotates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub id: CredentialId,
    pub prefix: Prefix,
    pub created_at: Timestamp,
    /// When its grace ends; absent on the credential in use.
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: KeyId,
    pub name: DisplayName,
    pub owner: Owner,
    pub permissions: PermissionSet,
    /// Absent: any audience.
    pub audiences: Option<Vec<Identifier>>,
    pub metadata: Metadata,
    pub max_token_ttl: Option<Span>,
    pub life: Life,
    /// Newest first; only those that still prove the key.
    pub credentials: Vec<Credential>,
    pub created_at: Timestamp,
    pub created_by: ActorRef,
    pub version: i64,
}

impl ApiKey {
    /// What may be shown of the credential in use.
    pub fn masked(&self) -> Option<String> {
        self.credentials.first().map(|newest| masked(&newest.prefix, &newest.id))
    }

    pub fn last_used_at(&self) -> Option<Timestamp> {
        self.credentials.iter().filter_map(|credential| credential.last_used_at).max()
    }
}
