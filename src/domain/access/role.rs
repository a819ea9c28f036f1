//! Roles: named sets of permissions, assigned to members and to users outside organizations.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::domain::{
    access::permission::PermissionSet,
    common::{
        key_text::holds_key,
        name::DisplayName,
        time::{Timestamp, impl_serde_as_text},
    },
};

/// Name of a role: 1 to 128 characters of `A-Za-z0-9._:-`, compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(String);

impl RoleName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoleName {
    type Err = InvalidRole;
    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        let shape = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if (1..=128).contains(&text.len()) && text.bytes().all(shape) && !holds_key(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidRole)
        }
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl_serde_as_text!(RoleName);

/// Returned for a text that is not a valid role name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role has 1 to 128 of A-Z, a-z, 0-9, '.', '_', ':' and '-', and is no API key")]
pub struct InvalidRole;

/// A set of roles, ordered by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "BTreeSet<RoleName>", try_from = "BTreeSet<RoleName>")]
pub struct RoleSet(BTreeSet<RoleName>);

/// Maximum number of roles of a user or a member.
pub const MAX_ROLES: usize = 64;

/// Returned for more than `MAX_ROLES` roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("64 roles at most")]
pub struct TooManyRoles;

impl From<RoleSet> for BTreeSet<RoleName> {
    fn from(set: RoleSet) -> Self {
        set.0
    }
}

impl TryFrom<BTreeSet<RoleName>> for RoleSet {
    type Error = TooManyRoles;
    fn try_from(names: BTreeSet<RoleName>) -> Result<Self, TooManyRoles> {
        if names.len() > MAX_ROLES { Err(TooManyRoles) } else { Ok(Self(names)) }
    }
}

impl RoleSet {
    pub fn contains(&self, name: &RoleName) -> bool {
        self.0.contains(name)
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn iter(&self) -> impl Iterator<Item = &RoleName> {
        self.0.iter()
    }
    /// Parses the stored form: names separated by one space.
    pub fn from_stored(text: &str) -> Result<Self, InvalidRole> {
        text.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl FromIterator<RoleName> for RoleSet {
    fn from_iter<I: IntoIterator<Item = RoleName>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl fmt::Display for RoleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(RoleName::as_str).collect();
        f.write_str(&names.join(" "))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Role {
    pub name: RoleName,
    pub description: Option<DisplayName>,
    pub permissions: PermissionSet,
    pub created_at: Timestamp,
    pub version: i64,
}
