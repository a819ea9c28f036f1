//! The log of the process.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{Directive, LevelFilter},
    fmt::{self, format::JsonFields},
    layer::{Layered, SubscriberExt},
    reload,
    util::SubscriberInitExt,
};

use crate::telemetry::{event_format::CountedRepeats, log_writer::LogWriter, panics, repeats::RepeatedEvents, stderr};

/// How long the end of the process waits for the reader of standard error.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The log, once it is started. A process has one log, because it has one standard error.
static LOG: OnceLock<LogHandle> = OnceLock::new();

/// The log after its start.
#[derive(Debug, Clone)]
pub struct LogHandle {
    writer: LogWriter,
    repeats: Arc<RepeatedEvents>,
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LogHandle {
    /// Changes the level of the log. `directives` is a value of `log.level`.
    pub fn set_level(&self, directives: &str) -> Result<(), String> {
        let filter = parse_filter(directives)?;
        self.filter.reload(filter).map_err(|error| error.to_string())
    }

    /// Writes the counts of repeated events and the waiting lines. Waits for one second at most.
    fn flush(&self) {
        for line in self.repeats.take_all(Instant::now()) {
            self.writer.submit(line.into_bytes());
        }
        self.writer.wait_until_written(FLUSH_TIMEOUT);
    }
}

/// Starts logging to standard error, also of panics. Standard output is reserved for the results of
/// commands. A second call has no effect.
pub fn init_logging(json: bool, level: &str) -> LogHandle {
    let start = || {
        let is_colored = !json && io::stderr().is_terminal();
        let (log, subscriber) = build(json, is_colored, level, stderr::open());
        // This fails if the process has a subscriber of its own.
        let _ = subscriber.try_init();
        panics::install_hook();
        log
    };
    LOG.get_or_init(start).clone()
}

/// Returns the number of lines that were dropped since the start of the process.
pub(super) fn count_dropped_lines() -> u64 {
    LOG.get().map_or(0, |log| log.writer.count_dropped())
}

/// Flushes the log when it is dropped, at the end of the process.
#[derive(Debug)]
pub struct FlushAtExit;

impl Drop for FlushAtExit {
    fn drop(&mut self) {
        if let Some(log) = LOG.get() {
            log.flush();
        }
    }
}

/// Ends the process. `std::process::exit` drops nothing, and would lose the waiting lines.
pub fn flush_and_exit(code: i32) -> ! {
    drop(FlushAtExit);
    std::process::exit(code);
}

type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;
type Format = Box<dyn Layer<Filtered> + Send + Sync>;

/// Parses a value of `log.level`. Below the level `warn`, `h2` logs what clients send, such as a
/// path with its query string, so that only directives with its name select these events.
fn parse_filter(directives: &str) -> Result<EnvFilter, String> {
    let filter = EnvFilter::try_new(directives).map_err(|error| error.to_string())?;
    let names_h2 = directives.split(',').any(|directive| directive.trim().starts_with("h2"));
    // More verbose levels are greater.
    let is_verbose = filter.max_level_hint().is_none_or(|level| level > LevelFilter::WARN);
    if names_h2 || !is_verbose {
        return Ok(filter);
    }
    let directive = "h2=warn".parse::<Directive>().map_err(|error| error.to_string())?;
    Ok(filter.add_directive(directive))
}

fn build(
    json: bool,
    is_colored: bool,
    level: &str,
    output: impl Write + Send + 'static,
) -> (LogHandle, Layered<Format, Filtered>) {
    let filter = parse_filter(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, filter_handle) = reload::Layer::new(filter);
    let repeats = Arc::new(RepeatedEvents::new(json));
    let writer = LogWriter::start(output, Arc::clone(&repeats));
    let layer = fmt::Layer::<Filtered>::new().with_writer(writer.clone()).with_ansi(is_colored);
    // An event that cannot be formatted is lost. By default, a message is printed with `eprintln!`.
    let layer = layer.log_internal_errors(false);
    let format = fmt::format().with_target(false).with_ansi(is_colored);
    let format: Format = if json {
        let inner = format.json().flatten_event(true).with_span_list(false);
        let repeats = Arc::clone(&repeats);
        layer.fmt_fields(JsonFields::new()).event_format(CountedRepeats { inner, repeats }).boxed()
    } else {
        layer.event_format(CountedRepeats { inner: format, repeats: Arc::clone(&repeats) }).boxed()
    };
    let subscriber = tracing_subscriber::registry().with(filter).with(format);
    (LogHandle { writer, repeats, filter: filter_handle }, subscriber)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing::subscriber::with_default;

    use super::*;

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Runs `events` with a log of its own, and returns its lines.
    fn lines(json: bool, level: &str, events: impl FnOnce(&LogHandle)) -> Vec<String> {
        let output = Output::default();
        let (log, subscriber) = build(json, false, level, output.clone());
        with_default(subscriber, || events(&log));
        log.flush();
        assert_eq!(log.writer.count_dropped(), 0);
        let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn repeat_events(_: &LogHandle) {
        for turn in 0..5 {
            tracing::warn!(cause = "it is away", "failed to refresh; will retry");
            tracing::warn!(turn, "another field");
            tracing::info!("progress");
            let span = tracing::error_span!("request", request_id = "one");
            span.in_scope(|| tracing::warn!("of a request"));
        }
    }

    #[test]
    fn events_of_many_requests_are_counted_after_the_first_ones() {
        let lines = lines(false, "info", |_| {
            for request in 0..14 {
                let span = tracing::error_span!("request", request_id = request);
                span.in_scope(|| tracing::warn!(status = 503, micros = request, "sent a response"));
                span.in_scope(|| tracing::warn!(request, "another field"));
            }
        });
        assert_eq!((count(&lines, "sent a response"), count(&lines, "another field")), (11, 14), "{lines:#?}");
        let last = lines.last().unwrap();
        assert!(last.contains("request_id=13") && last.ends_with(" repeated=4"), "{last}");
    }

    #[test]
    fn events_of_h2_are_selected_by_its_name_only() {
        for (level, expected) in [("trace", [0, 1]), ("info,h2=trace", [1, 1]), ("error", [0, 0])] {
            let lines = lines(false, "off", |log| {
                log.set_level(level).unwrap();
                tracing::debug!(target: "h2::codec", "a frame");
                tracing::warn!(target: "h2::proto", "too many resets");
            });
            assert_eq!([count(&lines, "a frame"), count(&lines, "too many resets")], expected, "{level}: {lines:?}");
        }
    }

    fn count(lines: &[String], text: &str) -> usize {
        lines.iter().filter(|line| line.contains(text)).count()
    }

    #[test]
    fn equal_warnings_are_written_once_and_then_with_their_number() {
        for json in [false, true] {
            let lines = lines(json, "info", repeat_events);
            for (text, expected) in [("will retry", 2), ("another field", 5), ("progress", 5), ("of a request", 5)] {
                assert_eq!(count(&lines, text), expected, "{text}: {lines:#?}");
            }
            let last = lines.last().unwrap();
            assert!(last.contains("failed to refresh; will retry"), "{last}");
            if json {
                let last: serde_json::Value = serde_json::from_str(last).unwrap();
                assert_eq!((&last["repeated"], &last["level"]), (&4.into(), &"WARN".into()));
            } else {
                assert!(last.ends_with(" repeated=4"), "{last}");
            }
        }
    }

    #[test]
    fn level_is_changed_while_the_log_runs() {
        let lines = lines(false, "warn", |log| {
            tracing::info!("before");
            log.set_level("info").unwrap();
            tracing::info!("after");
            assert!(log.set_level("a=nonsense").is_err());
            tracing::info!("still");
        });
        assert_eq!((count(&lines, "before"), count(&lines, "after"), count(&lines, "still")), (0, 1, 1), "{lines:?}");
    }
}
