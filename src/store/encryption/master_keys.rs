//! The versions, fingerprints and states of the master keys that encrypt this database.

use crate::{
    domain::signing::master_key::{MasterKeyInfo, MasterKeyState},
    store::{prelude::*, schema::master_keys},
};

selectable!(master_keys => MasterKeyInfo { version, fingerprint, state, created_at, activated_at, retired_at });

/// Returns `Conflict` if the version exists, or if `state` is `Incoming` or `Current` and another
/// key is in that state.
pub fn insert(tx: &mut Tx<'_>, version: i32, fingerprint: &str, state: MasterKeyState) -> Result<(), StoreError> {
    let now = tx.now();
    diesel::insert_into(master_keys::table)
        .values((
            master_keys::version.eq(version),
            master_keys::fingerprint.eq(fingerprint),
            master_keys::created_at.eq(now),
            master_keys::state.eq(state),
            master_keys::activated_at.eq((state == MasterKeyState::Current).then_some(now)),
            master_keys::retired_at.eq((state == MasterKeyState::Retired).then_some(now)),
        ))
        .execute_in(tx)
}

/// Returns all keys, oldest version first. The list is empty for a new database.
pub fn list(connection: &mut Conn) -> Result<Vec<MasterKeyInfo>, StoreError> {
    master_keys::table.order(master_keys::version).select(MasterKeyInfo::as_select()).load_all(connection)
}

/// Moves a key from state `from` to state `to`. Returns `false` if it is no longer in state `from`,
/// and `Conflict` if `to` is `Current` and another key is current.
pub fn transition_state(
    tx: &mut Tx<'_>,
    version: i32,
    from: MasterKeyState,
    to: MasterKeyState,
) -> Result<bool, StoreError> {
    if to == MasterKeyState::Incoming {
        return Ok(false);
    }
    let now = Some(tx.now());
    let row = master_keys::table.find(version).filter(master_keys::state.eq(from));
    let changed = diesel::update(row).set((
        master_keys::state.eq(to),
        (to == MasterKeyState::Current).then(|| master_keys::activated_at.eq(now)),
        (to == MasterKeyState::Retired).then(|| master_keys::retired_at.eq(now)),
    ));
    Ok(changed.count_affected(tx)? == 1)
}

/// Deletes a key. A foreign key constraint rejects this while a row is encrypted with the key, even
/// if that row is written concurrently.
pub fn delete(tx: &mut Tx<'_>, version: i32) -> Result<(), StoreError> {
    diesel::delete(master_keys::table.find(version)).execute_in(tx)
}
