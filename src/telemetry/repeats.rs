//! Warnings and errors that repeat: an event is written once, or a few times, and then once a
//! minute with the number of its repetitions.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long repetitions of an event are counted before their number is written.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of different events whose repetitions are counted. Further ones are written each
/// time.
const MAX_EVENTS: usize = 256;
/// Maximum size of an event whose repetitions are counted, in bytes.
const MAX_EVENT_SIZE: usize = 4096;

/// The events of the last minute and the numbers of their repetitions.
#[derive(Debug)]
pub struct RepeatedEvents {
    is_json: bool,
    events: Mutex<BTreeMap<String, CountedEvent>>,
}

#[derive(Debug)]
struct CountedEvent {
    written_at: Instant,
    /// How often it was written since then.
    written: u32,
    repetitions: u64,
    /// The line of the last repetition, which is not written yet.
    last_line: String,
}

impl RepeatedEvents {
    pub fn new(is_json: bool) -> Self {
        Self { is_json, events: Mutex::default() }
    }

    /// Ignores poisoning: no operation under the lock can panic halfway.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, CountedEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the line of an event must be written now. Otherwise, events with the same
    /// key were written `max_written` times in the last minute, and the event is counted.
    pub fn must_write(&self, key: String, line: &str, max_written: u32, now: Instant) -> bool {
        let mut events = self.lock();
        if let Some(event) = events.get_mut(&key) {
            if event.written < max_written {
                event.written += 1;
                return true;
            }
            event.repetitions += 1;
            line.clone_into(&mut event.last_line);
            return false;
        }
        if events.len() < MAX_EVENTS && key.len() + line.len() <= MAX_EVENT_SIZE {
            let event = CountedEvent { written_at: now, written: 1, repetitions: 0, last_line: String::new() };
            events.insert(key, event);
        }
        true
    }

    /// Takes the lines that must be written now: for each event that was repeated and was last
    /// written a minute ago, the line of the last repetition with the number of repetitions. An
    /// event that was not repeated in this time is forgotten.
    pub fn take_due(&self, now: Instant) -> Vec<String> {
        self.take(now, |event| now.duration_since(event.written_at) >= REPORT_INTERVAL)
    }

    /// Like `take_due`, for all events. For the end of the process.
    pub fn take_all(&self, now: Instant) -> Vec<String> {
        self.take(now, |_| true)
    }

    fn take(&self, now: Instant, is_due: impl Fn(&CountedEvent) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        self.lock().retain(|_, event| {
            if !is_due(event) {
                return true;
            }
            if event.repetitions == 0 {
                return false;
            }
            lines.push(add_count(&mem::take(&mut event.last_line), mem::take(&mut event.repetitions), self.is_json));
            event.written_at = now;
            event.written = 1;
            true
        });
        lines
    }
}

fn add_count(line: &str, repeated: u64, is_json: bool) -> String {
    let line = line.trim_end_matches('\n');
    match line.strip_suffix('}').filter(|_| is_json) {
        Some(members) => format!("{members},\"repeated\":{repeated}}}\n"),
        None => format!("{line} repeated={repeated}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(events: &RepeatedEvents, key: &str, now: Instant) -> bool {
        events.must_write(key.to_owned(), &format!("{key} line\n"), 1, now)
    }

    #[test]
    fn some_events_are_written_several_times_a_minute() {
        let (events, start) = (RepeatedEvents::new(false), Instant::now());
        let write = |line: &str, now| events.must_write("a".to_owned(), line, 3, now);
        for turn in 0..5 {
            assert_eq!(write(&format!("{turn}\n"), start), turn < 3, "{turn}");
        }
        let later = start + REPORT_INTERVAL;
        assert_eq!(events.take_due(later), ["4 repeated=2\n"]);
        assert!(write("5\n", later) && write("6\n", later) && !write("7\n", later));
    }

    #[test]
    fn repetitions_are_counted_and_written_once_a_minute() {
        let (events, start) = (RepeatedEvents::new(false), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert!(write(&events, "a", at(0)));
        for second in 1..=37 {
            assert!(!write(&events, "a", at(second)));
        }
        assert!(write(&events, "b", at(30)), "an event with other fields is another event");
        assert_eq!(events.take_due(at(59)), Vec::<String>::new());
        // No further event is needed for the count to be written.
        assert_eq!(events.take_due(at(60)), ["a line repeated=37\n"]);
        assert!(!write(&events, "a", at(61)));
        assert_eq!(events.take_due(at(119)), Vec::<String>::new());
        assert_eq!(events.take_due(at(120)), ["a line repeated=1\n"]);
        assert_eq!(events.take_due(at(180)), Vec::<String>::new(), "it was not repeated");
        assert!(write(&events, "a", at(181)), "it was forgotten");
        assert!(!write(&events, "a", at(182)));
        assert_eq!(events.take_all(at(183)), ["a line repeated=1\n"], "at the end of the process");
    }

    #[test]
    fn last_repetition_is_written_in_the_format_of_the_log() {
        let (events, now) = (RepeatedEvents::new(true), Instant::now());
        assert!(events.must_write("a".to_owned(), "{\"timestamp\":1,\"span\":{}}\n", 1, now));
        assert!(!events.must_write("a".to_owned(), "{\"timestamp\":2,\"span\":{}}\n", 1, now));
        assert_eq!(events.take_all(now), ["{\"timestamp\":2,\"span\":{},\"repeated\":1}\n"]);
    }

    #[test]
    fn memory_is_bounded_and_no_event_is_lost() {
        let (events, now) = (RepeatedEvents::new(false), Instant::now());
        for number in 0..MAX_EVENTS {
            assert!(write(&events, &number.to_string(), now));
        }
        for _ in 0..3 {
            assert!(write(&events, "one too many", now), "it is not counted and therefore written");
        }
        assert!(!write(&events, "0", now));
        let later = now + REPORT_INTERVAL;
        assert_eq!(events.take_due(later), ["0 line repeated=1\n"]);
        assert!(write(&events, "one too many", later) && !write(&events, "one too many", later));
        let long = "x".repeat(MAX_EVENT_SIZE);
        assert!(write(&events, &long, later) && write(&events, &long, later));
    }
}
