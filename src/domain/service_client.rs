//! Service clients: non-human identities with permissions of their own.

use super::{
    event::ActorRef, id::ServiceClientId, json::Metadata, name::DisplayName, permission::PermissionSet, standing::Home,
    time::Timestamp,
};

/// A service client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceClient {
    pub id: ServiceClientId,
    pub name: DisplayName,
    /// Its owner: a user, an organization, or the account.
    pub home: Home,
    pub permissions: PermissionSet,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub created_by: ActorRef,
    pub version: i64,
}
