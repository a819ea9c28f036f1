//! What is known of the database's own clock: when it was looked at last, and since when it has gone at its pace.

use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl};

use crate::domain::{rotation::Steady, time::Timestamp};

use super::{change::Tx, connection::Conn, error::StoreError, schema::rotation_clock};

/// When it was looked at last, and since when it is steady.
///
/// # Errors
/// The database does not answer.
pub fn read(connection: &mut Conn) -> Result<(Timestamp, Steady), StoreError> {
    let (last, since) =
        rotation_clock::table.select((rotation_clock::last_at, rotation_clock::steady_since)).first(connection)?;
    Ok((Timestamp::from_millis(last), Steady { since: Timestamp::from_millis(since) }))
}

/// Notes a look. It takes nothing back: a clock that was set back must be found, and is by comparing it with what was noted.
///
/// # Errors
/// The database does not answer.
pub fn note(tx: &mut Tx<'_>, at: Timestamp) -> Result<(), StoreError> {
    let earlier = rotation_clock::table.filter(rotation_clock::last_at.lt(at.millis()));
    diesel::update(earlier).set(rotation_clock::last_at.eq(at.millis())).execute(&mut **tx)?;
    Ok(())
}

/// Begins anew at `at`, with every wait: the clock jumped.
///
/// # Errors
/// The database does not answer.
pub fn begin_anew(tx: &mut Tx<'_>, at: Timestamp) -> Result<(), StoreError> {
    let anew = (rotation_clock::last_at.eq(at.millis()), rotation_clock::steady_since.eq(at.millis()));
    diesel::update(rotation_clock::table).set(anew).execute(&mut **tx)?;
    Ok(())
}
