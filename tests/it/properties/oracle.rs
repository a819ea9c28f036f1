//! The permissions of a key, implemented from section 2 of the design, independently
//! of the code under test.

use keyswap::domain::{
    access::{
        owner::{Owner, OwnerScope},
        owner_status::{MembershipSnapshot, Ownership},
        permission::PermissionName,
    },
    common::{id::GenerationId, time::Timestamp},
    credentials::error::CredentialError,
    exchange::key_context::KeyContext,
};

/// Whether the membership with this generation id exists in the current organization.
fn is_member(ownership: &Ownership, membership: Option<&MembershipSnapshot>, of: &GenerationId) -> bool {
    membership.is_some_and(|found| {
        found.generation_id == *of && Some(&found.organization) == ownership.directory.organization.as_ref()
    })
}

/// Whether the owning user or organization was deleted or recreated after the creation of the key.
fn is_scope_deleted(ownership: &Ownership) -> bool {
    let directory = &ownership.directory;
    match &ownership.owner_scope {
        OwnerScope::Account => false,
        OwnerScope::Organization { generation_id, .. } => directory.organization.as_ref() != Some(generation_id),
        OwnerScope::User { organization: None, generation_id, .. } => {
            directory.user.as_ref().is_none_or(|user| user.generation_id != *generation_id)
        }
        OwnerScope::User { organization: Some(_), generation_id, .. } => {
            directory.user.is_none() || !is_member(ownership, directory.membership.as_ref(), generation_id)
        }
    }
}

fn is_owner_deleted(ownership: &Ownership, ends_with_creator: bool) -> bool {
    match &ownership.owner {
        Owner::ServiceClient(_) => ownership.client.as_ref().is_none_or(|client| client.deleted),
        Owner::Organization(_) => ownership.creator_membership.as_ref().is_some_and(|(_, generation_id)| {
            ends_with_creator && !is_member(ownership, ownership.directory.creator_membership.as_ref(), generation_id)
        }),
        Owner::User(_) | Owner::Unowned => false,
    }
}

fn is_blocked(ownership: &Ownership, ends_with_creator: bool) -> bool {
    let directory = &ownership.directory;
    match (&ownership.owner_scope, &ownership.owner) {
        (OwnerScope::User { .. }, _) => directory.user.as_ref().is_some_and(|user| user.blocked),
        (_, Owner::Organization(_)) => {
            ends_with_creator && ownership.creator_membership.is_some() && directory.creator_blocked
        }
        _ => false,
    }
}

/// Every reason to refuse a key, independent of the request.
pub fn faults(context: &KeyContext, ends_with_creator: bool) -> Vec<CredentialError> {
    let (life, ownership) = (context.key.lifecycle, &context.key.ownership);
    let ended = |end: Option<Timestamp>| end.is_some_and(|end| end <= context.now);
    let gone = is_scope_deleted(ownership) || is_owner_deleted(ownership, ends_with_creator);
    [
        (life.revoked_at.is_some(), CredentialError::Revoked),
        (ended(life.expires_at) || ended(context.key.credential_expires_at), CredentialError::Expired),
        (life.suspended_at.is_some(), CredentialError::Suspended),
        (is_blocked(ownership, ends_with_creator), CredentialError::OwnerBlocked),
        (gone, CredentialError::OwnerDeleted),
    ]
    .into_iter()
    .filter_map(|(holds, fault)| holds.then_some(fault))
    .collect()
}

/// Whether less than a second of the key's lifetime is left, too little for a token in whole
/// seconds.
pub fn ends_within_a_second(context: &KeyContext) -> bool {
    let ends = [context.key.lifecycle.expires_at, context.key.credential_expires_at];
    ends.into_iter().flatten().any(|end| end.seconds() <= context.now.seconds())
}

/// Whether the owner currently has the permission. False if the owner is blocked or deleted.
pub fn is_within_owner(context: &KeyContext, name: &PermissionName, ends_with_creator: bool) -> bool {
    let ownership = &context.key.ownership;
    let is_there = !is_scope_deleted(ownership)
        && !is_owner_deleted(ownership, ends_with_creator)
        && !is_blocked(ownership, ends_with_creator);
    let home_can =
        matches!(ownership.owner_scope, OwnerScope::Account) || ownership.directory.permissions.contains(name);
    let client_can = match &ownership.owner {
        Owner::ServiceClient(_) => ownership.client.as_ref().is_some_and(|client| client.permissions.contains(name)),
        Owner::User(_) | Owner::Organization(_) | Owner::Unowned => true,
    };
    is_there && home_can && client_can
}
