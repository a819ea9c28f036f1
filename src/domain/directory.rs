//! The product's directory, mirrored: organizations, users, and who is a member where.

use super::{
    id::{Incarnation, OrganizationId, UserId},
    json::Metadata,
    name::DisplayName,
    role::RoleSet,
    time::Timestamp,
};

/// A tenant of the product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    pub id: OrganizationId,
    pub incarnation: Incarnation,
    pub name: Option<DisplayName>,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub version: i64,
}

/// A person known to the product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub incarnation: Incarnation,
    /// A blocked user has no keys that work; unblocking brings them back.
    pub blocked_at: Option<Timestamp>,
    /// What validation shows of the user, as the product stores it; in no event and no log.
    pub profile: Metadata,
    pub metadata: Metadata,
    /// Outside any organization.
    pub roles: RoleSet,
    pub created_at: Timestamp,
    pub version: i64,
}

/// A user in an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub organization: OrganizationId,
    pub user: UserId,
    pub incarnation: Incarnation,
    pub organization_incarnation: Incarnation,
    pub roles: RoleSet,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub version: i64,
}
