//! Whether the database's clock goes as a clock does: beside it runs one of this process that nobody can set.

use std::time::Duration;

use crate::domain::time::{Span, Timestamp};

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub database: Timestamp,
    /// Since some moment that stays the same while the process runs.
    pub elapsed: Duration,
    /// What the machine of this process takes for the time.
    pub machine: Timestamp,
}

/// How far the database's clock was set since the look before this one, when it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jump {
    Forward(Span),
    Back(Span),
}

impl Moment {
    /// A jump of more than `tolerance` since `before`. A process that was stopped and woken looks like one, and is taken for one.
    pub fn jump_since(self, before: Self, tolerance: Span) -> Option<Jump> {
        let expected = before.database.after(Span::from(self.elapsed.saturating_sub(before.elapsed)));
        jump(expected, self.database, tolerance)
    }

    /// As `jump_since`, for a process that has not looked before: somebody looked when it was `last`. Where that was a moment ago, they vouch for
    /// the clock, and what this machine takes for the time says nothing. Where it was longer ago, the machine's clock must do: which of two
    /// clocks is wrong nobody can tell; a wait that one of them would fake must not count.
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
