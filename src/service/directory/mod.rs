//! The directory: organizations, users and members, copied from the product by repeated, idempotent
//! PUTs.

pub mod import;
pub mod members;
pub mod organizations;
pub mod users;

use crate::{
    domain::{
        access::{owner::Home, owner_status::Gone},
        common::id::{OrganizationId, UserId},
        events::NewEvent,
    },
    service::Error,
    store::{self, StoreError, Tx, directory::owner_deletions::Departed},
};

/// The result of a PUT with its event, for both the API and the import.
#[derive(Debug)]
pub(super) enum Becomes<T> {
    Same(T),
    Altered(T, NewEvent),
    New(T, NewEvent),
}

/// Reports the loser of two concurrent PUTs of the same new entry as `Error::Conflict`.
fn put_at_the_same_moment(written: Result<(), StoreError>, id: impl std::fmt::Display) -> Result<(), Error> {
    match written {
        Err(StoreError::Conflict(_)) => Err(Error::Conflict(format!("{id} was put at the same moment; look again"))),
        other => Ok(other?),
    }
}

/// Records that a membership was deleted and why, for the events of the keys that end with it.
fn departed_member(
    tx: &mut Tx<'_>,
    user: &UserId,
    organization: &OrganizationId,
    incarnation: crate::domain::common::id::Incarnation,
    gone: Gone,
    ends_with_creator: bool,
) -> Result<(), StoreError> {
    let home = Home::User { id: user.clone(), organization: Some(organization.clone()), incarnation };
    store::directory::owner_deletions::note(tx, &Departed::Home(home.clone()), gone)?;
    if ends_with_creator {
        store::directory::owner_deletions::note(tx, &Departed::Creator(home), Gone::CreatorLeft)?;
    }
    Ok(())
}
