//! Roles: named sets of permissions, assigned to members and to users outside organizations.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::domain::{
    access::permission::{PermissionSet, is_name},
    common::{
        name::Description,
        text::{name_set, text_type},
        time::Timestamp,
    },
};

text_type! {
    /// Name of a role: 1 to 128 characters of `A-Za-z0-9._:-`, compared byte by byte.
    pub struct RoleName(|text| is_name(text));

    #[error("a role has 1 to 128 of A-Z, a-z, 0-9, '.', '_', ':' and '-', and is no API key")]
    pub struct InvalidRole;
}

/// Maximum number of roles of a user or a member.
pub const MAX_ROLES: usize = 64;

name_set! {
    /// A set of roles, ordered by name.
    pub struct RoleSet(BTreeSet<RoleName>), at most MAX_ROLES;

    #[error("at most 64 roles")]
    pub struct TooManyRoles;
}

/// A role: a named set of permissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Role {
    pub name: RoleName,
    pub description: Option<Description>,
    pub permissions: PermissionSet,
    pub created_at: Timestamp,
    pub version: i64,
}
