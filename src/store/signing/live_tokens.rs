//! The number of unexpired tokens that each signing key has signed, by the minute in which they
//! expire.

use std::collections::BTreeMap;

use crate::{
    domain::common::{derived_id::SigningKeyId, time::Timestamp},
    store::{prelude::*, schema::signing_key_tokens},
};

/// Adds to the counts, by key and by the end of the minute in which the tokens expire.
pub fn add(tx: &mut Tx<'_>, signed: &[((SigningKeyId, Timestamp), i64)]) -> Result<(), StoreError> {
    // The rows are locked in the order of the keys, so that two replicas cannot deadlock.
    for ((kid, ends_at), tokens) in signed {
        let row = signing_key_tokens::table.find((kid, ends_at));
        let added = signing_key_tokens::tokens.eq(signing_key_tokens::tokens + tokens);
        if diesel::update(row).set(added).count_affected(tx)? == 0 {
            diesel::insert_into(signing_key_tokens::table)
                .values((
                    signing_key_tokens::kid.eq(kid),
                    signing_key_tokens::ends_at.eq(ends_at),
                    signing_key_tokens::tokens.eq(tokens),
                ))
                .execute_in(tx)?;
        }
    }
    Ok(())
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
