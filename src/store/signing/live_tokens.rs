//! The number of unexpired tokens that each signing key has signed, by the minute in which they
//! expire.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    domain::common::{derived_id::SigningKeyId, time::Timestamp},
    store::{
        dialect::bulk::{self, BulkTable},
        prelude::*,
        schema::signing_key_tokens,
    },
};

const BULK: BulkTable = BulkTable {
    table: "signing_key_tokens",
    read_from: "signing_key_tokens",
    columns: &["kid", "ends_at", "tokens"],
    key: 2,
    on_conflict: "ON CONFLICT (kid, ends_at) DO UPDATE SET tokens = signing_key_tokens.tokens + excluded.tokens",
};

#[derive(Serialize)]
struct Row<'a> {
    kid: &'a SigningKeyId,
    ends_at: i64,
    tokens: i64,
}

/// Adds to the counts, by key and by the end of the minute in which the tokens expire.
pub fn add(tx: &mut Tx<'_>, signed: &[((SigningKeyId, Timestamp), i64)]) -> Result<(), StoreError> {
    let rows: Vec<_> =
        signed.iter().map(|((kid, ends_at), tokens)| Row { kid, ends_at: ends_at.millis(), tokens: *tokens }).collect();
    bulk::upsert_rows(tx, &BULK, &rows).map(drop)
}

/// Returns how many tokens of each key have not expired at `now`.
pub fn count_unexpired(connection: &mut Conn, now: Timestamp) -> Result<BTreeMap<SigningKeyId, i64>, StoreError> {
    let rows: Vec<(SigningKeyId, i64)> = signing_key_tokens::table
        .filter(signing_key_tokens::ends_at.gt(now))
        .select((signing_key_tokens::kid, signing_key_tokens::tokens))
        .load_all(connection)?;
    let mut live = BTreeMap::new();
    for (kid, tokens) in rows {
        *live.entry(kid).or_default() += tokens;
    }
    Ok(live)
}

/// Deletes the counts of expired tokens.
pub fn delete_expired(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let now = tx.now();
    diesel::delete(signing_key_tokens::table.filter(signing_key_tokens::ends_at.lt(now))).execute_in(tx)
}
