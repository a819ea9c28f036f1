//! The format of events: warnings and errors that repeat are left out and counted.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use tokio::time::Instant;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::telemetry::repeats::RepeatedEvents;

/// Formats events with `inner`, and leaves out the repetitions of warnings and errors.
///
/// Events of a request are never repetitions, because each contains the id of its request: a client
/// that reports the id must find them.
#[derive(Debug)]
pub struct CountedRepeats<F> {
    pub inner: F,
    pub repeats: Arc<RepeatedEvents>,
}

impl<S, N, F> FormatEvent<S, N> for CountedRepeats<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // More verbose levels are greater.
        if *event.metadata().level() > Level::WARN || context.parent_span().is_some() {
            return self.inner.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        if self.repeats.must_write(identify(event), &line, Instant::now()) { writer.write_str(&line) } else { Ok(()) }
    }
}

/// Returns the place of the event in the source, and its fields.
fn identify(event: &Event<'_>) -> String {
    let mut fields = FieldList(event.metadata().name().to_owned());
    event.record(&mut fields);
    fields.0
}

struct FieldList(String);

impl Visit for FieldList {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, "\n{}={value:?}", field.name());
    }
}
