//! Owner status: whether the owner of a key is still in the directory, and which permissions it has now.

use crate::domain::{
    access::{
        owner::{Home, Owner},
        permission::{PermissionName, PermissionSet},
    },
    common::id::{Incarnation, UserId},
};
use serde::Serialize;

/// Current directory entries that a key depends on. A field is `None` if there is no such row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory {
    pub user: Option<UserNow>,
    pub membership: Option<MembershipNow>,
    pub organization: Option<Incarnation>,
    /// Membership of the user who created a key of the organization.
    pub creator: Option<MembershipNow>,
    /// Permissions of the root owner: for a user those of the applicable roles, for an organization
    /// those that may be assigned to its keys.
    pub permissions: PermissionSet,
}

/// A user, reduced to what keys depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserNow {
    pub incarnation: Incarnation,
    pub blocked: bool,
}

/// A membership, reduced to what keys depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipNow {
    pub incarnation: Incarnation,
    /// Generation id of the organization in which the membership was created.
    pub organization: Incarnation,
}

/// Whether an owner may use its keys now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Good(OwnerSet),
    /// Temporary.
    Blocked,
    /// Permanent.
    Gone(Gone),
}

/// Reason why an owner counts as deleted. The value is the cause in events, and is displayed with
/// the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gone {
    UserDeleted,
    OrganizationDeleted,
    MemberLeft,
    CreatorLeft,
    ServiceClientDeleted,
}

impl Gone {
    pub const ALL: [Self; 5] =
        [Self::UserDeleted, Self::OrganizationDeleted, Self::MemberLeft, Self::CreatorLeft, Self::ServiceClientDeleted];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserDeleted => "user_deleted",
            Self::OrganizationDeleted => "organization_deleted",
            Self::MemberLeft => "member_left",
            Self::CreatorLeft => "creator_left",
            Self::ServiceClientDeleted => "service_client_deleted",
        }
    }

    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|gone| gone.as_str() == text)
    }
}

/// Permissions that an owner has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerSet {
    /// Limited only by the permissions of the key itself.
    KeysOwn,
    Permissions(PermissionSet),
}

impl OwnerSet {
    pub fn holds(&self, name: &PermissionName) -> bool {
        match self {
            Self::KeysOwn => true,
            Self::Permissions(set) => set.contains(name),
        }
    }

    /// Returns the permissions that are in both.
    pub fn cut_to(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::KeysOwn, set) | (set, Self::KeysOwn) => set.clone(),
            (Self::Permissions(one), Self::Permissions(other)) => Self::Permissions(one.intersection(other)),
        }
    }

    /// Returns those of `names` that the owner has.
    pub fn of(&self, names: &PermissionSet) -> PermissionSet {
        match self {
            Self::KeysOwn => names.clone(),
            Self::Permissions(set) => set.intersection(names),
        }
    }
}

/// Returns the status of the root owner of a key or a service client.
pub fn standing(home: &Home, now: &Directory) -> Standing {
    let good = || Standing::Good(OwnerSet::Permissions(now.permissions.clone()));
    match home {
        Home::Account => Standing::Good(OwnerSet::KeysOwn),
        Home::Organization { incarnation, .. } => {
            if now.organization.as_ref() == Some(incarnation) {
                good()
            } else {
                Standing::Gone(Gone::OrganizationDeleted)
            }
        }
        Home::User { organization, incarnation, .. } => {
            let Some(user) = &now.user else { return Standing::Gone(Gone::UserDeleted) };
            match organization {
                None if user.incarnation != *incarnation => return Standing::Gone(Gone::UserDeleted),
                Some(_) if now.organization.is_none() => return Standing::Gone(Gone::OrganizationDeleted),
                Some(_) if !is_member(now.membership.as_ref(), incarnation, now) => {
                    return Standing::Gone(Gone::MemberLeft);
                }
                None | Some(_) => {}
            }
            if user.blocked { Standing::Blocked } else { good() }
        }
    }
}

/// Returns whether the membership with this generation id is in force: it exists, and belongs to
/// the current generation of the organization.
pub fn is_member(membership: Option<&MembershipNow>, incarnation: &Incarnation, now: &Directory) -> bool {
    membership.is_some_and(|membership| {
        membership.incarnation == *incarnation && now.organization.as_ref() == Some(&membership.organization)
    })
}

/// A service client, reduced to what its keys depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientNow {
    pub permissions: PermissionSet,
    pub deleted: bool,
}

/// Owner of a key, and everything that determines its owner status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    pub owner: Owner,
    pub home: Home,
    /// The user who created a key of the organization, and the generation id of their membership.
    /// The key may end with this membership.
    pub creator: Option<(UserId, Incarnation)>,
    /// The service client that owns the key, if any.
    pub client: Option<ClientNow>,
    pub directory: Directory,
}

impl Ownership {
    /// Returns the owner status. `ends_with_creator` states whether the keys of an organization end
    /// when the member who created them leaves.
    pub fn standing(&self, ends_with_creator: bool) -> Standing {
        let home = match standing(&self.home, &self.directory) {
            Standing::Good(set) => set,
            fallen @ (Standing::Blocked | Standing::Gone(_)) => return fallen,
        };
        match (&self.owner, &self.creator) {
            (Owner::Organization(_), Some((_, creator)))
                if ends_with_creator && !is_member(self.directory.creator.as_ref(), creator, &self.directory) =>
            {
                Standing::Gone(Gone::CreatorLeft)
            }
            (Owner::ServiceClient(_), _) => match &self.client {
                Some(client) if !client.deleted => {
                    Standing::Good(OwnerSet::Permissions(client.permissions.clone()).cut_to(&home))
                }
                Some(_) | None => Standing::Gone(Gone::ServiceClientDeleted),
            },
            (Owner::User(_) | Owner::Organization(_) | Owner::Nobody, _) => Standing::Good(home),
        }
    }

    /// Returns the permissions of the root owner of the key, which are unlimited for the account.
    pub fn home_set(&self) -> OwnerSet {
        match &self.home {
            Home::Account => OwnerSet::KeysOwn,
            Home::Organization { .. } | Home::User { .. } => OwnerSet::Permissions(self.directory.permissions.clone()),
        }
    }
}
