//! The statements of access records that apply to a principal.

use crate::{
    domain::{
        access::{access_record::Rule, resource::ResourcePattern},
        common::id::{Incarnation, OrganizationId},
    },
    store::{
        access::roles::{permissions_of, role_set},
        columns::{parsed, permission_set},
        error::StoreError,
        pool::Conn,
        schema::{access_record_principals, access_record_statements, access_records},
    },
};
use diesel::prelude::*;
use serde::Deserialize;

/// Returns the rules of the records that name this principal, either within the given generation of
/// an organization or outside any organization.
pub fn rules_of(
    connection: &mut Conn,
    mark: &str,
    organization: Option<(&OrganizationId, &Incarnation)>,
) -> Result<Vec<Rule>, StoreError> {
    let of_principal = access_record_principals::table
        .filter(access_record_principals::mark.eq(mark.to_owned()))
        .select(access_record_principals::record_id);
    let mut query = access_records::table
        .inner_join(access_record_statements::table.on(access_record_statements::record_id.eq(access_records::id)))
        .filter(access_records::id.eq_any(of_principal))
        .select((access_record_statements::roles, access_record_statements::resources))
        .into_boxed();
    query = match organization {
        Some((id, incarnation)) => query
            .filter(access_records::organization_id.eq(id.to_string()))
            .filter(access_records::incarnation.eq(incarnation.to_string())),
        None => query.filter(access_records::organization_id.is_null()),
    };
    let rows: Vec<(String, String)> = query.load(connection)?;
    rows.into_iter()
        .map(|(roles, resources)| {
            let permissions = permissions_of(connection, &role_set(&roles)?)?;
            Ok(Rule { permissions, resources: patterns(&resources)? })
        })
        .collect()
}

/// A statement, as the view `key_standings` returns it.
#[derive(Deserialize)]
pub(crate) struct Given {
    permissions: String,
    resources: String,
}

/// Parses the `access` column of the view. The column is null for keys without access records,
/// which are most keys.
pub(crate) fn rules(column: Option<&str>) -> Result<Vec<Rule>, StoreError> {
    let Some(text) = column else { return Ok(Vec::new()) };
    let given: Vec<Given> =
        serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("access: {error}")))?;
    given
        .into_iter()
        .map(|given| {
            Ok(Rule { permissions: permission_set(&given.permissions)?, resources: patterns(&given.resources)? })
        })
        .collect()
}

pub(crate) fn patterns(column: &str) -> Result<Vec<ResourcePattern>, StoreError> {
    column.split(' ').map(|text| parsed("resource", text)).collect()
}
