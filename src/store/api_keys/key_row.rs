//! The row of an API key, as the table and the view of owner statuses give it.

use crate::{
    domain::{common::time::Timestamp, credentials::api_key::KeyLifecycle},
    store::{error::StoreError, schema::api_keys},
};
use diesel::{Queryable, Selectable};

#[derive(Queryable, Selectable)]
#[diesel(table_name = api_keys)]
pub(crate) struct KeyRow {
    pub id: String,
    pub name: String,
    pub owner_type: String,
    pub owner_id: Option<String>,
    pub organization_id: Option<String>,
    pub permissions: String,
    pub audiences: Option<String>,
    pub metadata: String,
    pub max_token_ttl: Option<i64>,
    pub suspended_at: Option<i64>,
    pub revoked_at: Option<i64>,
    pub deleted_at: Option<i64>,
    pub expires_at: Option<i64>,
    pub created_at: i64,
    pub created_by: String,
    pub version: i64,
    pub user_id: Option<String>,
    pub incarnation: Option<String>,
    pub creator_id: Option<String>,
    pub creator_incarnation: Option<String>,
    pub exchanges_per_minute: Option<i32>,
}

pub(crate) fn life(row: &KeyRow) -> KeyLifecycle {
    KeyLifecycle {
        suspended_at: row.suspended_at.map(Timestamp::from_millis),
        revoked_at: row.revoked_at.map(Timestamp::from_millis),
        expires_at: row.expires_at.map(Timestamp::from_millis),
    }
}

pub(crate) fn limit(column: Option<i32>) -> Option<u32> {
    column.and_then(|limit| u32::try_from(limit).ok())
}

pub(crate) fn audiences(
    column: Option<&str>,
) -> Result<Option<Vec<crate::domain::access::audience::Identifier>>, StoreError> {
    column.map(serde_json::from_str).transpose().map_err(|error| StoreError::InvalidData(format!("audiences: {error}")))
}
