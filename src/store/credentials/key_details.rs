//! The data for validation: the facts of an exchange, the complete key, and its user and
//! organization.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    domain::{
        access::audience::Identifier,
        common::derived_id::CredentialId,
        credentials::api_key::ApiKey,
        directory::Organization,
        exchange::validation::{OwnerOrganization, Principals},
    },
    store::{
        api_keys::{
            keys::{load_credentials_of_keys, load_key_credentials},
            owner_status::StandingRow,
        },
        credentials::key_context::{self, KeyRecord, KeySelector, ResultsByCredential},
        directory::organizations,
        error::StoreError,
        pool::Conn,
    },
};

/// The complete key that validation returns, with its user and organization.
pub type KeyDetails = (ApiKey, Principals);

/// Like `key_context::load`, with the data that validation returns. This takes two queries, and a third
/// one if the key belongs to an organization.
pub fn load(
    connection: &mut Conn,
    wanted: &KeySelector,
    targets: &BTreeSet<Identifier>,
) -> Result<Option<(KeyRecord, KeyDetails)>, StoreError> {
    let Some((loaded, row, standing)) = key_context::read(connection, wanted, targets)? else { return Ok(None) };
    let key = load_key_credentials(connection, row, standing.clone(), loaded.facts.now)?;
    let organization = match key.ownership.home.organization() {
        None => None,
        Some(id) => organizations::find(connection, id)?,
    };
    let behind = build_owner_details(&key, &standing, organization)?;
    Ok(Some((loaded, (key, behind))))
}

/// Like `load`, for many credentials. On PostgreSQL the number of queries is the same as for one.
/// Credentials that do not exist are omitted. Invalid data of one key does not affect the others.
pub(crate) fn load_validation_data_of_credentials(
    connection: &mut Conn,
    wanted: &[CredentialId],
    targets: &BTreeSet<Identifier>,
) -> Result<ResultsByCredential<(KeyRecord, KeyDetails)>, StoreError> {
    let (mut all, mut read, mut rows) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (id, found) in key_context::load_facts_with_rows_of_credentials(connection, wanted, targets)? {
        match found {
            Err(error) => drop(all.insert(id, Err(error))),
            Ok((loaded, row, standing)) => {
                rows.push((row, standing.clone(), loaded.facts.now));
                read.push((id, loaded, standing));
            }
        }
    }
    let keys = load_credentials_of_keys(connection, rows)?;
    let homes = keys.iter().flatten().filter_map(|key| key.ownership.home.organization().cloned());
    let organizations = organizations::find_many(connection, &homes.collect())?;
    for ((id, loaded, standing), key) in read.into_iter().zip(keys) {
        let whole = key.and_then(|key| {
            let organization = key.ownership.home.organization().and_then(|id| organizations.get(id)).cloned();
            let behind = build_owner_details(&key, &standing, organization)?;
            Ok((loaded, (key, behind)))
        });
        all.insert(id, whole);
    }
    Ok(all)
}

fn build_owner_details(
    key: &ApiKey,
    standing: &StandingRow,
    organization: Option<Organization>,
) -> Result<Principals, StoreError> {
    Ok(Principals {
        user: standing.user(&key.ownership.home)?,
        organization: organization.map(|found| OwnerOrganization {
            id: found.id,
            name: found.name,
            metadata: found.metadata,
        }),
    })
}
