//! Authorization policy: which permissions allow which action, in one table. A handler names its
//! action in its signature. Nothing else gives access to `/v1`, and the OpenAPI document is
//! generated from the same table.

use crate::domain::{
    access::{
        key_visibility::KeyVisibility,
        owner::OwnerScope,
        permission::{MANAGE, MANAGE_ALL, MANAGE_SELF, PermissionName, PermissionSet, TENANT_PERMISSIONS},
    },
    common::id::{OrganizationId, UserId},
};

/// Allows every action, and includes the whole permission catalog.
pub const ADMIN: &str = "keyswap:admin";
const DIRECTORY: &str = "keyswap:directory";
const KEYS: &str = "keyswap:keys";
pub const SESSIONS: &str = "keyswap:sessions";
const VALIDATE: &str = "keyswap:validate";
const EVENTS: &str = "keyswap:events";
const SIGNING_KEYS: &str = "keyswap:signing-keys";

/// Permissions that are shipped with Keyswap, with a description of what each allows.
pub const BUILT_IN: [(&str, &str); 10] = [
    (ADMIN, "everything, and holds the whole catalog"),
    (DIRECTORY, "mirror organizations, users and members"),
    (KEYS, "manage API keys and service clients; implies keyswap:sessions"),
    (SESSIONS, "open a portal session for any user, and end portal sessions"),
    (VALIDATE, "validate API keys and tokens"),
    (EVENTS, "read the audit log"),
    (SIGNING_KEYS, "see, rotate and revoke signing keys"),
    (MANAGE, "manage the keys of the own organization"),
    (MANAGE_SELF, "manage the own keys"),
    (MANAGE_ALL, "see and revoke every key of the own organization"),
];

/// An action that a caller of `/v1` may be permitted to perform.
pub trait Action: Send + Sync + 'static {
    const NAME: &'static str;
    /// The permissions that allow the action, besides `keyswap:admin`: one of them is sufficient.
    /// Those that govern an organization count only in the tenant scope of a user or an
    /// organization, and `CallerPermissions::rights_on` determines their reach there.
    const PERMISSIONS: &'static [&'static str];
}

macro_rules! define_actions {
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

define_actions! {
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
    /// Lock a user: none of their keys works.
    LockUsers: "lock users" needs KEYS;
    /// Unlock a user, whose keys work again with all of their permissions.
    UnlockUsers: "unlock users" needs ADMIN;
    /// Create, read, change and delete audiences.
    ManageAudiences: "manage audiences" needs ADMIN;
    /// Validate and introspect API keys and tokens, and check access to resources.
    ValidateCredentials: "validate API keys and tokens" needs VALIDATE;
    /// Open a portal session for a user; list and end portal sessions.
    ManagePortalSessions: "manage portal sessions" needs SESSIONS, KEYS;
    /// Read the audit log.
    ReadEvents: "read events" needs EVENTS;
    /// Read the metrics on the public listener: they distinguish a revoked key from an unknown one
    /// (invariant 7).
    ReadMetrics: "read metrics" needs EVENTS;
    /// Read key statistics, the number of exchanges and the causes of refusals: they distinguish a
    /// revoked key from an unknown one (invariant 7).
    ReadStatistics: "read the overview" needs EVENTS;
    /// Read, rotate and revoke signing keys, which Keyswap generates.
    ManageSigningKeys: "manage signing keys" needs SIGNING_KEYS;
    /// Import a signing key, which lets the caller sign any token (invariant 11).
    ImportSigningKeys: "import signing keys" needs ADMIN;
    /// Configure the destinations of events. A webhook can receive every event, so this permits
    /// reading all of them.
    ManageWebhooks: "manage webhooks" needs ADMIN;
    /// Change the appearance of the hosted pages.
    ManageBranding: "manage the branding" needs ADMIN;
    /// Read the identity and permissions of the caller.
    ReadOwnIdentity: "know who calls" needs DIRECTORY, KEYS, SESSIONS, VALIDATE, EVENTS, SIGNING_KEYS, MANAGE, MANAGE_SELF, MANAGE_ALL;
    /// Create, list, change and delete access records.
    ManageAccessRecords: "manage access records" needs KEYS, MANAGE, MANAGE_SELF, MANAGE_ALL;
}

/// Tenant scope of a caller. What is outside does not exist for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantScope {
    /// The whole deployment: service clients of the account, unowned keys, and operators with shell
    /// access to the server.
    Account,
    /// A user or an organization: the scope of a personal key, an organization's key, a portal
    /// session, or a call on behalf of a user.
    Tenant { organization: Option<OrganizationId>, user: Option<UserId> },
}

impl TenantScope {
    /// Returns the tenant scope of the holder of a key.
    pub fn of(owner_scope: &OwnerScope) -> Self {
        match owner_scope {
            OwnerScope::Account => Self::Account,
            OwnerScope::Organization { id, .. } => Self::Tenant { organization: Some(id.clone()), user: None },
            OwnerScope::User { id, organization, .. } => {
                Self::Tenant { organization: organization.clone(), user: Some(id.clone()) }
            }
        }
    }

    /// Returns those of `permissions` that can be held and granted in this scope: nothing in a
    /// tenant governs Keyswap as a whole, whatever roles and the catalog say (invariant 14).
    pub fn restrict(&self, permissions: &PermissionSet) -> PermissionSet {
        let is_effective = |name: &&PermissionName| *self == Self::Account || !name.is_deployment_management();
        permissions.iter().filter(is_effective).cloned().collect()
    }
}

/// What a caller may do, and in which tenant scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerPermissions {
    /// Management permissions of the caller in this tenant scope.
    pub scope: PermissionSet,
    pub tenant_scope: TenantScope,
}

/// What a caller may do with a key or a service client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ObjectRights {
    /// Read. Without it, the object does not exist for the caller.
    pub read: bool,
    /// Create, change, rotate and resume.
    pub change: bool,
    /// Suspend, revoke and delete.
    pub end: bool,
}

/// One of `ObjectRights`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectRight {
    Read,
    Change,
    End,
}

impl ObjectRights {
    pub const NONE: Self = Self { read: false, change: false, end: false };
    pub const ALL: Self = Self { read: true, change: true, end: true };
    const READ_AND_END: Self = Self { read: true, change: false, end: true };

    pub const fn includes(self, right: ObjectRight) -> bool {
        match right {
            ObjectRight::Read => self.read,
            ObjectRight::Change => self.change,
            ObjectRight::End => self.end,
        }
    }
}

/// Returns the permission that a caller in a tenant scope must have to change an object that
/// belongs to `owner_scope`.
pub const fn required_management_permission(owner_scope: &OwnerScope) -> &'static str {
    match owner_scope {
        OwnerScope::User { .. } => MANAGE_SELF,
        OwnerScope::Account | OwnerScope::Organization { .. } => MANAGE,
    }
}

impl CallerPermissions {
    /// Returns whether the caller may perform `A` at all.
    pub fn allows<A: Action>(&self) -> bool {
        self.required_permissions::<A>().iter().any(|permission| self.has_permission(permission))
    }

    /// Returns the permissions that allow `A` in the tenant scope of the caller: one of them is
    /// sufficient.
    pub fn required_permissions<A: Action>(&self) -> Vec<&'static str> {
        let is_tenant = matches!(self.tenant_scope, TenantScope::Tenant { .. });
        let is_effective = |permission: &&str| is_tenant == TENANT_PERMISSIONS.contains(permission);
        let effective: Vec<_> = A::PERMISSIONS.iter().copied().filter(is_effective).collect();
        if effective.is_empty() { A::PERMISSIONS.to_vec() } else { effective }
    }

    /// Returns whether the caller has `permission`, by name or through one that implies it.
    pub fn has_permission(&self, permission: &str) -> bool {
        has_permission(&self.scope, permission)
    }

    /// Returns what the caller may do with an object that belongs to `owner_scope`. If this owner
    /// was deleted, the object does not exist for callers inside a tenant: the id of the owner may
    /// belong to someone else since.
    pub fn rights_on(&self, owner_scope: &OwnerScope, owner_exists: bool) -> ObjectRights {
        let (organization, user) = match &self.tenant_scope {
            TenantScope::Account => {
                return if self.has_permission(KEYS) { ObjectRights::ALL } else { ObjectRights::NONE };
            }
            TenantScope::Tenant { organization, user } => (organization.as_ref(), user.as_ref()),
        };
        let (is_own, manage) = match owner_scope {
            OwnerScope::Account => return ObjectRights::NONE,
            OwnerScope::Organization { .. } => (true, MANAGE),
            OwnerScope::User { id, .. } => (user == Some(id), MANAGE_SELF),
        };
        if !owner_exists || owner_scope.organization() != organization {
            ObjectRights::NONE
        } else if is_own && self.has_permission(manage) {
            ObjectRights::ALL
        } else if organization.is_some() && self.has_permission(MANAGE_ALL) {
            ObjectRights::READ_AND_END
        } else {
            ObjectRights::NONE
        }
    }

    /// Returns which keys and service clients the caller may see, as a filter for lists: those that
    /// `rights_on` permits it to see while their owner exists.
    pub fn visible_keys(&self) -> KeyVisibility {
        let user_keys = |user: &Option<UserId>| user.clone().filter(|_| self.has_permission(MANAGE_SELF));
        match &self.tenant_scope {
            TenantScope::Account if self.has_permission(KEYS) => KeyVisibility::All,
            TenantScope::Account => KeyVisibility::None,
            TenantScope::Tenant { organization: Some(id), user } => KeyVisibility::Organization {
                id: id.clone(),
                all_keys: self.has_permission(MANAGE_ALL),
                organization_keys: self.has_permission(MANAGE),
                user_keys: user_keys(user),
            },
            TenantScope::Tenant { organization: None, user } => {
                user_keys(user).map_or(KeyVisibility::None, KeyVisibility::User)
            }
        }
    }

    /// Returns whether the caller may act on behalf of users. Such a call can do nothing that
    /// managing keys does not permit as well.
    pub fn may_act_on_behalf_of_users(&self) -> bool {
        self.tenant_scope == TenantScope::Account && self.has_permission(KEYS)
    }

    /// Returns whether the caller may open and end portal sessions of any user (invariant 12).
    pub fn may_manage_portal_sessions(&self) -> bool {
        self.tenant_scope == TenantScope::Account && self.has_permission(SESSIONS)
    }
}

/// Returns whether `scope` has `permission`, by name or through a permission that implies it.
fn has_permission(scope: &PermissionSet, permission: &str) -> bool {
    let implies = |held: &str| held == permission || held == ADMIN || (held == KEYS && permission == SESSIONS);
    scope.iter().any(|name| implies(name.as_str()))
}

/// Permissions that a caller may grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantablePermissions {
    /// For `keyswap:admin`, and for operators with shell access to the server.
    WholeCatalog,
    Only(PermissionSet),
}

impl GrantablePermissions {
    pub fn of(permissions: PermissionSet) -> Self {
        if has_permission(&permissions, ADMIN) { Self::WholeCatalog } else { Self::Only(permissions) }
    }

    pub fn can_grant(&self, name: &PermissionName) -> bool {
        match self {
            Self::WholeCatalog => true,
            Self::Only(set) => has_permission(set, name.as_str()),
        }
    }

    /// Returns those of `these` that the caller may grant.
    pub fn restrict(&self, these: &PermissionSet) -> PermissionSet {
        match self {
            Self::WholeCatalog => these.clone(),
            Self::Only(set) => set.intersection(these),
        }
    }
}
