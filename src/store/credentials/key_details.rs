//! Lookup of credentials: the context of an exchange, and for validation also the complete key with
//! its user and organization.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    domain::{
        access::audience::Identifier,
        common::derived_id::CredentialId,
        credentials::api_key::ApiKey,
        directory::Organization,
        exchange::validation::{OwnerOrganization, OwnerUser, Principals},
    },
    store::{
        api_keys::{key_row::KeyRow, keys::load_credentials_of_keys, owner_status::OwnerRow},
        credentials::key_context::{self, KeyRecord, KeySelector, LookupDetail},
        directory::organizations,
        prelude::*,
    },
};

/// The complete key that validation returns, with its user and organization.
pub type KeyDetails = (ApiKey, Principals);

/// Selects a credential and the level of detail.
#[derive(Debug, Clone)]
pub struct CredentialQuery {
    pub by: KeySelector,
    /// The audiences to load if they exist.
    pub targets: BTreeSet<Identifier>,
    pub detail: LookupDetail,
}

/// The result of a lookup.
#[derive(Debug, Clone)]
pub struct CredentialLookup {
    pub record: KeyRecord,
    /// Present for `LookupDetail::Full`.
    pub details: Option<Box<KeyDetails>>,
}

/// Like `key_context::load`, in the detail of the query. The details take a second query, and a
/// third one if the key belongs to an organization.
pub fn find(connection: &mut Conn, query: &CredentialQuery) -> Result<Option<CredentialLookup>, StoreError> {
    let Some(found) = key_context::read(connection, &query.by, &query.targets, query.detail)? else { return Ok(None) };
    match found {
        (record, None) => Ok(Some(CredentialLookup { record, details: None })),
        (record, Some(rows)) => Ok(load_details(connection, vec![(record, rows)])?.pop()),
    }
}

/// Like `find`, for many credentials: in one query on PostgreSQL, in one transaction on SQLite. The
/// details take the same number of queries as for one credential. Credentials that do not exist are
/// omitted.
pub(crate) fn find_many(
    connection: &mut Conn,
    ids: &[CredentialId],
    targets: &BTreeSet<Identifier>,
    detail: LookupDetail,
) -> Result<BTreeMap<CredentialId, CredentialLookup>, StoreError> {
    let (mut all, mut records) = (BTreeMap::new(), Vec::new());
    for (id, found) in key_context::read_many(connection, ids, targets, detail)? {
        match found {
            (record, None) => drop(all.insert(id, CredentialLookup { record, details: None })),
            (record, Some(rows)) => records.push((record, rows)),
        }
    }
    if !records.is_empty() {
        let found = load_details(connection, records)?;
        all.extend(found.into_iter().map(|found| (found.record.context.key.credential_id, found)));
    }
    Ok(all)
}

fn load_details(
    connection: &mut Conn,
    found: Vec<(KeyRecord, (KeyRow, OwnerRow))>,
) -> Result<Vec<CredentialLookup>, StoreError> {
    let users = found.iter().map(|(_, (key, owner))| owner.user(&key.owner_scope)).collect::<Result<Vec<_>, _>>()?;
    let ids = found.iter().filter_map(|(_, (key, _))| key.owner_scope.organization().cloned()).collect();
    let organizations = organizations::find_many(connection, &ids)?;
    let (records, rows): (Vec<_>, Vec<_>) = found
        .into_iter()
        .map(|(record, (key, owner))| {
            let now = record.context.now;
            (record, (key, owner, now))
        })
        .unzip();
    let keys = load_credentials_of_keys(connection, rows)?;
    let complete = |((record, key), user): ((KeyRecord, ApiKey), Option<OwnerUser>)| {
        let organization = key.ownership.owner_scope.organization().and_then(|id| organizations.get(id)).cloned();
        let organization =
            organization.map(|Organization { id, name, metadata, .. }| OwnerOrganization { id, name, metadata });
        CredentialLookup { record, details: Some(Box::new((key, Principals { user, organization }))) }
    };
    Ok(records.into_iter().zip(keys).zip(users).map(complete).collect())
}
