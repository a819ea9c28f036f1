//! Schedule of the expiry notifications of a key: several before it expires, and one when it has
//! expired.

use crate::domain::common::time::{Span, Timestamp};

/// The number of days that denotes the notification of the expiration itself.
pub const EXPIRED_DAYS: i32 = 0;

/// The schedule. Each entry holds the days of the previous notification (`None` if none was sent)
/// and the days before the expiration of the next one. The last entry is the expiration itself.
pub const NOTIFICATION_SCHEDULE: [(Option<i32>, i32); 4] =
    [(None, 14), (Some(14), 7), (Some(7), 1), (Some(1), EXPIRED_DAYS)];

/// Returns the days of the notification that is due at `now` for a key that expires at `end`, or
/// `None` if it is too early for any. If several notifications are overdue, only the last one is
/// returned: the earlier ones are no longer true.
pub fn due_notification_days(end: Timestamp, now: Timestamp) -> Option<i32> {
    NOTIFICATION_SCHEDULE.into_iter().map(|(_, days)| days).rev().find(|days| end <= notification_horizon(*days, now))
}

/// Returns the latest expiration time for which the notification of `days` days is due at `now`.
pub fn notification_horizon(days: i32, now: Timestamp) -> Timestamp {
    now.plus(Span::from_secs(u64::from(days.unsigned_abs()) * 24 * 3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_notification_has_its_time() {
        let end = Timestamp::from_millis(100 * 24 * 3_600_000);
        let hours_before = |hours: u64| due_notification_days(end, end.minus(Span::from_secs(hours * 3600)));
        assert_eq!(hours_before(15 * 24), None);
        assert_eq!(hours_before(14 * 24), Some(14));
        assert_eq!(hours_before(8 * 24), Some(14));
        assert_eq!(hours_before(7 * 24), Some(7));
        assert_eq!(hours_before(25), Some(7));
        assert_eq!(hours_before(24), Some(1));
        assert_eq!(due_notification_days(end, end.minus(Span::from_millis(1))), Some(1));
        assert_eq!(due_notification_days(end, end), Some(EXPIRED_DAYS));
    }
}
