//! Tokens that were revoked by name, and what else the database knows of a token that comes back.

use diesel::{BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl};

use crate::domain::{
    claims::{Claims, TokenNow},
    id::KeyId,
    time::{Span, Timestamp},
};

use super::{
    change::Tx,
    connection::Conn,
    error::StoreError,
    schema::{credentials, revoked_tokens},
};

/// What a token is judged by beside its key, in one query.
///
/// # Errors
/// The database does not answer.
pub fn token_now(connection: &mut Conn, claims: &Claims, now: Timestamp) -> Result<TokenNow, StoreError> {
    let revoked = diesel::dsl::exists(revoked_tokens::table.filter(revoked_tokens::jti.eq(claims.jti.as_str())));
    let oldest: Option<(i64, bool)> = credentials::table
        .filter(credentials::key_id.eq(claims.key_id.as_str()))
        .filter(credentials::expires_at.is_null().or(credentials::expires_at.gt(now.millis())))
        .order(credentials::created_at.asc())
        .select((credentials::created_at, revoked))
        .first(connection)
        .optional()?;
    // Without a credential that works nothing is left to be revoked.
    Ok(TokenNow {
        revoked: oldest.is_some_and(|(_, revoked)| revoked),
        oldest_credential: oldest.map(|(made, _)| Timestamp::from_millis(made)),
    })
}

/// Whether a token was revoked.
///
/// # Errors
/// The database does not answer.
pub fn is_revoked(connection: &mut Conn, jti: &str) -> Result<bool, StoreError> {
    let found: i64 = revoked_tokens::table.filter(revoked_tokens::jti.eq(jti)).count().get_result(connection)?;
    Ok(found > 0)
}

/// # Errors
/// The database does not answer, or the token is there already.
pub fn insert(tx: &mut Tx<'_>, jti: &str, key: &KeyId, expires_at: Timestamp) -> Result<(), StoreError> {
    let now = tx.now();
    diesel::insert_into(revoked_tokens::table)
        .values((
            revoked_tokens::jti.eq(jti),
            revoked_tokens::key_id.eq(key.as_str()),
            revoked_tokens::expires_at.eq(expires_at.millis()),
            revoked_tokens::revoked_at.eq(now.millis()),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// Forgets tokens that ended longer ago than any verifier may take them, `late` past their end.
///
/// # Errors
/// The database does not answer.
pub fn forget_old(tx: &mut Tx<'_>, late: Span) -> Result<usize, StoreError> {
    let ended = tx.now().before(late).millis();
    Ok(diesel::delete(revoked_tokens::table.filter(revoked_tokens::expires_at.lt(ended))).execute(&mut **tx)?)
}
