//! The statements of access records that apply to a principal.

use crate::{
    domain::{
        access::{
            access_record::{EffectiveStatement, Statement},
            resource::ResourcePattern,
        },
        common::id::{GenerationId, OrganizationId},
    },
    store::{
        access::roles::read_permissions_of_roles,
        columns::{parsed, permission_set},
        error::StoreError,
        pool::Conn,
        schema::{access_record_principals, access_record_statements_with_roles, access_records},
    },
};
use diesel::prelude::*;
use serde::Deserialize;

/// Returns the rules of the records that name this principal, either within the given generation of
/// an organization or outside any organization.
pub fn find_rules_of_principal(
    connection: &mut Conn,
    unique_id: &str,
    organization: Option<(&OrganizationId, &GenerationId)>,
) -> Result<Vec<EffectiveStatement>, StoreError> {
    let of_principal = access_record_principals::table
        .filter(access_record_principals::unique_id.eq(unique_id.to_owned()))
        .select(access_record_principals::record_id);
    let mut query = access_records::table
        .inner_join(
            access_record_statements_with_roles::table
                .on(access_record_statements_with_roles::record_id.eq(access_records::id)),
        )
        .filter(access_records::id.eq_any(of_principal))
        .select(Statement::as_select())
        .into_boxed();
    query = match organization {
        Some((id, generation_id)) => {
            query.filter(access_records::organization_id.eq(id)).filter(access_records::generation_id.eq(generation_id))
        }
        None => query.filter(access_records::organization_id.is_null()),
    };
    let rows: Vec<Statement> = query.load(connection)?;
    rows.into_iter()
        .map(|Statement { roles, resources }| {
            Ok(EffectiveStatement { permissions: read_permissions_of_roles(connection, &roles)?, resources })
        })
        .collect()
}

/// A statement, as the view `key_owner_status` returns it.
#[derive(Deserialize)]
pub(crate) struct ViewStatement {
    permissions: String,
    resources: String,
}

/// Parses the `access` column of the view. The column is null for keys without access records,
/// which are most keys.
pub(crate) fn parse_rules(column: Option<&str>) -> Result<Vec<EffectiveStatement>, StoreError> {
    let Some(text) = column else { return Ok(Vec::new()) };
    let given: Vec<ViewStatement> =
        serde_json::from_str(text).map_err(|error| StoreError::invalid_data(format!("access: {error}")))?;
    given
        .into_iter()
        .map(|given| {
            Ok(EffectiveStatement {
                permissions: permission_set(&given.permissions)?,
                resources: parse_resource_patterns(&given.resources)?,
            })
        })
        .collect()
}

fn parse_resource_patterns(column: &str) -> Result<Vec<ResourcePattern>, StoreError> {
    column.split(' ').map(|text| parsed("resource", text)).collect()
}
