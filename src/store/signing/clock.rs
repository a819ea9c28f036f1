//! The state of the clock monitor: the last observed time of the database, and since when its clock
//! has been steady.

use crate::{
    domain::{common::time::Timestamp, signing::rotation::ClockStability},
    store::{prelude::*, schema::clock_monitor},
};

/// Returns the last observed time, and since when the clock has been steady.
pub fn read(connection: &mut Conn) -> Result<(Timestamp, ClockStability), StoreError> {
    let (last, stable_since) = clock_monitor::table
        .select((clock_monitor::last_observed_at, clock_monitor::stable_since))
        .load_one(connection)?;
    Ok((last, ClockStability { stable_since }))
}

/// Records an observation of the clock. The stored time never decreases, because comparison with it
/// detects a clock that was set back.
pub fn record_observation(tx: &mut Tx<'_>, at: Timestamp) -> Result<(), StoreError> {
    let earlier = clock_monitor::table.filter(clock_monitor::last_observed_at.lt(at));
    diesel::update(earlier).set(clock_monitor::last_observed_at.eq(at)).execute_in(tx)
}

/// Records a jump of the clock: every propagation delay restarts at `at`.
pub fn record_clock_jump(tx: &mut Tx<'_>, at: Timestamp) -> Result<(), StoreError> {
    let restarted = (clock_monitor::last_observed_at.eq(at), clock_monitor::stable_since.eq(at));
    diesel::update(clock_monitor::table).set(restarted).execute_in(tx)
}
