//! Lookup of credentials: the context of an exchange, and for validation also the complete key with
//! its user and organization.

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
            owner_status::OwnerRow,
        },
        credentials::key_context::{self, KeyRecord, KeySelector, RecordWithRows, ResultsByCredential},
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

/// The level of detail of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LookupDetail {
    /// The context of a decision.
    Context,
    /// The context, and the data that validation returns.
    Full,
}

/// The result of a lookup.
#[derive(Debug, Clone)]
pub struct CredentialLookup {
    pub record: KeyRecord,
    /// Present for `LookupDetail::Full`.
    pub details: Option<KeyDetails>,
}

/// Like `key_context::load`, in the detail of the query. The details take a second query, and a
/// third one if the key belongs to an organization.
pub fn find(connection: &mut Conn, query: &CredentialQuery) -> Result<Option<CredentialLookup>, StoreError> {
    let Some((record, row, owner_status)) = key_context::read(connection, &query.by, &query.targets)? else {
        return Ok(None);
    };
    if query.detail == LookupDetail::Context {
        return Ok(Some(CredentialLookup { record, details: None }));
    }
    let key = load_key_credentials(connection, row, owner_status.clone(), record.context.now)?;
    let organization = match key.ownership.owner_scope.organization() {
        None => None,
        Some(id) => organizations::find(connection, id)?,
    };
    let principals = build_principals(&key, &owner_status, organization)?;
    Ok(Some(CredentialLookup { record, details: Some((key, principals)) }))
}

/// Like `find`, for many credentials: in one query on PostgreSQL, in one transaction on SQLite. The
/// details take the same number of queries as for one credential. Credentials that do not exist are
/// omitted. Invalid data of one key does not affect the others.
pub(crate) fn find_many(
    connection: &mut Conn,
    ids: &[CredentialId],
    targets: &BTreeSet<Identifier>,
    detail: LookupDetail,
) -> Result<ResultsByCredential<CredentialLookup>, StoreError> {
    let found = key_context::read_many(connection, ids, targets)?;
    if detail == LookupDetail::Context {
        let without_details = |(record, ..): RecordWithRows| CredentialLookup { record, details: None };
        return Ok(found.into_iter().map(|(id, found)| (id, found.map(without_details))).collect());
    }
    let (mut all, mut records, mut rows) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (id, found) in found {
        match found {
            Err(error) => drop(all.insert(id, Err(error))),
            Ok((record, row, owner_status)) => {
                rows.push((row, owner_status.clone(), record.context.now));
                records.push((id, record, owner_status));
            }
        }
    }
    let keys = load_credentials_of_keys(connection, rows)?;
    let homes = keys.iter().flatten().filter_map(|key| key.ownership.owner_scope.organization().cloned());
    let organizations = organizations::find_many(connection, &homes.collect())?;
    for ((id, record, owner_status), key) in records.into_iter().zip(keys) {
        let found = key.and_then(|key| {
            let organization = key.ownership.owner_scope.organization().and_then(|id| organizations.get(id)).cloned();
            let principals = build_principals(&key, &owner_status, organization)?;
            Ok(CredentialLookup { record, details: Some((key, principals)) })
        });
        all.insert(id, found);
    }
    Ok(all)
}

fn build_principals(
    key: &ApiKey,
    owner_status: &OwnerRow,
    organization: Option<Organization>,
) -> Result<Principals, StoreError> {
    Ok(Principals {
        user: owner_status.user(&key.ownership.owner_scope)?,
        organization: organization.map(|found| OwnerOrganization {
            id: found.id,
            name: found.name,
            metadata: found.metadata,
        }),
    })
}
