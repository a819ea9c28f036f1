//! The caller of an operation: its origin, its permissions and its limits.

use crate::domain::{
    access::{
        owner::OwnerScope,
        policy::{ADMIN, CallerPermissions, GrantablePermissions, TenantScope},
    },
    credentials::api_key::KeyLimits,
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
    /// The user that the caller is or acts on behalf of, with the current generation id.
    pub on_behalf_of: Option<OwnerScope>,
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
                tenant_scope: TenantScope::Deployment,
            },
            holdings: GrantablePermissions::WholeCatalog,
            limits: None,
            on_behalf_of: None,
        }
    }
}
