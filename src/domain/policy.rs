//! Who may do what: one table. A handler names its action in its signature; nothing else grants access to `/v1`, and the OpenAPI
//! document reads the same table.

use super::{
    id::{OrganizationId, UserId},
    permission::{PermissionName, PermissionSet},
    standing::Home,
};

/// Everything, and it holds the whole catalog.
pub const ADMIN: &str = "keyswap:admin";
const DIRECTORY: &str = "keyswap:directory";
const KEYS: &str = "keyswap:keys";
const VALIDATE: &str = "keyswap:validate";
const EVENTS: &str = "keyswap:events";
const SIGNING_KEYS: &str = "keyswap:signing-keys";
/// The keys that belong to the organization itself.
pub const MANAGE: &str = "api-keys:manage";
/// The own personal keys.
pub const MANAGE_SELF: &str = "user-api-keys:manage-self";
/// To see and end every key within the organization.
const MANAGE_ALL: &str = "user-api-keys:manage-all";

/// Permissions that govern Keyswap inside one organization.
pub const ORGANIZATION_MANAGEMENT: [&str; 3] = [MANAGE, MANAGE_SELF, MANAGE_ALL];

/// The permissions that ship with Keyswap, with what each lets its holder do.
pub const BUILT_IN: [(&str, &str); 9] = [
    (ADMIN, "everything, and holds the whole catalog"),
    (DIRECTORY, "mirror organizations, users and members"),
    (KEYS, "manage API keys and service clients"),
    (VALIDATE, "validate API keys and tokens"),
    (EVENTS, "read the audit trail"),
    (SIGNING_KEYS, "see and rotate signing keys"),
    (MANAGE, "manage the keys of the own organization"),
    (MANAGE_SELF, "manage the own keys"),
    (MANAGE_ALL, "see and revoke every key of the own organization"),
];

/// Something a caller of `/v1` may be allowed to do.
pub trait Action: Send + Sync + 'static {
    const NAME: &'static str;
    /// The permissions that allow it, beside `keyswap:admin`: one of them is enough. Those that govern an organization count for callers
    /// inside one, and how far they reach there is for `Authority::over`.
    const PERMISSIONS: &'static [&'static str];
}

macro_rules! actions {
    ($($(#[$doc:meta])* $action:ident: $name:literal needs $($permission:expr),+;)*) => {
        $($(#[$doc])* #[derive(Debug, Clone, Copy)] pub struct $action;
        impl Action for $action {
            const NAME: &'static str = $name;
            const PERMISSIONS: &'static [&'static str] = &[$($permission),+];
        })*
        /// The whole table: action and permissions.
        pub const TABLE: &[(&str, &[&str])] = &[$(($name, &[$($permission),+])),*];
    };
}

actions! {
    /// Create, list, change, rotate, suspend and revoke API keys.
    ManageKeys: "manage API keys" needs KEYS, MANAGE, MANAGE_SELF, MANAGE_ALL;
    /// Create, list, change and delete service clients.
    ManageServiceClients: "manage service clients" needs KEYS, MANAGE, MANAGE_SELF, MANAGE_ALL;
    /// Read the catalog of permissions.
    ReadPermissions: "read permissions" needs KEYS, DIRECTORY, MANAGE, MANAGE_SELF, MANAGE_ALL;
    /// Change the catalog of permissions.
    ManagePermissions: "manage permissions" needs ADMIN;
    /// Read roles.
    ReadRoles: "read roles" needs DIRECTORY, KEYS;
    /// Change roles.
    ManageRoles: "manage roles" needs ADMIN;
    /// Mirror organizations, users and members.
    ManageDirectory: "manage the directory" needs DIRECTORY;
    /// Change the audiences.
    ManageAudiences: "manage audiences" needs ADMIN;
    /// Validate API keys and tokens.
    Validate: "validate API keys and tokens" needs VALIDATE;
    /// Let a user into the portal.
    OpenPortalSessions: "open portal sessions" needs KEYS;
    /// Read the audit trail.
    ReadEvents: "read events" needs EVENTS;
    /// Read the metrics on the listener that everyone reaches: they tell a revoked key from an unknown one (design rule 7).
    ReadMetrics: "read metrics" needs EVENTS;
    /// See how much is exchanged, and why what is refused is: it tells a revoked key from an unknown one (design rule 7).
    ReadOverview: "read the overview" needs EVENTS;
    /// See and rotate signing keys.
    ManageSigningKeys: "manage signing keys" needs SIGNING_KEYS;
    /// Say where events are sent to: all of them, so whoever may do it sees everything.
    ManageWebhooks: "manage webhooks" needs ADMIN;
    /// Say how the hosted pages look.
    ManageBranding: "manage the branding" needs ADMIN;
    /// Know who one is, and what one may do.
    KnowOneself: "know who calls" needs DIRECTORY, KEYS, VALIDATE, EVENTS, SIGNING_KEYS, MANAGE, MANAGE_SELF, MANAGE_ALL;
    /// Create, list, change and delete access records.
    ManageAccessRecords: "manage access records" needs KEYS, MANAGE, MANAGE_SELF, MANAGE_ALL;
}

/// Where a caller stands: what is outside does not exist for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The deployment's own: service clients of the account, generic keys, and whoever has a shell on the server.
    Everywhere,
    /// A user or an organization: what a personal key, an organization's key, a portal session, or a call on behalf of a user can reach.
    Inside { organization: Option<OrganizationId>, user: Option<UserId> },
}

impl Place {
    /// Where the holder of a key stands.
    pub fn of(home: &Home) -> Self {
        match home {
            Home::Account => Self::Everywhere,
            Home::Organization { id, .. } => Self::Inside { organization: Some(id.clone()), user: None },
            Home::User { id, organization, .. } => {
                Self::Inside { organization: organization.clone(), user: Some(id.clone()) }
            }
        }
    }
}

/// What a caller may do, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The management permissions it has here.
    pub scope: PermissionSet,
    pub place: Place,
}

/// What a caller may do with a key or a service client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// Without it, the thing does not exist for the caller.
    pub see: bool,
    /// Create, change, rotate, resume.
    pub change: bool,
    /// Suspend, revoke and delete.
    pub end: bool,
}

impl Rights {
    const NONE: Self = Self { see: false, change: false, end: false };
    const ALL: Self = Self { see: true, change: true, end: true };
    const SEE_AND_END: Self = Self { see: true, change: false, end: true };
}

/// The permission that changing what belongs to `home` takes inside an organization.
pub const fn needed_over(home: &Home) -> &'static str {
    match home {
        Home::User { .. } => MANAGE_SELF,
        Home::Account | Home::Organization { .. } => MANAGE,
    }
}

/// Which keys or service clients a caller sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    All,
    /// Within an organization: all, or its own and those of one user.
    Organization {
        id: OrganizationId,
        whole: bool,
        its_own: bool,
        of_user: Option<UserId>,
    },
    /// Those of a user outside any organization.
    User(UserId),
    Nothing,
}

impl Authority {
    /// Whether the caller may do `A` at all.
    pub fn allows<A: Action>(&self) -> bool {
        self.needed::<A>().iter().any(|permission| self.holds(permission))
    }

    /// The permissions that would let the caller do `A` where it stands: one of them is enough.
    pub fn needed<A: Action>(&self) -> Vec<&'static str> {
        let inside = matches!(self.place, Place::Inside { .. });
        let counts = |permission: &&str| inside == ORGANIZATION_MANAGEMENT.contains(permission);
        let here: Vec<_> = A::PERMISSIONS.iter().copied().filter(counts).collect();
        if here.is_empty() { A::PERMISSIONS.to_vec() } else { here }
    }

    /// Whether the caller has `permission`, by name or through `keyswap:admin`.
    pub fn holds(&self, permission: &str) -> bool {
        holds(&self.scope, permission)
    }

    /// What the caller may do with what belongs to `home`.
    pub fn over(&self, home: &Home) -> Rights {
        let (organization, user) = match &self.place {
            Place::Everywhere => return if self.holds(KEYS) { Rights::ALL } else { Rights::NONE },
            Place::Inside { organization, user } => (organization.as_ref(), user.as_ref()),
        };
        let (own, manage) = match home {
            Home::Account => return Rights::NONE,
            Home::Organization { .. } => (true, MANAGE),
            Home::User { id, .. } => (user == Some(id), MANAGE_SELF),
        };
        if home.organization() != organization {
            Rights::NONE
        } else if own && self.holds(manage) {
            Rights::ALL
        } else if organization.is_some() && self.holds(MANAGE_ALL) {
            Rights::SEE_AND_END
        } else {
            Rights::NONE
        }
    }

    /// Which keys and service clients the caller sees: those that `over` lets it see, as a list is asked for.
    pub fn reach(&self) -> Reach {
        let of_user = |user: &Option<UserId>| user.clone().filter(|_| self.holds(MANAGE_SELF));
        match &self.place {
            Place::Everywhere if self.holds(KEYS) => Reach::All,
            Place::Everywhere => Reach::Nothing,
            Place::Inside { organization: Some(id), user } => Reach::Organization {
                id: id.clone(),
                whole: self.holds(MANAGE_ALL),
                its_own: self.holds(MANAGE),
                of_user: of_user(user),
            },
            Place::Inside { organization: None, user } => of_user(user).map_or(Reach::Nothing, Reach::User),
        }
    }

    /// Whether the caller may speak for users: everything such a call can do is what managing keys can do.
    pub fn may_act_for_users(&self) -> bool {
        self.place == Place::Everywhere && self.holds(KEYS)
    }
}

/// Whether `scope` has `permission`, by name or through `keyswap:admin`.
fn holds(scope: &PermissionSet, permission: &str) -> bool {
    scope.iter().any(|name| name.as_str() == permission || name.as_str() == ADMIN)
}

/// What a caller may hand out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holdings {
    /// `keyswap:admin`, and whoever has a shell on the server.
    WholeCatalog,
    Listed(PermissionSet),
}

impl Holdings {
    pub fn of(permissions: PermissionSet) -> Self {
        if holds(&permissions, ADMIN) { Self::WholeCatalog } else { Self::Listed(permissions) }
    }

    pub fn hold(&self, name: &PermissionName) -> bool {
        match self {
            Self::WholeCatalog => true,
            Self::Listed(set) => set.contains(name),
        }
    }

    /// What is left of `these` when both must hold it.
    pub fn cut(&self, these: &PermissionSet) -> PermissionSet {
        match self {
            Self::WholeCatalog => these.clone(),
            Self::Listed(set) => set.intersection(these),
        }
    }
}
