//! The mirror of the product's directory: organizations, users and members, put again and again as the product has them.

pub mod import;
pub mod members;
pub mod organizations;
pub mod users;

use crate::{
    domain::{
        event::NewEvent,
        id::{OrganizationId, UserId},
        standing::{Gone, Home},
    },
    service::Error,
    store::{self, StoreError, Tx, departures::Departed},
};

/// What becomes of a thing that is put, and the event that tells of it. Both a PUT and an import ask for it.
#[derive(Debug)]
pub(super) enum Becomes<T> {
    Same(T),
    Altered(T, NewEvent),
    New(T, NewEvent),
}

/// Of two that put a new thing at once, one comes too late.
fn put_at_the_same_moment(written: Result<(), StoreError>, id: impl std::fmt::Display) -> Result<(), Error> {
    match written {
        Err(StoreError::Conflict(_)) => Err(Error::Conflict(format!("{id} was put at the same moment; look again"))),
        other => Ok(other?),
    }
}

/// Notes a membership that has ended, and why, for the events of the keys that ended with it.
fn departed_member(
    tx: &mut Tx<'_>,
    user: &UserId,
    organization: &OrganizationId,
    incarnation: crate::domain::id::Incarnation,
    gone: Gone,
    ends_with_creator: bool,
) -> Result<(), StoreError> {
    let home = Home::User { id: user.clone(), organization: Some(organization.clone()), incarnation };
    store::departures::note(tx, &Departed::Home(home.clone()), gone)?;
    if ends_with_creator {
        store::departures::note(tx, &Departed::Creator(home), Gone::CreatorLeft)?;
    }
    Ok(())
}
