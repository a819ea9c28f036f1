//! The versions, fingerprints and states of the master keys that encrypt this database.

use diesel::{ExpressionMethods, QueryDsl, Queryable, RunQueryDsl, Selectable, SelectableHelper};

use crate::{
    domain::{
        common::time::Timestamp,
        signing::master_key::{MasterKeyInfo, MasterKeyState},
    },
    store::{columns::parsed, error::StoreError, pool::Conn, schema::master_keys, transaction::Tx},
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = master_keys)]
struct Row {
    version: i32,
    fingerprint: String,
    created_at: i64,
    state: String,
    activated_at: Option<i64>,
    retired_at: Option<i64>,
}

/// Returns `Conflict` if the version exists, or if `state` is `Incoming` or `Current` and another
/// key is in that state.
pub fn insert(tx: &mut Tx<'_>, version: i32, fingerprint: &str, state: MasterKeyState) -> Result<(), StoreError> {
    let now = tx.now().millis();
    diesel::insert_into(master_keys::table)
        .values((
            master_keys::version.eq(version),
            master_keys::fingerprint.eq(fingerprint),
            master_keys::created_at.eq(now),
            master_keys::state.eq(state.as_str()),
            master_keys::activated_at.eq((state == MasterKeyState::Current).then_some(now)),
            master_keys::retired_at.eq((state == MasterKeyState::Retired).then_some(now)),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// Returns all keys, oldest version first. The list is empty for a new database.
pub fn list(connection: &mut Conn) -> Result<Vec<MasterKeyInfo>, StoreError> {
    let rows: Vec<Row> = master_keys::table.order(master_keys::version).select(Row::as_select()).load(connection)?;
    rows.into_iter()
        .map(|row| {
            Ok(MasterKeyInfo {
                version: row.version,
                fingerprint: row.fingerprint,
                state: parsed("master key state", &row.state)?,
                created_at: Timestamp::from_millis(row.created_at),
                activated_at: row.activated_at.map(Timestamp::from_millis),
                retired_at: row.retired_at.map(Timestamp::from_millis),
            })
        })
        .collect()
}

/// Moves a key from state `from` to state `to`. Returns `false` if it is no longer in state `from`,
/// and `Conflict` if `to` is `Current` and another key is current.
pub fn transition_state(
    tx: &mut Tx<'_>,
    version: i32,
    from: MasterKeyState,
    to: MasterKeyState,
) -> Result<bool, StoreError> {
    let now = Some(tx.now().millis());
    let row = master_keys::table.find(version).filter(master_keys::state.eq(from.as_str()));
    let state = master_keys::state.eq(to.as_str());
    let changed = match to {
        MasterKeyState::Incoming => 0,
        MasterKeyState::Current => {
            diesel::update(row).set((state, master_keys::activated_at.eq(now))).execute(&mut **tx)?
        }
        MasterKeyState::Retiring => diesel::update(row).set(state).execute(&mut **tx)?,
        MasterKeyState::Retired => {
            diesel::update(row).set((state, master_keys::retired_at.eq(now))).execute(&mut **tx)?
        }
    };
    Ok(changed == 1)
}

/// Deletes a key. A foreign key constraint rejects this while a row is encrypted with the key, even
/// if that row is written concurrently.
pub fn delete(tx: &mut Tx<'_>, version: i32) -> Result<(), StoreError> {
    diesel::delete(master_keys::table.find(version)).execute(&mut **tx)?;
    Ok(())
}
