//! The directory: organizations, users and members, copied from the product by repeated, idempotent
//! PUTs.

pub mod import;
pub mod members;
pub mod organizations;
pub mod users;

use crate::{
    domain::{
        access::{owner::OwnerScope, owner_status::Deleted},
        common::id::{OrganizationId, UserId},
        events::NewEvent,
    },
    service::{Conflict, Error},
    store::{self, StoreError, Tx, directory::owner_deletions::DeletedOwner},
};

/// The result of a PUT with its event, for both the API and the import.
#[derive(Debug)]
pub(super) enum PutEffect<T> {
    Unchanged(T),
    Updated(T, NewEvent),
    New(T, NewEvent),
}

/// Reports the loser of two concurrent PUTs of the same new entry as `Error::Conflict`.
fn map_put_conflict(written: Result<(), StoreError>, id: impl std::fmt::Display) -> Result<(), Error> {
    match written {
        Err(StoreError::Conflict(_)) => Err(Conflict::ChangedConcurrently(id.to_string()).into()),
        other => Ok(other?),
    }
}

/// Records that a membership was deleted and why, for the events of the keys that end with it.
fn record_member_deletion(
    tx: &mut Tx<'_>,
    user: &UserId,
    organization: &OrganizationId,
    generation_id: crate::domain::common::id::GenerationId,
    gone: Deleted,
    ends_with_creator: bool,
) -> Result<(), StoreError> {
    let home = OwnerScope::User { id: user.clone(), organization: Some(organization.clone()), generation_id };
    store::directory::owner_deletions::record_deletion(tx, &DeletedOwner::OwnerScope(home.clone()), gone)?;
    if ends_with_creator {
        store::directory::owner_deletions::record_deletion(tx, &DeletedOwner::Creator(home), Deleted::CreatorLeft)?;
    }
    Ok(())
}
