//! The directory: organizations, users and memberships of the product.

pub mod service_client;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{
    access::role::RoleSet,
    common::{
        id::{GenerationId, OrganizationId, UserId},
        json::Metadata,
        name::{Description, DisplayName},
        time::Timestamp,
    },
};

/// An organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Organization {
    pub id: OrganizationId,
    #[serde(skip)]
    pub generation_id: GenerationId,
    pub name: Option<DisplayName>,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub version: i64,
}

/// A person known to the product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub generation_id: GenerationId,
    /// When the product blocked the user. No key of a blocked user works; unblocking restores the
    /// keys.
    pub blocked_at: Option<Timestamp>,
    /// When an operator locked the user, with the same effect. The mirror of the product does not
    /// change it.
    pub locked_at: Option<Timestamp>,
    pub lock_reason: Option<Description>,
    /// User data that validation returns, as stored by the product. It is in no event and no log
    /// entry.
    pub profile: Metadata,
    pub metadata: Metadata,
    /// Roles outside organizations.
    pub roles: RoleSet,
    pub created_at: Timestamp,
    pub version: i64,
}

/// A member of an organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Member {
    #[serde(rename = "organization_id")]
    pub organization: OrganizationId,
    #[serde(rename = "user_id")]
    pub user: UserId,
    #[serde(skip)]
    pub generation_id: GenerationId,
    #[serde(skip)]
    pub organization_generation_id: GenerationId,
    pub roles: RoleSet,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub version: i64,
}
