//! The clock monitor: after a jump of the database clock, every wait that the jump could falsify
//! restarts (invariant K8).

use std::time::Duration;

use crate::{
    domain::{
        common::time::Timestamp,
        events::{Actor, EventType, NewEvent, Origin},
        signing::rotation::{ClockJump, ClockReading},
    },
    service::{Error, Services},
    store::{self, Outcome},
};

/// Delay before an apparent jump is verified: a slow response is not a jump.
const JUMP_RECHECK_DELAY: Duration = Duration::from_millis(250);

/// Maximum number of attempts to read the clock without a slow response.
const MAX_CLOCK_READ_ATTEMPTS: u32 = 3;

/// Reads the clock. If it jumped since the last reading, every wait restarts and an event is
/// recorded. A command records nothing and returns `Error::Conflict`: the clock of its machine is
/// less reliable than those of the servers, and each run has only a first reading.
pub(crate) async fn watch(services: &Services) -> Result<(), Error> {
    let (mut moment, noted) = look(services).await?;
    let mut jump = detect_jump(services, moment, noted);
    if jump.is_some() {
        tokio::time::sleep(JUMP_RECHECK_DELAY).await;
        let (again, noted) = look(services).await?;
        (moment, jump) = (again, detect_jump(services, again, noted));
    }
    if let Some(jump) = jump {
        let (direction, by) = match jump {
            ClockJump::Forward(by) => ("forward", by),
            ClockJump::Backward(by) => ("back", by),
        };
        if services.replica_registration.is_command() {
            return Err(Error::Conflict(format!(
                "the database's clock is {by} {} what this machine's clock and the last server to look at it let expect: nothing is moved by \
                 it; set the clocks right, or let a running server do it",
                if direction == "forward" { "ahead of" } else { "behind" }
            )));
        }
        services.metrics.record_clock_jump();
        tracing::error!(direction, %by, "the clock of the database jumped; every propagation delay of the signing keys restarts");
        services
            .store
            .run_transaction(Origin::of(Actor::System), move |tx| {
                let now = store::now(tx)?;
                store::signing::clock::record_clock_jump(tx, now)?;
                let event = NewEvent::new(EventType::ClockJumped, "database").with_data("direction", direction);
                Ok::<_, Error>(Outcome::event((), event.with_data("by", by.to_string())))
            })
            .await?;
    }
    services.watch.keep(moment);
    Ok(())
}

/// Reads the database clock and the process clocks. A response so slow that the clocks could appear
/// to differ is discarded, and the read is repeated.
async fn look(services: &Services) -> Result<(ClockReading, Timestamp), Error> {
    let clock = &services.watch.clock;
    let mut tries = 1;
    loop {
        let asked = clock.monotonic_elapsed();
        let found = services.store.read(|connection| {
            let (noted, _) = store::signing::clock::read(connection)?;
            Ok::<_, store::StoreError>((store::now(connection)?, noted))
        });
        let (database, noted) = found.await?;
        let moment = ClockReading { database, elapsed: clock.monotonic_elapsed(), machine_clock: clock.now() };
        let took = moment.elapsed.saturating_sub(asked);
        if took <= services.settings.timing.clock_skew.duration() / 2 || tries == MAX_CLOCK_READ_ATTEMPTS {
            return Ok((moment, noted));
        }
        tries += 1;
    }
}

/// Compares with the last reading of this process, or, for the first reading, with the last one
/// that any replica recorded.
fn detect_jump(services: &Services, moment: ClockReading, noted: Timestamp) -> Option<ClockJump> {
    let tolerance = services.settings.timing.clock_skew;
    match services.watch.last() {
        Some(last) => moment.jump_since(last, tolerance),
        None => moment.jump_at_first_reading(noted, tolerance),
    }
}
