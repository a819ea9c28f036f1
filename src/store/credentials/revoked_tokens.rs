//! Tokens that were revoked individually, and the other data that a presented token depends on.

use crate::{
    domain::{
        common::{
            id::KeyId,
            time::{Span, Timestamp},
        },
        exchange::claims::{Claims, SourceCredential, TokenState},
    },
    store::{
        prelude::*,
        schema::{credentials, revoked_tokens},
        status_lists,
    },
};

/// Returns the state of a token, other than that of its key.
pub fn read_token_state(connection: &mut Conn, claims: &Claims, now: Timestamp) -> Result<TokenState, StoreError> {
    Ok(TokenState {
        revoked: is_revoked(connection, &claims.jti)?,
        source_credential: find_source_credential(connection, claims, now)?,
    })
}

fn find_source_credential(
    connection: &mut Conn,
    claims: &Claims,
    now: Timestamp,
) -> Result<SourceCredential, StoreError> {
    let of_key = credentials::table.filter(credentials::key_id.eq(&claims.key_id)).into_boxed();
    let Some(index) = claims.status_list_index() else {
        let oldest_accepted = of_key
            .filter(credentials::expires_at.is_null().or(credentials::expires_at.gt(now)))
            .order(credentials::created_at.asc())
            .select(credentials::created_at)
            .load_first(connection)?;
        return Ok(SourceCredential::Unidentified { oldest_accepted });
    };
    // The index belongs to the token itself or to its credential.
    let own = status_lists::find_token_status(connection, &claims.jti)?.filter(|token| token.place == index);
    let of_index = match own {
        Some(token) => of_key.filter(credentials::id.eq(token.credential)),
        None => of_key
            .filter(credentials::status_list.eq(index.list))
            .filter(credentials::status_index.eq(i32::try_from(index.index).ok())),
    };
    let end: Option<Option<Timestamp>> = of_index.select(credentials::expires_at).load_first(connection)?;
    Ok(SourceCredential::Identified { accepted: end.is_some_and(|end| end.is_none_or(|end| end > now)) })
}

/// Returns whether the token itself was revoked.
pub fn is_revoked(connection: &mut Conn, jti: &str) -> Result<bool, StoreError> {
    let found: i64 = revoked_tokens::table.filter(revoked_tokens::jti.eq(jti)).count().load_one(connection)?;
    Ok(found > 0)
}

/// Returns `Conflict` if the token is already revoked.
pub fn insert(tx: &mut Tx<'_>, jti: &str, key: &KeyId, expires_at: Timestamp) -> Result<(), StoreError> {
    let now = tx.now();
    diesel::insert_into(revoked_tokens::table)
        .values((
            revoked_tokens::jti.eq(jti),
            revoked_tokens::key_id.eq(key),
            revoked_tokens::expires_at.eq(expires_at),
            revoked_tokens::revoked_at.eq(now),
        ))
        .execute_in(tx)
}

/// Deletes tokens that expired more than `late` ago, which no verifier may accept any more.
pub fn delete_expired(tx: &mut Tx<'_>, late: Span) -> Result<usize, StoreError> {
    let ended = tx.now().minus(late);
    diesel::delete(revoked_tokens::table.filter(revoked_tokens::expires_at.lt(ended))).count_affected(tx)
}
