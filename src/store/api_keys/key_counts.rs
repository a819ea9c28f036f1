//! Counts the keys in force of an owner and of an organization, for quotas.

use crate::{
    domain::{
        access::owner::{Owner, OwnerScope},
        common::id::OrganizationId,
    },
    store::{
        dialect::{CountedKeys, count_keys_in_force},
        prelude::*,
    },
};

/// Returns whether the owner has at least `max` keys that are neither revoked nor expired. The keys
/// of a service client of a user count as keys of the user: otherwise one member could use up the
/// keys of an organization with service clients. A key without an owner counts for none.
pub fn owner_has_at_least(
    tx: &mut Tx<'_>,
    owner: &Owner,
    owner_scope: &OwnerScope,
    max: u32,
) -> Result<bool, StoreError> {
    let Some(id) = owner.id() else { return Ok(false) };
    let keys = match owner_scope {
        OwnerScope::User { id, generation_id, .. } => {
            CountedKeys::User { id: id.as_str(), generation_id: generation_id.as_str() }
        }
        OwnerScope::Organization { generation_id, .. } => {
            CountedKeys::Owner { id, generation_id: generation_id.as_str() }
        }
        OwnerScope::Account => CountedKeys::AccountClient(id),
    };
    has_at_least(tx, keys, max)
}

/// Like `owner_has_at_least`, for all keys within an organization.
pub fn organization_has_at_least(tx: &mut Tx<'_>, id: &OrganizationId, max: u32) -> Result<bool, StoreError> {
    has_at_least(tx, CountedKeys::Organization(id.as_str()), max)
}

fn has_at_least(tx: &mut Tx<'_>, keys: CountedKeys<'_>, max: u32) -> Result<bool, StoreError> {
    let (now, max) = (tx.now(), i64::from(max));
    Ok(count_keys_in_force(tx, keys, now, max)? >= max)
}
