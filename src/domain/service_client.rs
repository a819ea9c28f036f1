//! Service clients: non-human identities with permissions of their own.

use serde::Serialize;

use super::{
    event::ActorRef, id::ServiceClientId, json::Metadata, name::DisplayName, permission::PermissionSet, time::Timestamp,
};

/// Who a service client belongs to. Users and organizations come with the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum ClientOwner {
    /// The whole deployment.
    Account {
        /// Always absent: the account has no id.
        id: Option<&'static str>,
    },
}

impl ClientOwner {
    pub const ACCOUNT: Self = Self::Account { id: None };
}

/// A service client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceClient {
    pub id: ServiceClientId,
    pub name: DisplayName,
    pub owner: ClientOwner,
    pub permissions: PermissionSet,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub created_by: ActorRef,
    pub version: i64,
}
