//! When the end of a key is told of: a few times before, and once it has come.

use super::time::{Span, Timestamp};

/// In the place of days: the end itself has been told of, whichever it was.
pub const ENDED: i32 = 0;

/// How many days before the end, and how many when the last notice was given; the end itself is the last.
pub const STEPS: [(Option<i32>, i32); 4] = [(None, 14), (Some(14), 7), (Some(7), 1), (Some(1), ENDED)];

/// The notice that is due `now` for what ends at `end`; nothing while it is too early for any. Whoever was away for several is given
/// the last of them alone: the others are no longer true.
pub fn due(end: Timestamp, now: Timestamp) -> Option<i32> {
    STEPS.into_iter().map(|(_, days)| days).rev().find(|days| end <= reach(*days, now))
}

/// What ends by then is told of so many days ahead.
pub fn reach(days: i32, now: Timestamp) -> Timestamp {
    now.after(Span::from_secs(u64::from(days.unsigned_abs()) * 24 * 3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_notice_has_its_time() {
        let end = Timestamp::from_millis(100 * 24 * 3_600_000);
        let hours_before = |hours: u64| due(end, end.before(Span::from_secs(hours * 3600)));
        assert_eq!(hours_before(15 * 24), None);
        assert_eq!(hours_before(14 * 24), Some(14));
        assert_eq!(hours_before(8 * 24), Some(14));
        assert_eq!(hours_before(7 * 24), Some(7));
        assert_eq!(hours_before(25), Some(7));
        assert_eq!(hours_before(24), Some(1));
        assert_eq!(due(end, end.before(Span::from_millis(1))), Some(1));
        assert_eq!(due(end, end), Some(ENDED));
    }
}
