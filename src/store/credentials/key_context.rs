//! The context for the decision on an exchange, read in one query together with the time of the
//! database.

use std::collections::{BTreeMap, BTreeSet};

use diesel::Connection as _;

use crate::{
    domain::{
        access::{
            audience::{Audience, Identifier},
            claim_map::{ClaimSourceObject, ClaimSourceValues},
        },
        common::{derived_id::CredentialId, id::KeyId, time::Timestamp},
        exchange::key_context::{KeyContext, KeyProperties},
    },
    store::{
        access::effective_statements,
        api_keys::{
            key_row::{self, KeyRow, KeyRowInView},
            owner_status::{OwnerRow, ownership},
        },
        columns,
        pool::keyswap_now,
        prelude::*,
        schema::{audiences, credentials, key_owner_status},
        status_lists,
    },
};

/// The context of a credential, and the encrypted value that the presented secret is verified
/// against.
#[derive(Debug, Clone)]
pub struct KeyRecord {
    pub context: KeyContext,
    pub encrypted_secret: Vec<u8>,
    pub master_version: i32,
}

/// The result or the error for each credential that exists.
pub(crate) type ResultsByCredential<T> = BTreeMap<CredentialId, Result<T, StoreError>>;

/// Selects the key to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySelector {
    /// By the credential id in the presented key.
    Credential(CredentialId),
    /// By the keyed digests under which an imported key may be stored.
    ImportedKeyLookups(Vec<String>),
    /// By key id. The newest credential of the key that has not expired is loaded, or the newest
    /// one if all have expired.
    Key(KeyId),
}

/// A key with its credential, the state of its owner, and one of the audiences that match.
#[derive(Queryable, Selectable)]
#[diesel(table_name = credentials)]
struct Row {
    #[diesel(embed)]
    key: KeyRowInView,
    #[diesel(embed)]
    credential: CredentialRow,
    #[diesel(embed)]
    owner: OwnerRow,
    #[diesel(select_expression = key_owner_status::access_statements)]
    access: Option<String>,
    #[diesel(embed)]
    audience: Option<Audience>,
    #[diesel(select_expression = keyswap_now(), select_expression_type = keyswap_now)]
    now: Timestamp,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = credentials)]
struct CredentialRow {
    id: String,
    encrypted_secret: Vec<u8>,
    master_version: i32,
    expires_at: Option<Timestamp>,
    replaced_at: Option<Timestamp>,
    status_list: Option<String>,
    status_index: Option<i32>,
}

/// The query of `Row` for the audiences that match `$on`.
macro_rules! key_query {
    ($on:expr) => {
        credentials::table
            .inner_join(key_owner_status::table.on(key_owner_status::key_id.eq(credentials::key_id)))
            .left_join(audiences::table.on($on))
            .select(Row::as_select())
    };
}

/// Loads a key and the existing audiences among `targets` in one query. Returns `None` only if
/// there is no such credential: expired, suspended and revoked keys are returned, and
/// `grant::decide` rejects them.
pub fn load(
    connection: &mut Conn,
    selector: &KeySelector,
    targets: &BTreeSet<Identifier>,
) -> Result<Option<KeyRecord>, StoreError> {
    Ok(read(connection, selector, targets)?.map(|(record, ..)| record))
}

/// Like `read`, for many credentials: in one query on PostgreSQL, in one transaction on SQLite.
/// Credentials that do not exist are omitted. Invalid data of one key does not affect the others.
pub(crate) fn read_many(
    connection: &mut Conn,
    ids: &[CredentialId],
    targets: &BTreeSet<Identifier>,
) -> Result<ResultsByCredential<RecordWithRows>, StoreError> {
    let names: Vec<_> = targets.iter().map(Identifier::as_str).collect();
    let found: Vec<Row> = match connection {
        // On SQLite there are no round trips to save, and a statement with a list cannot be
        // prepared once. One transaction locks the file once.
        Conn::Sqlite(inner) => inner.transaction::<_, StoreError, _>(|inner| {
            let mut found: Vec<Row> = Vec::with_capacity(ids.len());
            for id in ids {
                let by_id = credentials::id.eq(id.as_str());
                found.extend(match names.as_slice() {
                    [one] => key_query!(audiences::identifier.eq(*one)).filter(by_id).load::<Row>(inner)?,
                    several => {
                        key_query!(audiences::identifier.eq_any(several.to_vec())).filter(by_id).load::<Row>(inner)?
                    }
                });
            }
            Ok(found)
        })?,
        Conn::Postgres(inner) => {
            let ids: Vec<_> = ids.iter().map(CredentialId::as_str).collect();
            key_query!(audiences::identifier.eq_any(names)).filter(credentials::id.eq_any(ids)).load::<Row>(inner)?
        }
    };
    let mut rows_by_credential: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in found {
        rows_by_credential.entry(row.credential.id.clone()).or_default().push(row);
    }
    let mut all = BTreeMap::new();
    for (id, rows) in rows_by_credential {
        if let Some(read) = build_record(rows) {
            all.insert(columns::parsed("credential id", &id)?, read);
        }
    }
    Ok(all)
}

/// Like `load`, with the rows that the record was read from.
pub(crate) fn read(
    connection: &mut Conn,
    selector: &KeySelector,
    targets: &BTreeSet<Identifier>,
) -> Result<Option<RecordWithRows>, StoreError> {
    // Nearly every request has one target. A statement without a list is prepared once, whereas
    // SQLite binds a list only by spelling out its elements.
    macro_rules! load_rows {
        ($on:expr) => {{
            let query = key_query!($on);
            match selector {
                KeySelector::Credential(id) => query.filter(credentials::id.eq(id.as_str())).load_all(connection)?,
                KeySelector::ImportedKeyLookups(lookups) => match lookups.as_slice() {
                    [one] => query.filter(credentials::lookup_digest.eq(one)).load_all(connection)?,
                    several => query.filter(credentials::lookup_digest.eq_any(several)).load_all(connection)?,
                },
                KeySelector::Key(id) => query
                    .filter(credentials::key_id.eq(id.as_str()))
                    .order(credentials::created_at.desc())
                    .load_all(connection)?,
            }
        }};
    }
    let names: Vec<_> = targets.iter().map(Identifier::as_str).collect();
    let found: Vec<Row> = match names.as_slice() {
        [one] => load_rows!(audiences::identifier.eq(*one)),
        several => load_rows!(audiences::identifier.eq_any(several.to_vec())),
    };
    build_record(found).transpose()
}

/// A record, and the rows that it was read from.
pub(crate) type RecordWithRows = (KeyRecord, KeyRow, OwnerRow);

/// Builds the record from the rows of one key. There is one row for each audience of each selected
/// credential.
fn build_record(found: Vec<Row>) -> Option<Result<RecordWithRows, StoreError>> {
    // The newest credential that has not expired is selected. After a rotation is cancelled, the
    // newest credential is an expired one.
    let is_accepted = |row: &Row| row.credential.expires_at.is_none_or(|end| end > row.now);
    let first_accepted = found.iter().position(is_accepted).unwrap_or_default();
    let mut found = found.into_iter().skip(first_accepted);
    let first = found.next()?;
    Some(build_record_from(first, found))
}

fn build_record_from(first: Row, others: impl Iterator<Item = Row>) -> Result<RecordWithRows, StoreError> {
    let Row { key, credential, owner, access, audience, now } = first;
    let key = KeyRow::from(key);
    // These are the rows of the same credential, one for each further audience. Other credentials
    // of the key are ignored.
    let others = others.filter(|row| row.credential.id == credential.id).map(|row| row.audience);
    let audiences: Vec<_> = [audience].into_iter().chain(others).flatten().collect();
    let columns = [(ClaimSourceObject::ApiKeyMetadata, Some(key.metadata.as_str()))];
    let sources = parse_claim_sources(&audiences, columns.into_iter().chain(owner.claim_sources()))?;
    let context = KeyContext {
        now,
        key: KeyProperties {
            id: columns::parsed("key id", &key.id)?,
            credential_id: columns::parsed("credential id", &credential.id)?,
            credential_expires_at: credential.expires_at,
            credential_replaced_at: credential.replaced_at,
            ownership: ownership(&key, &owner)?,
            permissions: columns::permission_set(&key.permissions)?,
            audiences: key_row::audiences(key.audiences.as_deref())?,
            max_token_ttl: columns::span(key.max_token_ttl),
            exchanges_per_minute: key_row::limit(key.exchanges_per_minute),
            lifecycle: key_row::lifecycle(&key),
            created_at: key.created_at,
            access_statements: effective_statements::parse_rules(access.as_deref())?,
            status: status_lists::parse_status_index(credential.status_list.as_deref(), credential.status_index)?,
        },
        audiences,
        sources,
    };
    let CredentialRow { encrypted_secret, master_version, .. } = credential;
    Ok((KeyRecord { context, encrypted_secret, master_version }, key, owner))
}

/// Collects the metadata that the audiences map to claims. A column is parsed only if an audience
/// uses it, so most exchanges parse none.
fn parse_claim_sources<'a>(
    audiences: &[Audience],
    columns: impl IntoIterator<Item = (ClaimSourceObject, Option<&'a str>)>,
) -> Result<ClaimSourceValues, StoreError> {
    let mut sources = ClaimSourceValues::new();
    for (object, column) in columns {
        let is_read = audiences.iter().any(|audience| audience.token_profile.claims.uses_object(object));
        if let Some(text) = column.filter(|_| is_read) {
            sources.insert(object, columns::parsed_metadata(text)?.into_map());
        }
    }
    Ok(sources)
}
