//! The caller of an operation: its origin, its permissions and its limits.

use crate::domain::{
    access::{
        access_record::EffectiveStatement,
        owner::OwnerScope,
        policy::{ADMIN, CallerPermissions, GrantablePermissions, TenantScope},
    },
    credentials::key_limits::KeyLimits,
    events::{Actor, Origin},
};

/// An authenticated caller and its rights.
#[derive(Debug, Clone)]
pub struct Caller {
    pub origin: Origin,
    /// The management permissions of the caller and the tenant scope in which they apply.
    pub authority: CallerPermissions,
    /// The permissions that the caller can grant.
    pub holdings: GrantablePermissions,
    /// Limits of the calling key if it belongs to a user or an organization. Keys that the caller
    /// creates or changes must stay within them.
    pub limits: Option<KeyLimits>,
    /// The statements of the access records that apply to the calling key, if it belongs to a user
    /// or an organization and calls for itself.
    pub key_access: Option<Vec<EffectiveStatement>>,
    /// The user that the caller is or acts on behalf of, with the current generation id.
    pub user_scope: Option<OwnerScope>,
}

impl Caller {
    /// Returns the caller for an operator with a shell on the server.
    pub fn cli() -> Self {
        Self::for_operator(Actor::Operator)
    }

    /// Returns the caller for Keyswap itself.
    pub fn for_system() -> Self {
        Self::for_operator(Actor::System)
    }

    fn for_operator(actor: Actor) -> Self {
        Self {
            origin: Origin::of(actor),
            authority: CallerPermissions {
                scope: ADMIN.parse().into_iter().collect(),
                tenant_scope: TenantScope::Account,
            },
            holdings: GrantablePermissions::WholeCatalog,
            limits: None,
            key_access: None,
            user_scope: None,
        }
    }
}
