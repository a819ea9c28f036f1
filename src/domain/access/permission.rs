//! Permissions and sets of permissions. An OAuth scope is such a set.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::domain::common::{
    key_text::holds_key,
    name::DisplayName,
    time::{Timestamp, impl_serde_as_text},
};

/// Name of a permission: 1 to 128 characters of `A-Za-z0-9._:-`, compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PermissionName(String);

impl PermissionName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the permission governs Keyswap itself. Only the management audience accepts
    /// such permissions.
    pub fn is_management(&self) -> bool {
        self.0.starts_with("keyswap:")
            || crate::domain::access::permission::TENANT_PERMISSIONS.contains(&self.0.as_str())
    }
}

impl FromStr for PermissionName {
    type Err = InvalidPermission;
    fn from_str(text: &str) -> Result<Self, InvalidPermission> {
        let shape = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if (1..=128).contains(&text.len()) && text.bytes().all(shape) && !holds_key(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPermission)
        }
    }
}

impl fmt::Display for PermissionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl_serde_as_text!(PermissionName);

/// Returned for a text that is not a valid permission name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a permission has 1 to 128 of A-Z, a-z, 0-9, '.', '_', ':' and '-', and is no API key")]
pub struct InvalidPermission;

/// A set of permissions, ordered by name. It is an array in the API, and one string in a token
/// (RFC 8693 §4.2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "BTreeSet<PermissionName>", try_from = "BTreeSet<PermissionName>")]
pub struct PermissionSet(BTreeSet<PermissionName>);

impl From<PermissionSet> for BTreeSet<PermissionName> {
    fn from(set: PermissionSet) -> Self {
        set.0
    }
}

impl TryFrom<BTreeSet<PermissionName>> for PermissionSet {
    type Error = TooManyPermissions;
    fn try_from(names: BTreeSet<PermissionName>) -> Result<Self, TooManyPermissions> {
        if names.len() > MAX_PERMISSIONS { Err(TooManyPermissions) } else { Ok(Self(names)) }
    }
}

/// Maximum number of permissions of a key, service client or audience. More would not fit the
/// headers that contain tokens.
pub const MAX_PERMISSIONS: usize = 256;

/// Returned for more than `MAX_PERMISSIONS` permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("256 permissions at most")]
pub struct TooManyPermissions;

impl PermissionSet {
    pub fn contains(&self, name: &PermissionName) -> bool {
        self.0.contains(name)
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn iter(&self) -> impl Iterator<Item = &PermissionName> {
        self.0.iter()
    }
    /// Returns the permissions that are in `self` and not in `other`.
    pub fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a PermissionName> {
        self.0.difference(&other.0)
    }
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }
    /// Parses the stored form: names separated by one space.
    pub fn from_stored(text: &str) -> Result<Self, InvalidPermission> {
        text.split_ascii_whitespace().map(str::parse).collect()
    }
}

impl FromIterator<PermissionName> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = PermissionName>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl fmt::Display for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, name) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(" ")?;
            }
            f.write_str(name.as_str())?;
        }
        Ok(())
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

/// Kind of owner whose keys may have a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssignableOwnerType {
    User,
    Organization,
    ServiceClient,
}

impl AssignableOwnerType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Organization => "organization",
            Self::ServiceClient => "service_client",
        }
    }

    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::User, Self::Organization, Self::ServiceClient].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl FromStr for AssignableOwnerType {
    type Err = InvalidAssignableOwnerType;
    fn from_str(text: &str) -> Result<Self, InvalidAssignableOwnerType> {
        Self::from_stored(text).ok_or(InvalidAssignableOwnerType)
    }
}

/// Returned for a text that is not a kind of owner whose keys have permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a permission is assignable to a user, organization or service_client")]
pub struct InvalidAssignableOwnerType;

/// A permission in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Permission {
    pub name: PermissionName,
    pub description: Option<DisplayName>,
    pub assignable_to: BTreeSet<AssignableOwnerType>,
    /// Shipped with Keyswap: it governs Keyswap itself, and cannot be changed or deleted.
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
