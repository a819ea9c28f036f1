//! The clock monitor: after a jump of the database clock, every wait that the jump could falsify
//! restarts (invariant K8).

use std::time::Duration;

use crate::{
    domain::{
        common::time::Timestamp,
        events::{EventType, NewEvent, Origin},
        signing::rotation::{ClockJump, ClockReading},
    },
    service::{Conflict, Error, Services},
    store::{self, Outcome, StoreError},
};

/// Delay before an apparent jump is verified: a slow response is not a jump.
const JUMP_RECHECK_DELAY: Duration = Duration::from_millis(250);

/// Maximum number of attempts to read the clock without a slow response.
const MAX_CLOCK_READ_ATTEMPTS: u32 = 3;

/// Reads the clock. If it jumped since the last reading, every wait restarts and an event is
/// recorded. A command records nothing and returns `Error::Conflict`: the clock of its machine is
/// less reliable than those of the servers, and each run has only a first reading.
pub(crate) async fn check_clock(services: &Services) -> Result<(), Error> {
    let (mut reading, recorded) = read_clocks(services).await?;
    let mut jump = detect_jump(services, reading, recorded);
    if jump.is_some() {
        tokio::time::sleep(JUMP_RECHECK_DELAY).await;
        let (again, recorded) = read_clocks(services).await?;
        (reading, jump) = (again, detect_jump(services, again, recorded));
    }
    if let Some(jump) = jump {
        let (direction, by) = match jump {
            ClockJump::Forward(by) => ("forward", by),
            ClockJump::Backward(by) => ("back", by),
        };
        if services.replica_registration.is_command() {
            return Err(Conflict::ClockJumped(jump).into());
        }
        services.metrics.record_clock_jump();
        tracing::error!(direction, %by, "the clock of the database jumped; every propagation delay of the signing keys restarts");
        services
            .store
            .run_transaction(Origin::SYSTEM, move |tx| {
                let now = store::now(tx)?;
                store::signing::clock::record_clock_jump(tx, now)?;
                let event = NewEvent::new(EventType::ClockJumped, "database").with_data("direction", direction);
                Ok::<_, StoreError>(Outcome::event((), event.with_data("by", by.to_string())))
            })
            .await?;
    }
    services.clock_monitor.set_last(reading);
    Ok(())
}

/// Reads the database clock and the process clocks, and the last time that any replica recorded. A
/// response so slow that the clocks could appear to differ is discarded, and the read is repeated.
async fn read_clocks(services: &Services) -> Result<(ClockReading, Timestamp), Error> {
    let clock = &services.clock_monitor.clock;
    let mut attempts = 1;
    loop {
        let started = clock.monotonic_elapsed();
        let read = services.store.read(|connection| {
            let (recorded, _) = store::signing::clock::read(connection)?;
            Ok::<_, StoreError>((store::now(connection)?, recorded))
        });
        let (database, recorded) = read.await?;
        let reading = ClockReading { database, elapsed: clock.monotonic_elapsed(), machine_clock: clock.now() };
        let took = reading.elapsed.saturating_sub(started);
        if took <= services.settings.timing.clock_skew.duration() / 2 || attempts == MAX_CLOCK_READ_ATTEMPTS {
            return Ok((reading, recorded));
        }
        attempts += 1;
    }
}

/// Compares with the last reading of this process, or, for the first reading, with the last one
/// that any replica recorded.
fn detect_jump(services: &Services, reading: ClockReading, recorded: Timestamp) -> Option<ClockJump> {
    let tolerance = services.settings.timing.clock_skew;
    match services.clock_monitor.last() {
        Some(last) => reading.jump_since(last, tolerance),
        None => reading.jump_at_first_reading(recorded, tolerance),
    }
}
