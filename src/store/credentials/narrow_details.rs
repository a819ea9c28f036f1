//! Lookup of the narrow row of a credential with what validation returns of its key, in one query.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::{
    domain::{
        common::{
            derived_id::CredentialId,
            json::Metadata,
            name::{Description, DisplayName},
            time::Timestamp,
        },
        credentials::api_key::{ApiKey, ApiKeyAttributes, Credential},
        events::ActorRef,
        exchange::{
            key_context::KeyContext,
            validation::{OwnerOrganization, OwnerUser, Principals},
        },
    },
    store::{
        api_keys::credentials::CredentialRow,
        credentials::{
            key_details::KeyDetails,
            narrow_lookup::{NarrowCredential, NarrowLookup},
        },
        pool::keyswap_now,
        prelude::*,
        schema::{api_keys, credential_usage, credentials, narrow_lookups},
    },
};

/// What validation returns of a key beside its context.
#[derive(Debug, Clone)]
pub struct NarrowDetails {
    name: DisplayName,
    description: Option<Description>,
    archived_at: Option<Timestamp>,
    created_by: ActorRef,
    /// Credentials that are still accepted, newest first.
    credentials: Vec<Credential>,
    principals: Principals,
}

/// The columns of the key that decide nothing.
#[derive(Queryable, Selectable)]
#[diesel(table_name = api_keys)]
struct KeyColumns {
    name: DisplayName,
    description: Option<Description>,
    deleted_at: Option<Timestamp>,
    created_by: ActorRef,
}

/// The columns of the user and the organization that the product stored.
#[derive(Queryable, Selectable)]
#[diesel(table_name = narrow_lookups)]
struct OwnerColumns {
    user_profile: Option<Metadata>,
    user_metadata: Option<Metadata>,
    organization_name: Option<DisplayName>,
    organization_metadata: Option<Metadata>,
}

/// A narrow row, with its key and one of the credentials of the key.
#[derive(Queryable, Selectable)]
#[diesel(table_name = narrow_lookups)]
struct Row {
    #[diesel(embed)]
    narrow: NarrowCredential,
    #[diesel(embed)]
    key: KeyColumns,
    #[diesel(embed)]
    owner: OwnerColumns,
    #[diesel(embed)]
    credential: CredentialRow,
    #[diesel(
        select_expression = credential_usage::last_used_at.nullable(),
        select_expression_type = diesel::dsl::Nullable<credential_usage::last_used_at>
    )]
    last_used_at: Option<Timestamp>,
    #[diesel(select_expression = keyswap_now(), select_expression_type = keyswap_now)]
    now: Timestamp,
}

macro_rules! details_query {
    () => {
        narrow_lookups::table
            .inner_join(api_keys::table.on(api_keys::id.eq(narrow_lookups::key_id)))
            .inner_join(credentials::table.on(credentials::key_id.eq(narrow_lookups::key_id)))
            .left_join(credential_usage::table.on(credential_usage::credential_number.eq(credentials::number)))
            .select(Row::as_select())
    };
}

/// A narrow row, the time of the database when it was read, and the details of its key.
pub type DetailedNarrowLookup = (NarrowLookup, NarrowDetails);

/// Like `narrow_lookup::find_many`, with the details of the keys.
pub(crate) fn find_many(
    connection: &mut Conn,
    ids: &[CredentialId],
) -> Result<BTreeMap<CredentialId, DetailedNarrowLookup>, StoreError> {
    let numbers: Vec<_> = ids.iter().map(CredentialId::number).collect();
    match connection {
        // As in `narrow_lookup`, one statement for each credential.
        Conn::Sqlite(inner) => {
            let mut found: Vec<Row> = Vec::with_capacity(ids.len());
            for number in numbers {
                found.extend(details_query!().filter(narrow_lookups::number.eq(number)).load::<Row>(inner)?);
            }
            let mut all = group(found);
            // SQLite compares ids by their bytes, and sorts one row slower than it is read.
            for (_, details) in all.values_mut() {
                details.credentials.sort_by_key(|credential| (Reverse(credential.created_at), credential.id));
            }
            Ok(all)
        }
        Conn::Postgres(inner) => {
            let query = details_query!().filter(narrow_lookups::number.eq_any(numbers));
            Ok(group(query.order((credentials::created_at.desc(), credentials::id.asc())).load::<Row>(inner)?))
        }
    }
}

/// Combines the rows of each narrow row. There is one for each credential of the key.
fn group(rows: Vec<Row>) -> BTreeMap<CredentialId, DetailedNarrowLookup> {
    let mut all: BTreeMap<CredentialId, DetailedNarrowLookup> = BTreeMap::new();
    for Row { narrow, key, owner, credential, last_used_at, now } in rows {
        if !narrow.is_sufficient() {
            continue;
        }
        let (_, details) = all.entry(narrow.id).or_insert_with(|| {
            let details = NarrowDetails::new(key, owner, &narrow);
            ((narrow, now), details)
        });
        let credential = credential.with_last_use(last_used_at);
        if credential.expires_at.is_none_or(|end| end > now) {
            details.credentials.push(credential);
        }
    }
    all
}

impl NarrowDetails {
    fn new(key: KeyColumns, owner: OwnerColumns, row: &NarrowCredential) -> Self {
        let user = row.owner_scope.user().zip(row.user()).map(|(id, user)| OwnerUser {
            id: id.clone(),
            blocked: user.blocked,
            profile: owner.user_profile.unwrap_or_default(),
            metadata: owner.user_metadata.unwrap_or_default(),
        });
        let existing = row.owner_scope.organization().filter(|_| row.organization.is_some());
        let organization = existing.map(|id| OwnerOrganization {
            id: id.clone(),
            name: owner.organization_name,
            metadata: owner.organization_metadata.unwrap_or_default(),
        });
        Self {
            name: key.name,
            description: key.description,
            archived_at: key.deleted_at,
            created_by: key.created_by,
            credentials: Vec::new(),
            principals: Principals { user, organization },
        }
    }

    /// Returns the complete key with the context of its narrow row: the same that a lookup in all
    /// tables gives. Keys with metadata have no narrow row.
    pub fn into_key_details(self, context: &KeyContext) -> KeyDetails {
        let key = &context.key;
        let api_key = ApiKey {
            id: key.id.clone(),
            attributes: ApiKeyAttributes {
                name: self.name,
                description: self.description,
                permissions: key.permissions.clone(),
                audiences: key.audiences.clone(),
                metadata: Metadata::default(),
                max_token_ttl: key.max_token_ttl,
                exchanges_per_minute: key.exchanges_per_minute,
                record_bound: key.record_bound,
                expires_at: key.lifecycle.expires_at,
            },
            ownership: key.ownership.clone(),
            suspended_at: key.lifecycle.suspended_at,
            revoked_at: key.lifecycle.revoked_at,
            archived_at: self.archived_at,
            credentials: self.credentials,
            created_at: key.created_at,
            created_by: self.created_by,
            version: key.version,
        };
        (api_key, self.principals)
    }
}
