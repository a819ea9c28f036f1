//! Clock monitor: compares the database clock with a monotonic clock of this process.

use std::time::Duration;

use crate::domain::common::time::{Span, Timestamp};

/// Readings of the clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub database: Timestamp,
    /// Monotonic time since a moment that is fixed while the process runs.
    pub elapsed: Duration,
    /// Wall clock of the machine on which this process runs.
    pub machine: Timestamp,
}

/// How far the database clock was set since the previous reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jump {
    Forward(Span),
    Back(Span),
}

impl Moment {
    /// Returns the jump since `before` if it exceeds `tolerance`. A process that was suspended and
    /// resumed cannot be distinguished from a jump, and is treated as one.
    pub fn jump_since(self, before: Self, tolerance: Span) -> Option<Jump> {
        let expected = before.database.after(Span::from(self.elapsed.saturating_sub(before.elapsed)));
        jump(expected, self.database, tolerance)
    }

    /// Returns the jump for a process without a previous reading. `last` is the latest time of the
    /// database clock that any replica recorded.
    ///
    /// If `last` is recent, within `tolerance`, the database clock is trusted and the machine clock
    /// is ignored. If `last` is older, the database clock is compared with the machine clock. Which
    /// of the two is wrong cannot be determined, but a delay that only one of them has seen elapse
    /// must not count.
    pub fn jump_before(self, last: Timestamp, tolerance: Span) -> Option<Jump> {
        match jump(last, self.database, tolerance)? {
            Jump::Forward(_) => jump(self.machine, self.database, tolerance),
            back @ Jump::Back(_) => Some(back),
        }
    }
}

fn jump(expected: Timestamp, found: Timestamp, tolerance: Span) -> Option<Jump> {
    let (forward, back) = (found.since(expected), expected.since(found));
    if forward > tolerance {
        Some(Jump::Forward(forward))
    } else if back > tolerance {
        Some(Jump::Back(back))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(database: i64, elapsed: u64) -> Moment {
        let database = Timestamp::from_millis(database);
        Moment { database, elapsed: Duration::from_millis(elapsed), machine: database }
    }

    #[test]
    fn a_jump_is_what_the_other_clock_does_not_know_of() {
        let tolerance = Span::from_millis(100);
        let before = at(1_000, 50);
        for (now, expected) in [
            (at(2_000, 1_050), None),
            (at(2_100, 1_050), None),
            (at(1_900, 1_050), None),
            (at(2_101, 1_050), Some(Jump::Forward(Span::from_millis(101)))),
            (at(1_899, 1_050), Some(Jump::Back(Span::from_millis(101)))),
            (at(0, 50), Some(Jump::Back(Span::from_millis(1_000)))),
        ] {
            assert_eq!(now.jump_since(before, tolerance), expected, "{now:?}");
        }
        assert_eq!(at(5_000, 0).jump_before(Timestamp::from_millis(1_000), tolerance), None);
        let behind = at(500, 0).jump_before(Timestamp::from_millis(1_000), tolerance);
        assert_eq!(behind, Some(Jump::Back(Span::from_millis(500))));
        let ahead = Moment { machine: Timestamp::from_millis(4_000), ..at(5_000, 0) };
        let forward = ahead.jump_before(Timestamp::from_millis(1_000), tolerance);
        assert_eq!(forward, Some(Jump::Forward(Span::from_millis(1_000))));
        for vouched in [4_900, 5_000, 5_100] {
            assert_eq!(ahead.jump_before(Timestamp::from_millis(vouched), tolerance), None, "seen a moment ago");
        }
        let forward = ahead.jump_before(Timestamp::from_millis(4_899), tolerance);
        assert_eq!(forward, Some(Jump::Forward(Span::from_millis(1_000))));
    }
}
