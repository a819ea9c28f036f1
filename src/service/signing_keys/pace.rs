//! The clock monitor: after a jump of the database clock, every wait that the jump could falsify
//! restarts (invariant K8).

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    domain::{
        event::{Actor, EventKind, NewEvent, Origin},
        rotation::{Jump, Moment},
        time::{Span, Timestamp},
    },
    service::{App, Error},
    store::{self, Clock, Outcome},
};

/// Delay before an apparent jump is verified: a slow response is not a jump.
const LOOK_TWICE: Duration = Duration::from_millis(250);

/// Maximum number of attempts to read the clock without a slow response.
const LOOKS: u32 = 3;

/// The last clock reading of this process.
pub struct ClockWatch {
    clock: Arc<dyn Clock>,
    last: Mutex<Option<Moment>>,
}

impl fmt::Debug for ClockWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockWatch")
    }
}

impl ClockWatch {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, last: Mutex::new(None) }
    }

    /// The last reading; absent before the first one.
    pub fn last(&self) -> Option<Moment> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last reading, for a later comparison.
    pub(super) fn pace(&self) -> Pace {
        Pace { clock: Arc::clone(&self.clock), last: self.last() }
    }

    fn keep(&self, moment: Moment) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(moment);
    }
}

/// A clock reading to compare with a later one: the clock can be set between the two.
pub(super) struct Pace {
    clock: Arc<dyn Clock>,
    last: Option<Moment>,
}

impl Pace {
    /// Whether the database clock advanced at the rate of the process clock from that reading until
    /// `database`; `None` without a reading.
    pub fn holds(&self, database: Timestamp, tolerance: Span) -> Option<bool> {
        let now = Moment { database, elapsed: self.clock.elapsed(), machine: self.clock.now() };
        self.last.map(|last| now.jump_since(last, tolerance).is_none())
    }
}

/// Reads the clock. If it jumped since the last reading, every wait restarts and an event is
/// recorded. A command records nothing and returns `Error::Conflict`: the clock of its machine is
/// less reliable than those of the servers, and each run has only a first reading.
pub(super) async fn watch(app: &App) -> Result<(), Error> {
    let (mut moment, noted) = look(app).await?;
    let mut jump = jumped(app, moment, noted);
    if jump.is_some() {
        tokio::time::sleep(LOOK_TWICE).await;
        let (again, noted) = look(app).await?;
        (moment, jump) = (again, jumped(app, again, noted));
    }
    if let Some(jump) = jump {
        let (direction, by) = match jump {
            Jump::Forward(by) => ("forward", by),
            Jump::Back(by) => ("back", by),
        };
        if app.part.is_none() {
            return Err(Error::Conflict(format!(
                "the database's clock is {by} {} what this machine's clock and the last server to look at it let expect: nothing is moved by \
                 it; set the clocks right, or let a running server do it",
                if direction == "forward" { "ahead of" } else { "behind" }
            )));
        }
        app.metrics.clock_jumped();
        tracing::error!(direction, %by, "the database's clock jumped: every wait of the signing keys begins anew");
        app.store
            .change(Origin::of(Actor::System), move |tx| {
                let now = store::now(tx)?;
                store::rotation_clock::begin_anew(tx, now)?;
                let event = NewEvent::new(EventKind::ClockJumped, "database").with("direction", direction);
                Ok::<_, Error>(Outcome::event((), event.with("by", by.to_string())))
            })
            .await?;
    }
    app.watch.keep(moment);
    Ok(())
}

/// Reads the database clock and the process clocks. A response so slow that the clocks could appear
/// to differ is discarded, and the read is repeated.
async fn look(app: &App) -> Result<(Moment, Timestamp), Error> {
    let clock = &app.watch.clock;
    let mut tries = 1;
    loop {
        let asked = clock.elapsed();
        let found = app.store.read(|connection| {
            let (noted, _) = store::rotation_clock::read(connection)?;
            Ok::<_, store::StoreError>((store::now(connection)?, noted))
        });
        let (database, noted) = found.await?;
        let moment = Moment { database, elapsed: clock.elapsed(), machine: clock.now() };
        let took = moment.elapsed.saturating_sub(asked);
        if took <= app.settings.timing.clock_skew.duration() / 2 || tries == LOOKS {
            return Ok((moment, noted));
        }
        tries += 1;
    }
}

/// Compares with the last reading of this process, or, for the first reading, with the last one
/// that any replica recorded.
fn jumped(app: &App, moment: Moment, noted: Timestamp) -> Option<Jump> {
    let tolerance = app.settings.timing.clock_skew;
    match app.watch.last() {
        Some(last) => moment.jump_since(last, tolerance),
        None => moment.jump_before(noted, tolerance),
    }
}
