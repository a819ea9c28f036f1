//! Periods for counting usage: minutes for the exchange limit of a key, days for the usage of a
//! key, hours for the statistics of the deployment. Uses of a credential on one day.

use std::fmt;

use chrono::DateTime;

use crate::domain::common::time::{Span, Timestamp};

const MILLIS_PER_MINUTE: i64 = 60_000;
const MILLIS_PER_HOUR: i64 = 60 * MILLIS_PER_MINUTE;
const MILLIS_PER_DAY: i64 = 24 * MILLIS_PER_HOUR;

/// Returns the number of the minute that contains a time, counted since 1970-01-01 UTC.
pub const fn minute_number(at: Timestamp) -> i64 {
    at.millis().div_euclid(MILLIS_PER_MINUTE)
}

/// State of a key's limit of exchanges per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitWindow {
    pub limit: u32,
    /// Number of exchanges left in the current minute.
    pub remaining: u32,
    /// Time until the next minute begins.
    pub resets_in: Span,
}

impl RateLimitWindow {
    /// Creates the state for `remaining` exchanges of `limit` in the minute of `now`.
    pub fn at(now: Timestamp, limit: u32, remaining: u32) -> Self {
        let elapsed = now.millis().rem_euclid(MILLIS_PER_MINUTE);
        Self { limit, remaining, resets_in: Span::from_millis((MILLIS_PER_MINUTE - elapsed).unsigned_abs()) }
    }
}

macro_rules! define_period {
    ($(#[$meta:meta])* $type:ident, $millis:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(i64);

        impl $type {
            pub const fn of(at: Timestamp) -> Self {
                Self(at.millis().div_euclid($millis))
            }

            pub const fn from_number(number: i64) -> Self {
                Self(number)
            }

            pub const fn number(self) -> i64 {
                self.0
            }

            /// Returns the period that began `count` periods earlier.
            pub const fn minus(self, count: i64) -> Self {
                Self(self.0.saturating_sub(count))
            }

            pub const fn start_time(self) -> Timestamp {
                Timestamp::from_millis(self.0.saturating_mul($millis))
            }
        }
    };
}

define_period! {
    /// An hour in UTC, counted since 1970-01-01. In the API it is the time at which it begins.
    UtcHour, MILLIS_PER_HOUR
}

define_period! {
    /// A day in UTC, counted since 1970-01-01; written as `2030-01-31`.
    UtcDay, MILLIS_PER_DAY
}

impl fmt::Display for UtcDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_millis(self.start_time().millis()) {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%d")),
            None => write!(f, "day {}", self.0),
        }
    }
}

impl serde::Serialize for UtcDay {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Uses of a credential on one day, which is the day of the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CredentialUses {
    pub last_used_at: Timestamp,
    /// Uses that count. A use that does not count changes the time only.
    pub uses: i64,
}

impl CredentialUses {
    pub const fn day(self) -> UtcDay {
        UtcDay::of(self.last_used_at)
    }

    /// Adds other uses of the credential. If they are of another day, the later day is kept, and
    /// the uses of the earlier day are returned.
    pub fn merge(&mut self, other: Self) -> Option<(UtcDay, i64)> {
        if self.day() == other.day() {
            self.last_used_at = self.last_used_at.max(other.last_used_at);
            self.uses += other.uses;
            return None;
        }
        let earlier = if self.day() < other.day() { std::mem::replace(self, other) } else { other };
        (earlier.uses > 0).then(|| (earlier.day(), earlier.uses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn p13_a_day_is_one_of_utc() {
        assert_eq!(UtcDay::of(at("2026-11-22T23:59:59.999Z")).to_string(), "2026-11-22");
        assert_eq!(UtcDay::of(at("2026-11-23T00:00:00Z")).to_string(), "2026-11-23");
        assert_eq!(UtcDay::of(at("2026-11-23T01:00:00+02:00")).to_string(), "2026-11-22");
        assert_eq!(UtcDay::of(at("2027-03-01T00:00:00Z")).minus(1).to_string(), "2027-02-28");
    }

    #[test]
    fn p13_a_window_ends_with_the_minute() {
        assert_eq!(RateLimitWindow::at(at("2026-11-22T10:00:00Z"), 10, 3).resets_in, Span::from_secs(60));
        assert_eq!(RateLimitWindow::at(at("2026-11-22T10:00:59.999Z"), 10, 3).resets_in, Span::from_millis(1));
        assert_eq!(minute_number(at("2026-11-22T10:00:59.999Z")) + 1, minute_number(at("2026-11-22T10:01:00Z")));
    }
    #[test]
    fn p13_uses_of_two_days_are_kept_apart() {
        let uses = |text: &str, uses| CredentialUses { last_used_at: at(text), uses };
        let (before, after) = (uses("2026-11-22T23:59:59.999Z", 2), uses("2026-11-23T00:00:00Z", 3));
        for (first, second) in [(before, after), (after, before)] {
            let mut merged = first;
            assert_eq!(merged.merge(second), Some((before.day(), 2)));
            assert_eq!(merged, after);
        }
        let mut merged = after;
        assert_eq!(merged.merge(uses("2026-11-22T10:00:00Z", 0)), None, "a use that does not count");
        assert_eq!(merged.merge(uses("2026-11-23T10:00:00Z", 0)), None);
        assert_eq!(merged.merge(uses("2026-11-23T09:00:00Z", 1)), None);
        assert_eq!(merged, uses("2026-11-23T10:00:00Z", 4));
    }
}
