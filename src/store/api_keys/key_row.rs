//! The row of an API key, as the table and the view of owner statuses give it.

use crate::{
    domain::{
        access::{
            audience::Identifier,
            owner::{Owner, OwnerScope},
            permission::PermissionSet,
        },
        common::{
            id::{GenerationId, KeyId, UserId},
            json::Metadata,
            name::{Description, DisplayName},
            time::{Span, Timestamp},
        },
        credentials::api_key::{ApiKeyAttributes, KeyLifecycle},
    },
    store::{
        column_types::{Count, Flag, Json},
        prelude::*,
        schema::{api_keys, key_owner_status},
    },
};

/// Declares `KeyRow`, and the same row as read from the view, in which the id has another name.
/// Exchanges read the view only.
macro_rules! key_rows {
    ($($field:ident $(= $columns:tt)?: $type:ty,)*) => {
        #[derive(Clone)]
        pub(crate) struct KeyRow {
            pub id: KeyId,
            $(pub $field: $type,)*
        }

        selectable!(every_backend: api_keys => KeyRow { id, $($field $(= $columns)?),* });

        pub(crate) struct KeyRowInView {
            id: KeyId,
            $($field: $type,)*
        }

        selectable!(every_backend: key_owner_status => KeyRowInView { id = key_id, $($field $(= $columns)?),* });

        impl From<KeyRowInView> for KeyRow {
            fn from(row: KeyRowInView) -> Self {
                Self { id: row.id, $($field: row.$field,)* }
            }
        }
    };
}

// Exchanges need neither the names, the metadata nor the creator, so these are not parsed.
key_rows! {
    name: String,
    owner = (owner_type, owner_id): Owner,
    owner_scope = (user_id, organization_id, generation_id): OwnerScope,
    creator_id: Option<UserId>,
    creator_generation_id: Option<GenerationId>,
    description: Option<String>,
    permissions: PermissionSet,
    audiences: Option<Json<Vec<Identifier>>>,
    metadata: String,
    max_token_ttl: Option<Span>,
    exchanges_per_minute: Option<Count>,
    record_bound: Flag,
    expires_at: Option<Timestamp>,
    suspended_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    archived_at = deleted_at: Option<Timestamp>,
    created_at: Timestamp,
    created_by: String,
    version: i64,
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
    exchanges_per_minute: Option<Count>,
    record_bound: Flag,
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
            exchanges_per_minute: attributes.exchanges_per_minute.map(Count),
            record_bound: Flag(attributes.record_bound),
            expires_at: attributes.expires_at,
        }
    }
}

impl KeyRow {
    pub(crate) const fn lifecycle(&self) -> KeyLifecycle {
        KeyLifecycle { suspended_at: self.suspended_at, revoked_at: self.revoked_at, expires_at: self.expires_at }
    }
}
