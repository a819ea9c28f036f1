//! The row of an API key, as the table and the view of owner statuses give it.

use crate::{
    domain::{
        access::{audience::Identifier, permission::PermissionSet},
        common::{
            json::Metadata,
            name::{Description, DisplayName},
            time::{Span, Timestamp},
        },
        credentials::api_key::{ApiKeyAttributes, KeyLifecycle},
    },
    store::{
        column_types::Json,
        columns::{parsed, parsed_metadata, permission_set, span},
        error::StoreError,
        schema::{api_keys, key_owner_status},
    },
};
use diesel::{AsChangeset, Insertable, Queryable, Selectable};

/// Declares `KeyRow`, and the same row as read from the view, with the columns that have another
/// name there. Exchanges read the view only.
macro_rules! key_rows {
    ($($(#[$in_view:meta])? $field:ident: $type:ty,)*) => {
        #[derive(Queryable, Selectable)]
        #[diesel(table_name = api_keys)]
        pub(crate) struct KeyRow {
            $(pub $field: $type,)*
        }

        #[derive(Queryable, Selectable)]
        #[diesel(table_name = key_owner_status)]
        pub(crate) struct KeyRowInView {
            $($(#[$in_view])? $field: $type,)*
        }

        impl From<KeyRowInView> for KeyRow {
            fn from(row: KeyRowInView) -> Self {
                Self { $($field: row.$field,)* }
            }
        }
    };
}

key_rows! {
    #[diesel(column_name = key_id)]
    id: String,
    name: String,
    description: Option<String>,
    owner_type: String,
    owner_id: Option<String>,
    organization_id: Option<String>,
    permissions: String,
    audiences: Option<String>,
    metadata: String,
    max_token_ttl: Option<i64>,
    suspended_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    deleted_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    created_at: Timestamp,
    created_by: String,
    version: i64,
    user_id: Option<String>,
    generation_id: Option<String>,
    creator_id: Option<String>,
    creator_generation_id: Option<String>,
    exchanges_per_minute: Option<i32>,
}

/// The columns of the attributes, for an insert or an update.
#[derive(Insertable, AsChangeset)]
#[diesel(table_name = api_keys, treat_none_as_null = true)]
pub(crate) struct AttributeColumns<'a> {
    name: &'a DisplayName,
    description: Option<&'a Description>,
    permissions: &'a PermissionSet,
    audiences: Option<Json<Vec<Identifier>>>,
    metadata: &'a Metadata,
    max_token_ttl: Option<Span>,
    exchanges_per_minute: Option<i32>,
    expires_at: Option<Timestamp>,
}

impl<'a> From<&'a ApiKeyAttributes> for AttributeColumns<'a> {
    fn from(attributes: &'a ApiKeyAttributes) -> Self {
        Self {
            name: &attributes.name,
            description: attributes.description.as_ref(),
            permissions: &attributes.permissions,
            audiences: attributes.audiences.clone().map(Json),
            metadata: &attributes.metadata,
            max_token_ttl: attributes.max_token_ttl,
            exchanges_per_minute: attributes.exchanges_per_minute.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX)),
            expires_at: attributes.expires_at,
        }
    }
}

pub(crate) fn attributes(row: &KeyRow) -> Result<ApiKeyAttributes, StoreError> {
    Ok(ApiKeyAttributes {
        name: parsed("key name", &row.name)?,
        description: row.description.as_deref().map(|text| parsed("key description", text)).transpose()?,
        permissions: permission_set(&row.permissions)?,
        audiences: audiences(row.audiences.as_deref())?,
        metadata: parsed_metadata(&row.metadata)?,
        max_token_ttl: span(row.max_token_ttl),
        exchanges_per_minute: limit(row.exchanges_per_minute),
        expires_at: row.expires_at,
    })
}

pub(crate) fn lifecycle(row: &KeyRow) -> KeyLifecycle {
    KeyLifecycle { suspended_at: row.suspended_at, revoked_at: row.revoked_at, expires_at: row.expires_at }
}

pub(crate) fn limit(column: Option<i32>) -> Option<u32> {
    column.and_then(|limit| u32::try_from(limit).ok())
}

pub(crate) fn audiences(column: Option<&str>) -> Result<Option<Vec<Identifier>>, StoreError> {
    column
        .map(serde_json::from_str)
        .transpose()
        .map_err(|error| StoreError::invalid_data(format!("audiences: {error}")))
}
