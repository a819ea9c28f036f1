//! Who may do what: one table. A handler names its action in its signature; nothing else grants access to `/v1`.

use super::permission::PermissionSet;

/// Everything, and it holds the whole catalog.
pub const ADMIN: &str = "keyswap:admin";

/// Permissions that govern Keyswap inside one organization.
pub const ORGANIZATION_MANAGEMENT: [&str; 3] =
    ["api-keys:manage", "user-api-keys:manage-self", "user-api-keys:manage-all"];

/// The permissions that ship with Keyswap, with what each lets its holder do.
pub const BUILT_IN: [(&str, &str); 9] = [
    (ADMIN, "everything, and holds the whole catalog"),
    ("keyswap:directory", "mirror organizations, users and members"),
    ("keyswap:keys", "manage API keys and service clients"),
    ("keyswap:validate", "validate API keys and tokens"),
    ("keyswap:events", "read the audit trail"),
    ("keyswap:signing-keys", "see and rotate signing keys"),
    ("api-keys:manage", "manage the keys of the own organization"),
    ("user-api-keys:manage-self", "manage the own keys"),
    ("user-api-keys:manage-all", "see and revoke every key of the own organization"),
];

/// Something a caller of `/v1` may be allowed to do.
pub trait Action: Send + Sync + 'static {
    const NAME: &'static str;
    /// The permission that allows it, beside `keyswap:admin`.
    const PERMISSION: &'static str;
}

macro_rules! actions {
    ($($(#[$doc:meta])* $action:ident: $name:literal needs $permission:expr;)*) => {
        $($(#[$doc])* #[derive(Debug, Clone, Copy)] pub struct $action;
        impl Action for $action {
            const NAME: &'static str = $name;
            const PERMISSION: &'static str = $permission;
        })*
        /// The whole table: action and permission.
        pub const TABLE: &[(&str, &str)] = &[$(($name, $permission)),*];
    };
}

actions! {
    /// Create, list, change, rotate, suspend and revoke API keys.
    ManageKeys: "manage API keys" needs "keyswap:keys";
    /// Create, list, change and delete service clients.
    ManageServiceClients: "manage service clients" needs "keyswap:keys";
    /// Change the catalog of permissions.
    ManagePermissions: "manage permissions" needs ADMIN;
    /// Change the audiences.
    ManageAudiences: "manage audiences" needs ADMIN;
    /// Read the audit trail.
    ReadEvents: "read events" needs "keyswap:events";
    /// Read the metrics on the listener that everyone reaches: they tell a revoked key from an unknown one (design rule 7).
    ReadMetrics: "read metrics" needs "keyswap:events";
    /// See and rotate signing keys.
    ManageSigningKeys: "manage signing keys" needs "keyswap:signing-keys";
}

/// Whether a caller whose token or key carries `scope` at the management audience may do `A`.
pub fn allows<A: Action>(scope: &PermissionSet) -> bool {
    holds(scope, A::PERMISSION)
}

/// Whether `scope` has `permission`, by name or through `keyswap:admin`.
pub fn holds(scope: &PermissionSet, permission: &str) -> bool {
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

    pub fn hold(&self, name: &super::permission::PermissionName) -> bool {
        match self {
            Self::WholeCatalog => true,
            Self::Listed(set) => set.contains(name),
        }
    }
}
