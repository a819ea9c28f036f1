//! The mirror of the product's directory: organizations, users and members, put again and again as the product has them.

pub mod members;
pub mod organizations;
pub mod users;

use crate::{
    domain::{
        id::{OrganizationId, UserId},
        standing::{Gone, Home},
    },
    store::{self, StoreError, Tx, departures::Departed},
};

/// Notes a membership that has ended, for the events of the keys that ended with it.
fn departed_member(
    tx: &mut Tx<'_>,
    user: &UserId,
    organization: &OrganizationId,
    incarnation: crate::domain::id::Incarnation,
    ends_with_creator: bool,
) -> Result<(), StoreError> {
    let home = Home::User { id: user.clone(), organization: Some(organization.clone()), incarnation };
    store::departures::note(tx, &Departed::Home(home.clone()), Gone::MemberLeft)?;
    if ends_with_creator {
        store::departures::note(tx, &Departed::Creator(home), Gone::CreatorLeft)?;
    }
    Ok(())
}
