//! How long a peer may keep a connection from writing.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The longest time without any progress.
pub const MAX_STALL: Duration = Duration::from_secs(20);
/// The slowest sustained rate of a reader, in bytes per second.
const MIN_RATE: u32 = 4096;

/// The time for which writes may still stall. Accepted bytes restore it at `MIN_RATE`, up to
/// `MAX_STALL`: a reader that takes a byte now and then runs out of it.
#[derive(Debug)]
pub struct StallBudget {
    left: Duration,
    /// Since when writes stall, with a timer for the end of the budget.
    stall: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Default for StallBudget {
    fn default() -> Self {
        Self { left: MAX_STALL, stall: None }
    }
}

impl StallBudget {
    /// Records that the peer has made room for `bytes`.
    pub fn record_write(&mut self, bytes: usize) {
        if let Some((since, _)) = self.stall.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        let earned = Duration::from_secs(1) * u32::try_from(bytes).unwrap_or(u32::MAX) / MIN_RATE;
        self.left = self.left.saturating_add(earned).min(MAX_STALL);
    }

    /// Must be called when a write cannot proceed. Returns `Ready` when the budget is spent.
    pub fn poll_spent(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let left = self.left;
        let (_, timer) = self.stall.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(sleep_until(now + left)))
        });
        timer.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use futures_util::FutureExt;

    use super::*;

    /// Writes `bytes` after each stall of `pause`, and returns how many bytes were written before
    /// the budget was spent; at most `turns` times.
    async fn write_slowly(bytes: usize, pause: Duration, turns: usize) -> usize {
        let mut budget = StallBudget::default();
        for turn in 0..turns {
            let spent = poll_fn(|context| budget.poll_spent(context));
            if tokio::time::timeout(pause, spent).await.is_ok() {
                return turn * bytes;
            }
            budget.record_write(bytes);
        }
        turns * bytes
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_below_the_minimum_rate_runs_out_of_time() {
        let started = Instant::now();
        assert_eq!(write_slowly(1, Duration::from_secs(60), 100).await, 0);
        assert_eq!(started.elapsed().as_secs(), 20, "no progress at all");
        let started = Instant::now();
        let written = write_slowly(1, Duration::from_secs(1), 100).await;
        assert_eq!((written, started.elapsed().as_secs()), (20, 20), "a byte a second");
        assert_eq!(write_slowly(4096, Duration::from_millis(999), 1000).await, 4_096_000, "at the minimum rate");
    }

    #[tokio::test(start_paused = true)]
    async fn time_between_responses_does_not_count() {
        let mut budget = StallBudget::default();
        assert!(poll_fn(|context| budget.poll_spent(context)).now_or_never().is_none());
        tokio::time::advance(Duration::from_secs(15)).await;
        budget.record_write(1);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(poll_fn(|context| budget.poll_spent(context)).now_or_never().is_none(), "5 seconds are left");
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(poll_fn(|context| budget.poll_spent(context)).now_or_never().is_some());
    }
}
