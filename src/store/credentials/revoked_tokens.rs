//! Tokens that were revoked individually, and the credentials that tokens were issued for.

use crate::{
    domain::{
        common::{
            derived_id::CredentialId,
            id::KeyId,
            time::{Span, Timestamp},
        },
        exchange::claims::Claims,
    },
    store::{
        prelude::*,
        schema::{credentials, revoked_tokens},
        status_lists,
    },
};

/// Returns the credential of its key that a token was issued for, by the status list index of the
/// token.
pub fn find_source_credential(connection: &mut Conn, claims: &Claims<'_>) -> Result<Option<CredentialId>, StoreError> {
    let Some(index) = claims.status_list_index() else { return Ok(None) };
    let of_key = credentials::table.filter(credentials::key_id.eq(&claims.key_id)).into_boxed();
    // The index belongs to the token itself or, if it has none of its own, to its credential.
    let of_index = match status_lists::find_token_status(connection, &claims.jti)? {
        Some(token) if token.place == index => of_key.filter(credentials::id.eq(token.credential)),
        Some(_) => return Ok(None),
        None => of_key
            .filter(credentials::status_list.eq(index.list))
            .filter(credentials::status_index.eq(i32::try_from(index.index).ok())),
    };
    of_index.select(credentials::id).load_first(connection)
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
