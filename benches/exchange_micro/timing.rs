//! Timing in plain loops. Interference only makes a batch slower, so the fastest batch is shown
//! beside the median.

use std::{
    fmt,
    hint::black_box,
    time::{Duration, Instant},
};

/// Long enough to be timed accurately, and short enough that some batches are not interrupted.
const BATCH: Duration = Duration::from_millis(10);
const BATCHES: usize = 51;

/// The results.
pub struct Table {
    /// A filter: only parts whose names contain it are measured.
    wanted: String,
    /// The name of each part, and the times of its batches in ascending order, in nanoseconds per
    /// call.
    rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    pub const fn new(wanted: String) -> Self {
        Self { wanted, rows: Vec::new() }
    }

    pub fn wants(&self, name: &str) -> bool {
        name.contains(&self.wanted)
    }

    pub async fn time<T>(&mut self, name: &str, mut part: impl AsyncFnMut() -> T) {
        if !self.wants(name) {
            return;
        }
        let mut count = 1;
        let mut batch = async |count: u32| {
            let started = Instant::now();
            for _ in 0..count {
                black_box(part().await);
            }
            started.elapsed()
        };
        // The batches that determine the count also warm up the caches.
        while batch(count).await < BATCH {
            count *= 2;
        }
        let mut times = Vec::with_capacity(BATCHES);
        for _ in 0..BATCHES {
            times.push(batch(count).await.as_secs_f64() * 1e9 / f64::from(count));
        }
        times.sort_by(f64::total_cmp);
        eprintln!("{name}: {:.0} ns", times[BATCHES / 2]);
        self.rows.push((name.to_owned(), times));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("| part | median (ns) | fastest (ns) |\n|---|--:|--:|\n")?;
        for (name, times) in &self.rows {
            writeln!(f, "| {name} | {:.0} | {:.0} |", times[BATCHES / 2], times[0])?;
        }
        Ok(())
    }
}
