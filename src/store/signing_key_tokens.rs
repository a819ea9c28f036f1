//! How many tokens each signing key has signed that are not over yet, by the minute in which they end.

use std::collections::BTreeMap;

use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl};

use crate::domain::{id::SigningKeyId, time::Timestamp};

use super::{api_keys::parsed, change::Tx, connection::Conn, error::StoreError, schema::signing_key_tokens};

/// Adds tokens, by key and by the end of the minute in which they end.
///
/// # Errors
/// The database does not answer.
pub fn add(tx: &mut Tx<'_>, signed: &BTreeMap<(SigningKeyId, Timestamp), i64>) -> Result<(), StoreError> {
    // In the order of their keys, so that two replicas lock rows in the same order.
    for ((kid, ends_at), tokens) in signed {
        let row = signing_key_tokens::table.find((kid.as_str(), ends_at.millis()));
        let added = signing_key_tokens::tokens.eq(signing_key_tokens::tokens + tokens);
        if diesel::update(row).set(added).execute(&mut **tx)? == 0 {
            diesel::insert_into(signing_key_tokens::table)
                .values((
                    signing_key_tokens::kid.eq(kid.as_str()),
                    signing_key_tokens::ends_at.eq(ends_at.millis()),
                    signing_key_tokens::tokens.eq(tokens),
                ))
                .execute(&mut **tx)?;
        }
    }
    Ok(())
}

/// How many tokens of each key are not over at `now`.
///
/// # Errors
/// The database does not answer, or holds what it should not.
pub fn live(connection: &mut Conn, now: Timestamp) -> Result<BTreeMap<SigningKeyId, i64>, StoreError> {
    let rows: Vec<(String, i64)> = signing_key_tokens::table
        .filter(signing_key_tokens::ends_at.gt(now.millis()))
        .select((signing_key_tokens::kid, signing_key_tokens::tokens))
        .load(connection)?;
    let mut live = BTreeMap::new();
    for (kid, tokens) in rows {
        *live.entry(parsed("kid", &kid)?).or_default() += tokens;
    }
    Ok(live)
}

/// Forgets those that are over.
///
/// # Errors
/// The database does not answer.
pub fn forget_old(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let now = tx.now().millis();
    diesel::delete(signing_key_tokens::table.filter(signing_key_tokens::ends_at.lt(now))).execute(&mut **tx)?;
    Ok(())
}
