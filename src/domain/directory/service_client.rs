//! Service clients: non-human identities with their own permissions.

use crate::domain::{
    access::{owner::OwnerScope, permission::PermissionSet},
    common::{id::ServiceClientId, json::Metadata, name::DisplayName, time::Timestamp},
    events::ActorRef,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceClient {
    pub id: ServiceClientId,
    pub name: DisplayName,
    /// Owner: a user, an organization or the account.
    pub owner_scope: OwnerScope,
    pub permissions: PermissionSet,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub created_by: ActorRef,
    pub version: i64,
}
