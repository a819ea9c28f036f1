//! The part of all keys and service clients that a caller may see, as a filter for lists.

use crate::domain::common::id::{OrganizationId, UserId};

/// The keys or service clients that a caller may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyVisibility {
    All,
    /// Within an organization: all of them (`all_keys`), or the organization's own and those of one
    /// user.
    Organization {
        id: OrganizationId,
        all_keys: bool,
        organization_keys: bool,
        user_keys: Option<UserId>,
    },
    /// Those of a user outside organizations.
    User(UserId),
    None,
}
