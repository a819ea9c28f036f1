//! The last-used time of each credential.

use serde::Serialize;

use crate::{
    domain::common::{derived_id::CredentialId, time::Timestamp},
    store::{
        dialect::bulk::{self, BulkTable},
        prelude::*,
    },
};

const BULK: BulkTable = BulkTable {
    table: "credential_uses",
    read_from: "credential_uses",
    columns: &["credential_id", "last_used_at"],
    key: 1,
    on_conflict: "ON CONFLICT (credential_id) DO UPDATE SET last_used_at = excluded.last_used_at \
                  WHERE excluded.last_used_at > credential_uses.last_used_at",
};

#[derive(Serialize)]
struct Row<'a> {
    credential_id: &'a CredentialId,
    last_used_at: i64,
}

/// Writes many last-used times at once. A stored time is never replaced by an earlier one. `used`
/// must contain each credential at most once.
pub fn upsert_last_used_times(tx: &mut Tx<'_>, used: &[(CredentialId, Timestamp)]) -> Result<(), StoreError> {
    let rows: Vec<_> =
        used.iter().map(|(credential_id, at)| Row { credential_id, last_used_at: at.millis() }).collect();
    bulk::upsert_rows(tx, &BULK, &rows).map(drop)
}
