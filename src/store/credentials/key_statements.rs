//! The access records and statements that apply to a key.

use crate::{
    domain::{
        access::{access_record::EffectiveStatement, owner::Owner},
        common::id::{GenerationId, KeyId, OrganizationId},
    },
    store::{
        access::{
            access_records,
            effective_statements::{GrantedBy, find_statements_of_principals},
            stored_access_record::StoredAccessRecord,
        },
        api_keys::{
            key_row::{KeyRow, KeyRowInView},
            owner_status::OwnerRow,
        },
        prelude::*,
        schema::key_owner_status,
    },
};

/// Returns the statements that apply to a key. Returns `StoreError::Altered` if one of their
/// records was altered outside of Keyswap.
pub fn find_statements_of_key(tx: &mut Tx<'_>, key: &KeyId) -> Result<Vec<EffectiveStatement>, StoreError> {
    let found: Option<(KeyRowInView, OwnerRow)> =
        key_owner_status::table.find(key).select((KeyRowInView::as_select(), OwnerRow::as_select())).load_first(tx)?;
    let Some((key, owner)) = found else { return Ok(Vec::new()) };
    let key = KeyRow::from(key);
    let Some((ids, organization)) = principals(&key, &owner) else { return Ok(Vec::new()) };
    find_statements_of_principals(tx, &ids, organization, &GrantedBy::Anyone)
}

/// Returns the records that apply to a key, whether Keyswap has written them or not.
pub(crate) fn find_records_of_key(
    connection: &mut Conn,
    key: &KeyRow,
    owner: &OwnerRow,
) -> Result<Vec<StoredAccessRecord>, StoreError> {
    match principals(key, owner) {
        Some((ids, organization)) => access_records::find_of_principals(connection, &ids, organization),
        None => Ok(Vec::new()),
    }
}

/// Principals and their organization, by which access records are found.
type Principals<'a> = (Vec<&'a str>, Option<(&'a OrganizationId, &'a GenerationId)>);

/// Returns the principals whose access records apply to a key: itself, and the service client or
/// the user that owns it. Returns `None` if its organization was deleted.
fn principals<'a>(key: &'a KeyRow, owner: &'a OwnerRow) -> Option<Principals<'a>> {
    let owning = match &key.owner {
        Owner::ServiceClient(id) => Some(id.as_str()),
        Owner::User(_) => key.owner_scope.generation_id().map(GenerationId::as_str),
        Owner::Organization(_) | Owner::Unowned => None,
    };
    let organization = match key.owner_scope.organization() {
        None => None,
        Some(id) => Some((id, owner.organization_generation_id()?)),
    };
    Some((std::iter::once(key.id.as_str()).chain(owning).collect(), organization))
}
