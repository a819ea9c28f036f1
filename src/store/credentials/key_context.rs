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
        common::{
            derived_id::CredentialId,
            encryption::Encrypted,
            id::{KeyId, StatusListId},
            time::Timestamp,
        },
        exchange::key_context::{KeyContext, KeyProperties},
        status_lists::StatusListIndex,
    },
    store::{
        access::{audiences::AuthenticatedAudience, stored_access_record::StoredAccessRecord},
        api_keys::{
            key_row::{KeyRow, KeyRowInView},
            owner_status::{OwnerRow, ownership},
        },
        column_types::{Count, Flag, Json},
        columns::parsed_metadata,
        credentials::key_statements,
        pool::keyswap_now,
        prelude::*,
        schema::{audiences, credentials, key_owner_status},
    },
};

/// The context of a credential, and the encrypted value that the presented secret is verified
/// against.
#[derive(Debug, Clone)]
pub struct KeyRecord {
    pub context: KeyContext,
    /// The tags of the audiences, in their order.
    pub audience_tags: Vec<Encrypted>,
    /// The access records of the key. The context has the statements of those that are authentic
    /// once these are verified.
    pub access_records: Vec<StoredAccessRecord>,
    pub encrypted_secret: Vec<u8>,
    pub master_version: i32,
}

/// The level of detail of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LookupDetail {
    /// The context of a decision.
    Context,
    /// The context, and the data that validation returns.
    Full,
}

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
    #[diesel(select_expression = key_owner_status::has_access_records)]
    has_access_records: Flag,
    #[diesel(embed)]
    audience: Option<AuthenticatedAudience>,
    #[diesel(select_expression = keyswap_now(), select_expression_type = keyswap_now)]
    now: Timestamp,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = credentials)]
struct CredentialRow {
    id: CredentialId,
    encrypted_secret: Vec<u8>,
    master_version: i32,
    expires_at: Option<Timestamp>,
    replaced_at: Option<Timestamp>,
    status_list: Option<StatusListId>,
    status_index: Option<Count>,
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
    Ok(read(connection, selector, targets, LookupDetail::Context)?.map(|(record, _)| record))
}

/// Like `read`, for many credentials: in one query on PostgreSQL, in one transaction on SQLite, and
/// one query more for each key with access records.
/// Credentials that do not exist are omitted.
pub(crate) fn read_many(
    connection: &mut Conn,
    ids: &[CredentialId],
    targets: &BTreeSet<Identifier>,
    detail: LookupDetail,
) -> Result<BTreeMap<CredentialId, RecordWithRows>, StoreError> {
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
    let mut rows_by_credential: BTreeMap<CredentialId, Vec<Row>> = BTreeMap::new();
    for row in found {
        rows_by_credential.entry(row.credential.id).or_default().push(row);
    }
    let mut all = BTreeMap::new();
    for (id, rows) in rows_by_credential {
        all.extend(build_record(connection, rows, detail)?.map(|record| (id, record)));
    }
    Ok(all)
}

/// Like `load`, with the rows that the record was read from if `detail` requires them.
pub(crate) fn read(
    connection: &mut Conn,
    selector: &KeySelector,
    targets: &BTreeSet<Identifier>,
    detail: LookupDetail,
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
    build_record(connection, found, detail)
}

/// A record, and the rows that it was read from, for `LookupDetail::Full`.
pub(crate) type RecordWithRows = (KeyRecord, Option<(KeyRow, OwnerRow)>);

/// Builds the record from the rows of one key. There is one row for each audience of each selected
/// credential.
fn build_record(
    connection: &mut Conn,
    found: Vec<Row>,
    detail: LookupDetail,
) -> Result<Option<RecordWithRows>, StoreError> {
    // The newest credential that has not expired is selected. After a rotation is cancelled, the
    // newest credential is an expired one.
    let is_accepted = |row: &Row| row.credential.expires_at.is_none_or(|end| end > row.now);
    let first_accepted = found.iter().position(is_accepted).unwrap_or_default();
    let mut found = found.into_iter().skip(first_accepted);
    let Some(Row { key, credential, owner, has_access_records, audience, now }) = found.next() else {
        return Ok(None);
    };
    let key = KeyRow::from(key);
    // These are the rows of the same credential, one for each further audience. Other credentials
    // of the key are ignored.
    let others = found.filter(|row| row.credential.id == credential.id).map(|row| row.audience);
    let audiences = [audience].into_iter().chain(others).flatten();
    let (audiences, audience_tags): (Vec<_>, Vec<_>) =
        audiences.map(|AuthenticatedAudience { audience, tag }| (audience, tag)).unzip();
    let columns = [(ClaimSourceObject::ApiKeyMetadata, Some(key.metadata.as_str()))];
    let sources = parse_claim_sources(&audiences, columns.into_iter().chain(owner.claim_sources()))?;
    let access_records = match has_access_records {
        Flag(true) => key_statements::find_records_of_key(connection, &key, &owner)?,
        Flag(false) => Vec::new(),
    };
    let rows = (detail == LookupDetail::Full).then(|| (key.clone(), owner.clone()));
    let status = credential.status_list.zip(credential.status_index);
    let lifecycle = key.lifecycle();
    let key = KeyProperties {
        id: key.id,
        credential_id: credential.id,
        credential_expires_at: credential.expires_at,
        credential_replaced_at: credential.replaced_at,
        ownership: ownership(key.owner, key.owner_scope, key.creator_id.zip(key.creator_generation_id), owner),
        permissions: key.permissions,
        audiences: key.audiences.map(|Json(audiences)| audiences),
        max_token_ttl: key.max_token_ttl,
        exchanges_per_minute: key.exchanges_per_minute.map(u32::from),
        record_bound: key.record_bound.into(),
        lifecycle,
        created_at: key.created_at,
        version: key.version,
        access_statements: Vec::new(),
        metadata: key.metadata,
        status: status.map(|(list, Count(index))| StatusListIndex { list, index }),
    };
    let CredentialRow { encrypted_secret, master_version, .. } = credential;
    let context = KeyContext { now, key, audiences, sources };
    Ok(Some((KeyRecord { context, audience_tags, access_records, encrypted_secret, master_version }, rows)))
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
            sources.insert(object, parsed_metadata(text)?.into_map());
        }
    }
    Ok(sources)
}
