//! What validation needs to know and to show, in one go: the facts of an exchange, the whole key, and those behind it.

use std::collections::BTreeSet;

use crate::domain::{
    api_key::ApiKey,
    audience::Identifier,
    validation::{Behind, OrganizationBehind},
};

use super::{
    api_keys::with_credentials,
    connection::Conn,
    error::StoreError,
    facts::{self, Loaded, Wanted},
    organizations,
};

/// The key as it is shown, with those behind it.
pub type Whole = (ApiKey, Behind);

/// As `facts::load`, with what is shown. Two queries, and one more where there is an organization.
///
/// # Errors
/// The database does not answer, or holds what it should not.
pub fn load(
    connection: &mut Conn,
    wanted: &Wanted,
    targets: &BTreeSet<Identifier>,
) -> Result<Option<(Loaded, Whole)>, StoreError> {
    let Some((loaded, row, standing)) = facts::read(connection, wanted, targets)? else { return Ok(None) };
    let key = with_credentials(connection, row, &standing, loaded.facts.now)?;
    let home = &key.ownership.home;
    let organization = match home.organization() {
        None => None,
        Some(id) => organizations::find(connection, id)?,
    };
    let behind = Behind {
        user: standing.user(home)?,
        organization: organization.map(|found| OrganizationBehind {
            id: found.id,
            name: found.name,
            metadata: found.metadata,
        }),
    };
    Ok(Some((loaded, (key, behind))))
}
