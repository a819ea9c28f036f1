//! Whether whoever stands behind a key still does, and what they can do now. It follows from the directory at each look-up and is
//! never written onto a key: unblocking brings back what worked before, and nothing else.

use serde::Serialize;

use super::{
    api_key::Owner,
    id::{Incarnation, OrganizationId, UserId},
    permission::{PermissionName, PermissionSet},
};

/// Who stands behind a key or a service client in the end, in the incarnation in which it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// The whole deployment.
    Account,
    Organization {
        id: OrganizationId,
        incarnation: Incarnation,
    },
    User {
        id: UserId,
        organization: Option<OrganizationId>,
        /// Of the membership, or of the user where there is no organization.
        incarnation: Incarnation,
    },
}

impl Home {
    pub const fn organization(&self) -> Option<&OrganizationId> {
        match self {
            Self::Account => None,
            Self::Organization { id, .. } => Some(id),
            Self::User { organization, .. } => organization.as_ref(),
        }
    }

    pub const fn user(&self) -> Option<&UserId> {
        match self {
            Self::Account | Self::Organization { .. } => None,
            Self::User { id, .. } => Some(id),
        }
    }

    pub const fn incarnation(&self) -> Option<&Incarnation> {
        match self {
            Self::Account => None,
            Self::Organization { incarnation, .. } | Self::User { incarnation, .. } => Some(incarnation),
        }
    }
}

/// What the directory says now about those a key depends on; each absent where there is no such row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory {
    pub user: Option<UserNow>,
    pub membership: Option<MembershipNow>,
    pub organization: Option<Incarnation>,
    /// The membership of the one who made an organization's key.
    pub creator: Option<MembershipNow>,
    /// What the home can do: the permissions of the roles that count, or what may be assigned to an organization's keys.
    pub permissions: PermissionSet,
}

/// A user, as far as keys depend on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserNow {
    pub incarnation: Incarnation,
    pub blocked: bool,
}

/// A membership, as far as keys depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipNow {
    pub incarnation: Incarnation,
    /// The incarnation of the organization it was made in.
    pub organization: Incarnation,
}

/// Whether an owner can do anything now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Good(OwnerSet),
    /// For as long as it lasts.
    Blocked,
    /// For good.
    Gone(Gone),
}

/// What became of an owner that is gone. The word is the cause in events, and is shown with the key.
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

/// What an owner can do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerSet {
    /// Nothing but the key's own permissions is the limit.
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

    /// What is in both.
    pub fn cut_to(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::KeysOwn, set) | (set, Self::KeysOwn) => set.clone(),
            (Self::Permissions(one), Self::Permissions(other)) => Self::Permissions(one.intersection(other)),
        }
    }

    /// These of `names`.
    pub fn of(&self, names: &PermissionSet) -> PermissionSet {
        match self {
            Self::KeysOwn => names.clone(),
            Self::Permissions(set) => set.intersection(names),
        }
    }
}

/// How the home of a key or a service client stands.
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

/// Whether the membership of that incarnation is in force: there, and in the organization as it is now.
pub fn is_member(membership: Option<&MembershipNow>, incarnation: &Incarnation, now: &Directory) -> bool {
    membership.is_some_and(|membership| {
        membership.incarnation == *incarnation && now.organization.as_ref() == Some(&membership.organization)
    })
}

/// A service client, as far as its keys depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientNow {
    pub permissions: PermissionSet,
    pub deleted: bool,
}

/// Who holds a key, and everything their standing is judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    pub owner: Owner,
    pub home: Home,
    /// Whose membership an organization's key may end with: the one who made it.
    pub creator: Option<(UserId, Incarnation)>,
    /// The service client that holds the key, where one does.
    pub client: Option<ClientNow>,
    pub directory: Directory,
}

impl Ownership {
    /// How the owner stands. `ends_with_creator`: whether an organization's keys end when the member who made them leaves.
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

    /// What the user or organization behind the key can do; everything where the account stands behind it.
    pub fn home_set(&self) -> OwnerSet {
        match &self.home {
            Home::Account => OwnerSet::KeysOwn,
            Home::Organization { .. } | Home::User { .. } => OwnerSet::Permissions(self.directory.permissions.clone()),
        }
    }
}
