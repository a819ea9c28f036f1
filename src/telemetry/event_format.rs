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

/// How often the events of requests that are equal but for their request are written in a minute. A
/// client that reports the id of its request should find them, but thousands in a second would
/// displace all others from the queue of the log.
const MAX_OF_REQUESTS: u32 = 10;
/// Fields that differ for each request, beside its id.
const FIELDS_OF_ONE_REQUEST: [&str; 2] = ["micros", "address"];

/// Formats events with `inner`, and leaves out the repetitions of warnings and errors.
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
        if *event.metadata().level() > Level::WARN {
            return self.inner.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        let is_of_request = context.parent_span().is_some();
        let max_written = if is_of_request { MAX_OF_REQUESTS } else { 1 };
        let key = identify(event, is_of_request);
        if self.repeats.must_write(key, &line, max_written, Instant::now()) { writer.write_str(&line) } else { Ok(()) }
    }
}

/// Returns the place of the event in the source, and its fields. The id of a request is a field of
/// its span.
fn identify(event: &Event<'_>, is_of_request: bool) -> String {
    let mut fields = FieldList { text: event.metadata().name().to_owned(), is_of_request };
    event.record(&mut fields);
    fields.text
}

struct FieldList {
    text: String,
    is_of_request: bool,
}

impl Visit for FieldList {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if !(self.is_of_request && FIELDS_OF_ONE_REQUEST.contains(&field.name())) {
            let _ = write!(self.text, "\n{}={value:?}", field.name());
        }
    }
}
