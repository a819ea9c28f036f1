//! Watching the database's clock: a transition that a jump would fake waits anew (I10).

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    domain::{
        event::{Actor, EventKind, NewEvent, Origin},
        rotation::{Jump, Moment},
        time::Timestamp,
    },
    service::{App, Error},
    store::{self, Clock, Outcome},
};

/// How long after a jump was seen it is looked at again: a slow answer is no jump.
const LOOK_TWICE: Duration = Duration::from_millis(250);

/// The last look of this process.
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

    fn last(&self) -> Option<Moment> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, moment: Moment) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(moment);
    }
}

/// Looks at the clock. When it jumped since the last look, every wait begins anew, and an event says so.
///
/// # Errors
/// The database does not answer.
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

async fn look(app: &App) -> Result<(Moment, Timestamp), Error> {
    let found = app.store.read(|connection| {
        let (noted, _) = store::rotation_clock::read(connection)?;
        Ok::<_, store::StoreError>((store::now(connection)?, noted))
    });
    let (database, noted) = found.await?;
    let clock = &app.watch.clock;
    Ok((Moment { database, elapsed: clock.elapsed(), machine: clock.now() }, noted))
}

/// Against the last look of this process, or, for its first one, against what any replica noted.
fn jumped(app: &App, moment: Moment, noted: Timestamp) -> Option<Jump> {
    let tolerance = app.settings.timing.clock_skew;
    match app.watch.last() {
        Some(last) => moment.jump_since(last, tolerance),
        None => moment.jump_before(noted, tolerance),
    }
}
