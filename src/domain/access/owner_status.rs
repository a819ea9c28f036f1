//! Owner status: whether the owner of a key is still in the directory, and which permissions it has
//! now. The status is derived from the directory in each lookup and not stored with a key, so that
//! unblocking a user restores what worked before, and nothing else.

use crate::domain::{
    access::{
        owner::{Owner, OwnerScope},
        permission::{PermissionName, PermissionSet},
    },
    common::{
        id::{GenerationId, UserId},
        text::text_enum,
    },
};
use serde::Serialize;

/// Current directory entries that a key depends on. A field is `None` if there is no such row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirectorySnapshot {
    pub user: Option<UserSnapshot>,
    pub membership: Option<MembershipSnapshot>,
    pub organization: Option<GenerationId>,
    /// Membership of the user who created a key of the organization.
    pub creator_membership: Option<MembershipSnapshot>,
    pub creator_blocked: bool,
    /// Permissions of the root owner: for a user those of the applicable roles, for an organization
    /// those that may be assigned to its keys.
    pub permissions: PermissionSet,
}

/// A user, reduced to what keys depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSnapshot {
    pub generation_id: GenerationId,
    pub blocked: bool,
}

/// A membership, reduced to what keys depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipSnapshot {
    pub generation_id: GenerationId,
    /// Generation id of the organization in which the membership was created.
    pub organization: GenerationId,
}

/// Whether an owner may use its keys now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerStatus {
    Active(OwnerPermissions),
    /// Temporary.
    Blocked,
    /// Permanent.
    Deleted(DeletionCause),
}

text_enum! {
    /// Reason why an owner counts as deleted. The value is the cause in events, and is displayed
    /// with the key.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum DeletionCause {
        UserDeleted = "user_deleted",
        OrganizationDeleted = "organization_deleted",
        MemberLeft = "member_left",
        CreatorLeft = "creator_left",
        ServiceClientDeleted = "service_client_deleted",
    }
}

/// Permissions that an owner has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerPermissions {
    /// Limited only by the permissions of the key itself.
    Unlimited,
    Permissions(PermissionSet),
}

impl OwnerPermissions {
    pub fn contains(&self, name: &PermissionName) -> bool {
        match self {
            Self::Unlimited => true,
            Self::Permissions(set) => set.contains(name),
        }
    }

    /// Returns the permissions that are in both.
    pub fn intersection(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Unlimited, set) | (set, Self::Unlimited) => set.clone(),
            (Self::Permissions(one), Self::Permissions(other)) => Self::Permissions(one.intersection(other)),
        }
    }

    /// Returns those of `names` that the owner has.
    pub fn of(&self, names: &PermissionSet) -> PermissionSet {
        match self {
            Self::Unlimited => names.clone(),
            Self::Permissions(set) => set.intersection(names),
        }
    }
}

/// Returns the status of the root owner of a key or a service client.
pub fn root_owner_status(owner_scope: &OwnerScope, now: &DirectorySnapshot) -> OwnerStatus {
    let active = || OwnerStatus::Active(OwnerPermissions::Permissions(now.permissions.clone()));
    match owner_scope {
        OwnerScope::Account => OwnerStatus::Active(OwnerPermissions::Unlimited),
        OwnerScope::Organization { generation_id, .. } => {
            if now.organization.as_ref() == Some(generation_id) {
                active()
            } else {
                OwnerStatus::Deleted(DeletionCause::OrganizationDeleted)
            }
        }
        OwnerScope::User { organization, generation_id, .. } => {
            let Some(user) = &now.user else { return OwnerStatus::Deleted(DeletionCause::UserDeleted) };
            match organization {
                None if user.generation_id != *generation_id => {
                    return OwnerStatus::Deleted(DeletionCause::UserDeleted);
                }
                Some(_) if now.organization.is_none() => {
                    return OwnerStatus::Deleted(DeletionCause::OrganizationDeleted);
                }
                Some(_) if !is_membership_in_force(now.membership.as_ref(), generation_id, now) => {
                    return OwnerStatus::Deleted(DeletionCause::MemberLeft);
                }
                None | Some(_) => {}
            }
            if user.blocked { OwnerStatus::Blocked } else { active() }
        }
    }
}

/// Returns whether the membership with this generation id is in force: it exists, and belongs to
/// the current generation of the organization.
pub fn is_membership_in_force(
    membership: Option<&MembershipSnapshot>,
    generation_id: &GenerationId,
    now: &DirectorySnapshot,
) -> bool {
    membership.is_some_and(|membership| {
        membership.generation_id == *generation_id && now.organization.as_ref() == Some(&membership.organization)
    })
}

/// A service client, reduced to what its keys depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceClientSnapshot {
    pub permissions: PermissionSet,
    pub deleted: bool,
}

/// Owner of a key, and everything that determines its owner status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    pub owner: Owner,
    pub owner_scope: OwnerScope,
    /// The user who created a key of the organization, and the generation id of their membership.
    /// The key may end with this membership.
    pub creator_membership: Option<(UserId, GenerationId)>,
    /// The service client that owns the key, if any.
    pub client: Option<ServiceClientSnapshot>,
    pub directory: DirectorySnapshot,
}

impl Ownership {
    /// Returns the owner status. `ends_with_creator` states whether the keys of an organization end
    /// when the member who created them leaves, and are suspended while that member is blocked.
    pub fn owner_status(&self, ends_with_creator: bool) -> OwnerStatus {
        let owner_scope = match root_owner_status(&self.owner_scope, &self.directory) {
            OwnerStatus::Active(set) => set,
            inactive @ (OwnerStatus::Blocked | OwnerStatus::Deleted(_)) => return inactive,
        };
        match (&self.owner, &self.creator_membership) {
            (Owner::Organization(_), Some((_, generation_id))) if ends_with_creator => {
                let directory = &self.directory;
                if !is_membership_in_force(directory.creator_membership.as_ref(), generation_id, directory) {
                    OwnerStatus::Deleted(DeletionCause::CreatorLeft)
                } else if directory.creator_blocked {
                    OwnerStatus::Blocked
                } else {
                    OwnerStatus::Active(owner_scope)
                }
            }
            (Owner::ServiceClient(_), _) => match &self.client {
                Some(client) if !client.deleted => OwnerStatus::Active(
                    OwnerPermissions::Permissions(client.permissions.clone()).intersection(&owner_scope),
                ),
                Some(_) | None => OwnerStatus::Deleted(DeletionCause::ServiceClientDeleted),
            },
            (Owner::User(_) | Owner::Organization(_) | Owner::Unowned, _) => OwnerStatus::Active(owner_scope),
        }
    }

    /// Returns whether the user, organization or account behind the key still exists, whatever else
    /// ended the key.
    pub fn owner_exists(&self) -> bool {
        !matches!(root_owner_status(&self.owner_scope, &self.directory), OwnerStatus::Deleted(_))
    }

    /// Returns the permissions of the root owner of the key, which are unlimited for the account.
    pub fn root_owner_permissions(&self) -> OwnerPermissions {
        match &self.owner_scope {
            OwnerScope::Account => OwnerPermissions::Unlimited,
            OwnerScope::Organization { .. } | OwnerScope::User { .. } => {
                OwnerPermissions::Permissions(self.directory.permissions.clone())
            }
        }
    }
}
