//! Permissions and sets of permissions. An OAuth scope is such a set.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::common::{
    key_text::contains_api_key,
    name::Description,
    text::{name_set, text_enum, text_type},
    time::Timestamp,
};

text_type! {
    /// Name of a permission: 1 to 128 characters of `A-Za-z0-9._:-`, compared byte by byte.
    pub struct PermissionName(|text| is_name(text));

    #[error("a permission has 1 to 128 of A-Z, a-z, 0-9, '.', '_', ':' and '-', and is no API key")]
    pub struct InvalidPermission;
}

/// Returns whether a text may be the name of a permission or a role.
pub(super) fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(is_allowed) && !contains_api_key(text)
}

impl PermissionName {
    /// Returns whether the permission governs Keyswap itself. Only the management audience accepts
    /// such permissions.
    pub fn is_management(&self) -> bool {
        self.is_deployment_management() || self.is_tenant_management()
    }

    /// Returns whether the permission governs Keyswap as a whole.
    pub fn is_deployment_management(&self) -> bool {
        self.0.starts_with("keyswap:")
    }

    /// Returns whether the permission governs Keyswap in the tenant scope of an organization or a
    /// user.
    pub fn is_tenant_management(&self) -> bool {
        TENANT_PERMISSIONS.contains(&self.as_str())
    }
}

/// Maximum number of permissions of a key, service client or audience. More would not fit the
/// headers that contain tokens.
pub const MAX_PERMISSIONS: usize = 256;

name_set! {
    /// A set of permissions, ordered by name. It is an array in the API, and one string in a token
    /// (RFC 8693 §4.2).
    pub struct PermissionSet(BTreeSet<PermissionName>), at most MAX_PERMISSIONS;

    #[error("at most 256 permissions")]
    pub struct TooManyPermissions;
}

impl PermissionSet {
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Returns the permissions that are in `self` and not in `other`.
    pub fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a PermissionName> {
        self.0.difference(&other.0)
    }
    pub fn intersection(&self, other: &Self) -> Self {
        self.0.intersection(&other.0).cloned().collect()
    }
    pub fn union(&self, other: &Self) -> Self {
        self.0.union(&other.0).cloned().collect()
    }
}

/// Parses a `scope` parameter (RFC 6749 §3.3): tokens separated by exactly one space,
/// case-sensitive, in any order.
///
/// A violation of the grammar and an invalid permission name are both `invalid_scope` for the
/// client.
pub fn parse_scope(text: &str) -> Result<PermissionSet, InvalidPermission> {
    text.split(' ').map(str::parse).collect()
}

text_enum! {
    /// Kind of owner whose keys may have a permission.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum AssignableOwnerType {
        User = "user",
        Organization = "organization",
        ServiceClient = "service_client",
    }

    #[error("a permission is assignable to a user, organization or service_client")]
    pub struct InvalidAssignableOwnerType;
}

/// A permission in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Permission {
    pub name: PermissionName,
    pub description: Option<Description>,
    #[schema(value_type = Vec<AssignableOwnerType>)]
    pub assignable_to: BTreeSet<AssignableOwnerType>,
    /// Whether the permission governs Keyswap itself. If so, it cannot be deleted, and only
    /// `assignable_to` of a permission that governs Keyswap within a tenant can be changed.
    pub built_in: bool,
    pub created_at: Timestamp,
    pub version: i64,
}

/// Permits managing the keys that the organization itself owns.
pub const MANAGE: &str = "api-keys:manage";

/// Permits managing the user's own personal keys.
pub const MANAGE_SELF: &str = "user-api-keys:manage-self";

/// Permits reading and ending every key within the organization.
pub(crate) const MANAGE_ALL: &str = "user-api-keys:manage-all";

/// Permissions that govern Keyswap in the tenant scope of an organization or a user.
pub const TENANT_PERMISSIONS: [&str; 3] = [MANAGE, MANAGE_SELF, MANAGE_ALL];
