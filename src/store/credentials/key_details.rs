//! The data for validation: the facts of an exchange, the complete key, and its user and
//! organization.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    domain::{
        access::audience::Identifier,
        common::derived_id::CredentialId,
        credentials::api_key::ApiKey,
        directory::Organization,
        exchange::validation::{Behind, OrganizationBehind},
    },
    store::{
        api_keys::{
            keys::{all_with_credentials, with_credentials},
            owner_status::StandingRow,
        },
        credentials::key_context::{self, Loaded, OfEach, Wanted},
        directory::organizations,
        error::StoreError,
        pool::Conn,
    },
};

/// The complete key that validation returns, with its user and organization.
pub type Whole = (ApiKey, Behind);

/// Like `key_context::load`, with the data that validation returns. This takes two queries, and a third
/// one if the key belongs to an organization.
pub fn load(
    connection: &mut Conn,
    wanted: &Wanted,
    targets: &BTreeSet<Identifier>,
) -> Result<Option<(Loaded, Whole)>, StoreError> {
    let Some((loaded, row, standing)) = key_context::read(connection, wanted, targets)? else { return Ok(None) };
    let key = with_credentials(connection, row, standing.clone(), loaded.facts.now)?;
    let organization = match key.ownership.home.organization() {
        None => None,
        Some(id) => organizations::find(connection, id)?,
    };
    let behind = behind(&key, &standing, organization)?;
    Ok(Some((loaded, (key, behind))))
}

/// Like `load`, for many credentials. On PostgreSQL the number of queries is the same as for one.
/// Credentials that do not exist are omitted. Invalid data of one key does not affect the others.
pub(crate) fn load_many(
    connection: &mut Conn,
    wanted: &[CredentialId],
    targets: &BTreeSet<Identifier>,
) -> Result<OfEach<(Loaded, Whole)>, StoreError> {
    let (mut all, mut read, mut rows) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (id, found) in key_context::read_many(connection, wanted, targets)? {
        match found {
            Err(error) => drop(all.insert(id, Err(error))),
            Ok((loaded, row, standing)) => {
                rows.push((row, standing.clone(), loaded.facts.now));
                read.push((id, loaded, standing));
            }
        }
    }
    let keys = all_with_credentials(connection, rows)?;
    let homes = keys.iter().flatten().filter_map(|key| key.ownership.home.organization().cloned());
    let organizations = organizations::find_many(connection, &homes.collect())?;
    for ((id, loaded, standing), key) in read.into_iter().zip(keys) {
        let whole = key.and_then(|key| {
            let organization = key.ownership.home.organization().and_then(|id| organizations.get(id)).cloned();
            let behind = behind(&key, &standing, organization)?;
            Ok((loaded, (key, behind)))
        });
        all.insert(id, whole);
    }
    Ok(all)
}

fn behind(key: &ApiKey, standing: &StandingRow, organization: Option<Organization>) -> Result<Behind, StoreError> {
    Ok(Behind {
        user: standing.user(&key.ownership.home)?,
        organization: organization.map(|found| OrganizationBehind {
            id: found.id,
            name: found.name,
            metadata: found.metadata,
        }),
    })
}
