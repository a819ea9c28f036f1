//! Authorization policy: which permissions allow which action, in one table. A handler names its
//! action in its signature. Nothing else gives access to `/v1`, and the OpenAPI document is
//! generated from the same table.

use crate::domain::{
    access::{
        owner::Home,
        permission::{MANAGE, MANAGE_ALL, MANAGE_SELF, ORGANIZATION_MANAGEMENT, PermissionName, PermissionSet},
    },
    common::id::{OrganizationId, UserId},
};

/// Allows every action, and includes the whole permission catalog.
pub const ADMIN: &str = "keyswap:admin";
const DIRECTORY: &str = "keyswap:directory";
const KEYS: &str = "keyswap:keys";
const VALIDATE: &str = "keyswap:validate";
const EVENTS: &str = "keyswap:events";
const SIGNING_KEYS: &str = "keyswap:signing-keys";

/// Permissions that are shipped with Keyswap, with a description of what each allows.
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

/// An action that a caller of `/v1` may be permitted to perform.
pub trait Action: Send + Sync + 'static {
    const NAME: &'static str;
    /// The permissions that allow the action, besides `keyswap:admin`: one of them is sufficient.
    /// Those that govern an organization count only in the tenant scope of a user or an
    /// organization, and `Authority::over` determines their reach there.
    const PERMISSIONS: &'static [&'static str];
}

macro_rules! actions {
    ($($(#[$doc:meta])* $action:ident: $name:literal needs $($permission:expr),+;)*) => {
        $($(#[$doc])* #[derive(Debug, Clone, Copy)] pub struct $action;
        impl Action for $action {
            const NAME: &'static str = $name;
            const PERMISSIONS: &'static [&'static str] = &[$($permission),+];
        })*
        /// The table: actions and permissions.
        pub const TABLE: &[(&str, &[&str])] = &[$(($name, &[$($permission),+])),*];
    };
}

actions! {
    /// Create, list, change, rotate, suspend and revoke API keys.
    ManageKeys: "manage API keys" needs KEYS, MANAGE, MANAGE_SELF, MANAGE_ALL;
    /// Create, list, change and delete service clients.
    ManageServiceClients: "manage service clients" needs KEYS, MANAGE, MANAGE_SELF, MANAGE_ALL;
    /// Read the permission catalog.
    ReadPermissions: "read permissions" needs KEYS, DIRECTORY, MANAGE, MANAGE_SELF, MANAGE_ALL;
    /// Change the permission catalog.
    ManagePermissions: "manage permissions" needs ADMIN;
    /// Read roles.
    ReadRoles: "read roles" needs DIRECTORY, KEYS;
    /// Create, change and delete roles.
    ManageRoles: "manage roles" needs ADMIN;
    /// Maintain organizations, users and members in the directory.
    ManageDirectory: "manage the directory" needs DIRECTORY;
    /// Create, read, change and delete audiences.
    ManageAudiences: "manage audiences" needs ADMIN;
    /// Validate and introspect API keys and tokens, and check access to resources.
    Validate: "validate API keys and tokens" needs VALIDATE;
    /// Create a portal session for a user.
    OpenPortalSessions: "open portal sessions" needs KEYS;
    /// Read the audit log.
    ReadEvents: "read events" needs EVENTS;
    /// Read the metrics on the public listener: they distinguish a revoked key from an unknown one
    /// (invariant 7).
    ReadMetrics: "read metrics" needs EVENTS;
    /// Read key statistics, the number of exchanges and the causes of refusals: they distinguish a
    /// revoked key from an unknown one (invariant 7).
    ReadOverview: "read the overview" needs EVENTS;
    /// Read and rotate signing keys.
    ManageSigningKeys: "manage signing keys" needs SIGNING_KEYS;
    /// Configure the destinations of events. A webhook can receive every event, so this permits
    /// reading all of them.
    ManageWebhooks: "manage webhooks" needs ADMIN;
    /// Change the appearance of the hosted pages.
    ManageBranding: "manage the branding" needs ADMIN;
    /// Read the identity and permissions of the caller.
    KnowOneself: "know who calls" needs DIRECTORY, KEYS, VALIDATE, EVENTS, SIGNING_KEYS, MANAGE, MANAGE_SELF, MANAGE_ALL;
    /// Create, list, change and delete access records.
    ManageAccessRecords: "manage access records" needs KEYS, MANAGE, MANAGE_SELF, MANAGE_ALL;
}

/// Tenant scope of a caller. What is outside does not exist for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The deployment: service clients of the account, unowned keys, and operators with shell
    /// access to the server.
    Everywhere,
    /// A user or an organization: the scope of a personal key, an organization's key, a portal
    /// session, or a call on behalf of a user.
    Inside { organization: Option<OrganizationId>, user: Option<UserId> },
}

impl Place {
    /// Returns the tenant scope of the holder of a key.
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

/// What a caller may do, and in which tenant scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Management permissions of the caller in this tenant scope.
    pub scope: PermissionSet,
    pub place: Place,
}

/// What a caller may do with a key or a service client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// Read. Without it, the object does not exist for the caller.
    pub see: bool,
    /// Create, change, rotate and resume.
    pub change: bool,
    /// Suspend, revoke and delete.
    pub end: bool,
}

impl Rights {
    const NONE: Self = Self { see: false, change: false, end: false };
    const ALL: Self = Self { see: true, change: true, end: true };
    const SEE_AND_END: Self = Self { see: true, change: false, end: true };
}

/// Returns the permission that a caller in a tenant scope must have to change an object that
/// belongs to `home`.
pub const fn needed_over(home: &Home) -> &'static str {
    match home {
        Home::User { .. } => MANAGE_SELF,
        Home::Account | Home::Organization { .. } => MANAGE,
    }
}

/// The keys or service clients that a caller may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    All,
    /// Within an organization: all of them (`whole`), or the organization's own and those of one
    /// user.
    Organization {
        id: OrganizationId,
        whole: bool,
        its_own: bool,
        of_user: Option<UserId>,
    },
    /// Those of a user outside organizations.
    User(UserId),
    Nothing,
}

impl Authority {
    /// Returns whether the caller may perform `A` at all.
    pub fn allows<A: Action>(&self) -> bool {
        self.needed::<A>().iter().any(|permission| self.holds(permission))
    }

    /// Returns the permissions that allow `A` in the tenant scope of the caller: one of them is
    /// sufficient.
    pub fn needed<A: Action>(&self) -> Vec<&'static str> {
        let inside = matches!(self.place, Place::Inside { .. });
        let counts = |permission: &&str| inside == ORGANIZATION_MANAGEMENT.contains(permission);
        let here: Vec<_> = A::PERMISSIONS.iter().copied().filter(counts).collect();
        if here.is_empty() { A::PERMISSIONS.to_vec() } else { here }
    }

    /// Returns whether the caller has `permission`, by name or through `keyswap:admin`.
    pub fn holds(&self, permission: &str) -> bool {
        holds(&self.scope, permission)
    }

    /// Returns what the caller may do with an object that belongs to `home`.
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

    /// Returns which keys and service clients the caller may see, as a filter for lists: those that
    /// `over` permits it to see.
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

    /// Returns whether the caller may act on behalf of users. Such a call can do nothing that
    /// managing keys does not permit as well.
    pub fn may_act_for_users(&self) -> bool {
        self.place == Place::Everywhere && self.holds(KEYS)
    }
}

/// Returns whether `scope` has `permission`, by name or through `keyswap:admin`.
fn holds(scope: &PermissionSet, permission: &str) -> bool {
    scope.iter().any(|name| name.as_str() == permission || name.as_str() == ADMIN)
}

/// Permissions that a caller may grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holdings {
    /// For `keyswap:admin`, and for operators with shell access to the server.
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

    /// Returns those of `these` that the caller may grant.
    pub fn cut(&self, these: &PermissionSet) -> PermissionSet {
        match self {
            Self::WholeCatalog => these.clone(),
            Self::Listed(set) => set.intersection(these),
        }
    }
}
