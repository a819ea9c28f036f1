//! The row of an API key, as the table and the view of owner statuses give it.

use crate::{
    domain::{common::time::Timestamp, credentials::api_key::KeyLifecycle},
    store::{
        error::StoreError,
        schema::{api_keys, key_owner_status},
    },
};
use diesel::{Queryable, Selectable};

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

pub(crate) fn life(row: &KeyRow) -> KeyLifecycle {
    KeyLifecycle { suspended_at: row.suspended_at, revoked_at: row.revoked_at, expires_at: row.expires_at }
}

pub(crate) fn limit(column: Option<i32>) -> Option<u32> {
    column.and_then(|limit| u32::try_from(limit).ok())
}

pub(crate) fn audiences(
    column: Option<&str>,
) -> Result<Option<Vec<crate::domain::access::audience::Identifier>>, StoreError> {
    column
        .map(serde_json::from_str)
        .transpose()
        .map_err(|error| StoreError::invalid_data(format!("audiences: {error}")))
}
