//! The log writer: a bounded queue of lines, and a thread that writes them. A full disk, a reader
//! that has gone and a reader that does not read affect that thread alone (invariant 18).
//!
//! This is not `tracing-appender`, which does not count the lines that could not be written, and
//! prints to standard output, which can block as well, when the queue is full at the exit.

use std::{
    io::{self, ErrorKind, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::time::Instant;
use tracing_subscriber::fmt::MakeWriter;

use crate::telemetry::repeats::RepeatedEvents;

/// Maximum number of waiting lines. They take a few megabytes.
const QUEUE_CAPACITY: usize = 8192;
/// Interval at which the thread looks for counts of repeated events that are due.
const REPEATS_INTERVAL: Duration = Duration::from_secs(1);
/// Pause before the next attempt to write to a descriptor in non-blocking mode.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
const FLUSH_POLL_INTERVAL: Duration = Duration::from_millis(2);

#[derive(Debug, Default)]
struct LineCounts {
    /// Lines in the queue, and the one that is being written.
    pending: AtomicU64,
    dropped: AtomicU64,
}

/// The queue of the log.
#[derive(Debug, Clone)]
pub struct LogWriter {
    queue: SyncSender<Vec<u8>>,
    counts: Arc<LineCounts>,
}

impl LogWriter {
    /// Starts the thread, which also writes the counts of repeated events.
    pub fn start(output: impl Write + Send + 'static, repeats: Arc<RepeatedEvents>) -> Self {
        let (queue, lines) = sync_channel(QUEUE_CAPACITY);
        let counts = Arc::<LineCounts>::default();
        let log_thread = WriterThread { lines, counts: Arc::clone(&counts), output, is_line_incomplete: false };
        // Without the thread, every line is dropped and counted.
        let _ = thread::Builder::new().name("log".to_owned()).spawn(move || log_thread.run(&repeats));
        Self { queue, counts }
    }

    /// Adds a line to the queue, or drops and counts it if the queue is full. Never waits.
    pub fn submit(&self, line: Vec<u8>) {
        self.counts.pending.fetch_add(1, Ordering::AcqRel);
        if self.queue.try_send(line).is_err() {
            self.counts.pending.fetch_sub(1, Ordering::AcqRel);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of lines that were dropped because the queue was full or because they
    /// could not be written.
    pub fn count_dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Waits until the waiting lines are written, for `timeout` at most.
    pub fn wait_until_written(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        while self.counts.pending.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            thread::sleep(FLUSH_POLL_INTERVAL);
        }
    }
}

impl Write for &LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.submit(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

struct WriterThread<W> {
    lines: Receiver<Vec<u8>>,
    counts: Arc<LineCounts>,
    output: W,
    /// Whether the output ends with a part of a line whose rest could not be written.
    is_line_incomplete: bool,
}

impl<W: Write> WriterThread<W> {
    fn run(mut self, repeats: &RepeatedEvents) {
        let mut checked_at = Instant::now();
        loop {
            match self.lines.recv_timeout(REPEATS_INTERVAL) {
                Ok(line) => {
                    self.write_or_drop(&line);
                    self.counts.pending.fetch_sub(1, Ordering::AcqRel);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            if now.duration_since(checked_at) >= REPEATS_INTERVAL {
                checked_at = now;
                for line in repeats.take_due(now) {
                    self.write_or_drop(line.as_bytes());
                }
            }
        }
    }

    fn write_or_drop(&mut self, line: &[u8]) {
        if self.write_line(line).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_line_incomplete {
            self.write_bytes(b"\n")?;
        }
        self.write_bytes(line)
    }

    fn write_bytes(&mut self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match self.output.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest = &rest[count..];
                    self.is_line_incomplete = !rest.is_empty();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_PAUSE),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Mutex};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// What each call of `write` does: it accepts that many bytes, or fails. Further calls accept
    /// everything.
    #[derive(Clone, Default)]
    struct Output {
        written: Arc<Mutex<Vec<u8>>>,
        answers: Arc<Mutex<VecDeque<Result<usize, ErrorKind>>>>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let answer = self.answers.lock().unwrap().pop_front();
            let count = answer.unwrap_or(Ok(bytes.len()))?;
            self.written.lock().unwrap().write(&bytes[..count])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(output: impl Write + Send + 'static) -> LogWriter {
        LogWriter::start(output, Arc::new(RepeatedEvents::new(false)))
    }

    #[test]
    fn lines_that_fail_are_counted_and_the_next_ones_are_written_whole() {
        let output = Output::default();
        let answers = [Ok(3), Err(ErrorKind::StorageFull), Err(ErrorKind::BrokenPipe), Err(ErrorKind::Interrupted)];
        output.answers.lock().unwrap().extend(answers.into_iter().chain([Err(ErrorKind::WouldBlock), Ok(1), Ok(2)]));
        let writer = start(output.clone());
        for line in ["first\n", "second\n", "third\n", "fourth\n"] {
            writer.submit(line.as_bytes().to_vec());
        }
        writer.wait_until_written(LONG);
        assert_eq!(String::from_utf8(output.written.lock().unwrap().clone()).unwrap(), "fir\nthird\nfourth\n");
        assert_eq!(writer.count_dropped(), 2);
    }

    /// An output that waits until it is released.
    struct BlockedOutput(std::sync::mpsc::Receiver<()>);

    impl Write for BlockedOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn reader_that_does_not_read_blocks_nothing_and_lines_beyond_the_queue_are_counted() {
        let (release, released) = std::sync::mpsc::channel();
        let writer = start(BlockedOutput(released));
        for _ in 0..QUEUE_CAPACITY + 10 {
            (&writer).write_all(b"a line\n").unwrap();
        }
        // The thread may have taken one line from the queue.
        assert!((9..=10).contains(&writer.count_dropped()), "{}", writer.count_dropped());
        let started = Instant::now();
        writer.wait_until_written(Duration::from_millis(20));
        assert!(started.elapsed() < LONG / 2, "the wait has a limit");
        drop(release);
        writer.wait_until_written(LONG);
        assert_eq!(writer.counts.pending.load(Ordering::Acquire), 0);
    }
}
