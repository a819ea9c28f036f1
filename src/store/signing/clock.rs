//! The state of the clock monitor: the last observed time of the database, and since when its clock
//! has been steady.

use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl};

use crate::{
    domain::{common::time::Timestamp, signing::rotation::ClockStability},
    store::{error::StoreError, pool::Conn, schema::rotation_clock, transaction::Tx},
};

/// Returns the last observed time, and since when the clock has been steady.
pub fn read(connection: &mut Conn) -> Result<(Timestamp, ClockStability), StoreError> {
    let (last, since) =
        rotation_clock::table.select((rotation_clock::last_at, rotation_clock::steady_since)).first(connection)?;
    Ok((Timestamp::from_millis(last), ClockStability { stable_since: Timestamp::from_millis(since) }))
}

/// Records an observation of the clock. The stored time never decreases, because comparison with it
/// detects a clock that was set back.
pub fn record_observation(tx: &mut Tx<'_>, at: Timestamp) -> Result<(), StoreError> {
    let earlier = rotation_clock::table.filter(rotation_clock::last_at.lt(at.millis()));
    diesel::update(earlier).set(rotation_clock::last_at.eq(at.millis())).execute(&mut **tx)?;
    Ok(())
}

/// Records a jump of the clock: every propagation delay restarts at `at`.
pub fn record_clock_jump(tx: &mut Tx<'_>, at: Timestamp) -> Result<(), StoreError> {
    let anew = (rotation_clock::last_at.eq(at.millis()), rotation_clock::steady_since.eq(at.millis()));
    diesel::update(rotation_clock::table).set(anew).execute(&mut **tx)?;
    Ok(())
}
