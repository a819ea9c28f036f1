//! Signing keys: their states and their encrypted private keys.

use diesel::{ExpressionMethods, QueryDsl, Queryable, RunQueryDsl, Selectable, SelectableHelper};

use crate::{
    domain::{
        common::{
            derived_id::SigningKeyId,
            time::{Span, Timestamp},
        },
        signing::{SigningKeyMetadata, SigningKeyState},
    },
    store::{columns::parsed, error::StoreError, pool::Conn, schema::signing_keys, transaction::Tx},
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = signing_keys)]
struct Row {
    kid: String,
    algorithm: String,
    state: String,
    public_jwk: String,
    encrypted_private_key: Option<Vec<u8>>,
    master_version: Option<i32>,
    published_at: i64,
    activated_at: Option<i64>,
    retired_at: Option<i64>,
    removed_at: Option<i64>,
    longest_ttl: i64,
    version: i64,
    seen_at: Option<i64>,
    destroyed_at: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSigningKey {
    pub info: SigningKeyMetadata,
    pub public_jwk: String,
    /// The encrypted private key, and the version of the master key that encrypts it. `None` once
    /// the private key is destroyed.
    pub encrypted_private_key: Option<(Vec<u8>, i32)>,
}

/// Returns `Conflict` if the key exists, or if its state is `Next` or `Active` and another key of
/// its algorithm is in that state.
pub fn insert(tx: &mut Tx<'_>, key: &StoredSigningKey) -> Result<(), StoreError> {
    diesel::insert_into(signing_keys::table)
        .values((
            signing_keys::kid.eq(key.info.kid.as_str()),
            signing_keys::algorithm.eq(key.info.algorithm.as_str()),
            signing_keys::state.eq(key.info.state.as_str()),
            signing_keys::public_jwk.eq(key.public_jwk.as_str()),
            signing_keys::encrypted_private_key.eq(key.encrypted_private_key.as_ref().map(|(bytes, _)| bytes.clone())),
            signing_keys::master_version.eq(key.encrypted_private_key.as_ref().map(|(_, version)| *version)),
            signing_keys::published_at.eq(key.info.published_at.millis()),
            signing_keys::seen_at.eq(key.info.seen_at.map(Timestamp::millis)),
            signing_keys::activated_at.eq(key.info.activated_at.map(Timestamp::millis)),
            signing_keys::longest_ttl.eq(key.info.longest_ttl.millis()),
            signing_keys::version.eq(key.info.version),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// Moves a key to the state `to`. Returns `false` if it was modified since it was read, and
/// `Conflict` if `to` is `Active` and another key of its algorithm is active.
pub fn transition_state(
    tx: &mut Tx<'_>,
    key: &SigningKeyMetadata,
    to: SigningKeyState,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let at = Some(at.millis());
    let row = signing_keys::table
        .filter(signing_keys::kid.eq(key.kid.as_str()))
        .filter(signing_keys::version.eq(key.version));
    let state = (signing_keys::state.eq(to.as_str()), signing_keys::version.eq(key.version + 1));
    let changed = match to {
        SigningKeyState::Next => 0,
        SigningKeyState::Active => {
            diesel::update(row).set((state, signing_keys::activated_at.eq(at))).execute(&mut **tx)?
        }
        SigningKeyState::Retiring => {
            diesel::update(row).set((state, signing_keys::retired_at.eq(at))).execute(&mut **tx)?
        }
        SigningKeyState::Removed | SigningKeyState::Revoked => {
            let destroyed = key.destroyed_at.map(Timestamp::millis).or(at);
            diesel::update(row)
                .set((
                    state,
                    signing_keys::removed_at.eq(at),
                    signing_keys::destroyed_at.eq(destroyed),
                    clear_private_key(),
                ))
                .execute(&mut **tx)?
        }
    };
    Ok(changed == 1)
}

/// Records `at` as the time at which the publication of keys was first observed. The caller must
/// not be the transaction that published them, which may wait for its commit.
pub fn record_first_observation(tx: &mut Tx<'_>, at: Timestamp) -> Result<(), StoreError> {
    let unseen = signing_keys::table.filter(signing_keys::seen_at.is_null());
    diesel::update(unseen).set(signing_keys::seen_at.eq(Some(at.millis()))).execute(&mut **tx)?;
    Ok(())
}

/// Destroys the private key of a retiring key, so that later backups do not contain it. Returns
/// `false` if the key is not retiring or its private key is already destroyed.
pub fn destroy_private_key(tx: &mut Tx<'_>, key: &SigningKeyMetadata, at: Timestamp) -> Result<bool, StoreError> {
    let row = signing_keys::table
        .filter(signing_keys::kid.eq(key.kid.as_str()))
        .filter(signing_keys::state.eq(SigningKeyState::Retiring.as_str()))
        .filter(signing_keys::destroyed_at.is_null());
    let destroyed = (signing_keys::destroyed_at.eq(Some(at.millis())), clear_private_key());
    Ok(diesel::update(row).set(destroyed).execute(&mut **tx)? == 1)
}

type ClearPrivateKey = (
    diesel::dsl::Eq<signing_keys::encrypted_private_key, Option<Vec<u8>>>,
    diesel::dsl::Eq<signing_keys::master_version, Option<i32>>,
);

fn clear_private_key() -> ClearPrivateKey {
    (signing_keys::encrypted_private_key.eq(None), signing_keys::master_version.eq(None))
}

/// Raises the longest token lifetime that is recorded for each active key to `max_ttl`. It is never
/// lowered.
pub fn raise_max_token_ttl(tx: &mut Tx<'_>, max_ttl: Span) -> Result<(), StoreError> {
    let keys = signing_keys::table
        .filter(signing_keys::state.eq(SigningKeyState::Active.as_str()))
        .filter(signing_keys::longest_ttl.lt(max_ttl.millis()));
    diesel::update(keys).set(signing_keys::longest_ttl.eq(max_ttl.millis())).execute(&mut **tx)?;
    Ok(())
}

/// Returns the published keys, or all keys that were ever published, in the order of publication.
pub fn list(connection: &mut Conn, published_only: bool) -> Result<Vec<StoredSigningKey>, StoreError> {
    let rows: Vec<Row> = signing_keys::table
        .order((signing_keys::published_at.asc(), signing_keys::kid.asc()))
        .select(Row::as_select())
        .load(connection)?;
    let keys = rows.into_iter().map(stored).collect::<Result<Vec<_>, _>>()?;
    Ok(keys.into_iter().filter(|key| !published_only || key.info.state.is_published()).collect())
}

fn stored(row: Row) -> Result<StoredSigningKey, StoreError> {
    let kid: SigningKeyId = parsed("kid", &row.kid)?;
    Ok(StoredSigningKey {
        info: SigningKeyMetadata {
            kid,
            algorithm: parsed("algorithm", &row.algorithm)?,
            state: parsed("state", &row.state)?,
            published_at: Timestamp::from_millis(row.published_at),
            activated_at: row.activated_at.map(Timestamp::from_millis),
            seen_at: row.seen_at.map(Timestamp::from_millis),
            destroyed_at: row.destroyed_at.map(Timestamp::from_millis),
            retired_at: row.retired_at.map(Timestamp::from_millis),
            removed_at: row.removed_at.map(Timestamp::from_millis),
            longest_ttl: Span::from_millis(row.longest_ttl.max(0).unsigned_abs()),
            version: row.version,
        },
        public_jwk: row.public_jwk,
        encrypted_private_key: row.encrypted_private_key.zip(row.master_version),
    })
}
