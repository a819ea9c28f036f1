//! The caller of an operation: its origin, its permissions and its limits.

use crate::domain::{
    access::{
        owner::Home,
        policy::{ADMIN, Authority, Holdings, Place},
    },
    credentials::api_key::KeyLimits,
    events::{Actor, Origin},
};

/// An authenticated caller and its rights.
#[derive(Debug, Clone)]
pub struct Caller {
    pub origin: Origin,
    /// The management permissions of the caller and the tenant scope in which they apply.
    pub authority: Authority,
    /// The permissions that the caller can grant.
    pub holdings: Holdings,
    /// Limits of the calling key if it belongs to a user or an organization. Keys that the caller
    /// creates or changes must stay within them.
    pub limits: Option<KeyLimits>,
    /// The user that the caller is or acts on behalf of, with the current generation id.
    pub acts_as: Option<Home>,
}

impl Caller {
    /// Returns the caller for an operator with a shell on the server.
    pub fn cli() -> Self {
        Self::operator(Actor::Cli)
    }

    /// Returns the caller for Keyswap itself.
    pub fn system() -> Self {
        Self::operator(Actor::System)
    }

    /// Returns whether the caller may suspend, revoke or delete objects of `home`. If their owner
    /// was deleted (`gone`), only callers of `Place::Everywhere` may do so.
    pub(crate) fn may_end(&self, home: &Home, gone: bool) -> bool {
        self.authority.over(home).end && (!gone || self.authority.place == Place::Everywhere)
    }

    fn operator(actor: Actor) -> Self {
        Self {
            origin: Origin::of(actor),
            authority: Authority { scope: ADMIN.parse().into_iter().collect(), place: Place::Everywhere },
            holdings: Holdings::WholeCatalog,
            limits: None,
            acts_as: None,
        }
    }
}
