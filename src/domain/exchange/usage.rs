//! Periods for counting usage: minutes for the exchange limit of a key, days for the usage of a
//! key, hours for the statistics of the deployment.

use std::fmt;

use chrono::DateTime;

use crate::domain::common::time::{Span, Timestamp};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Returns the number of the minute that contains a time, counted since 1970-01-01 UTC.
pub const fn minute_of(at: Timestamp) -> i64 {
    at.millis().div_euclid(MINUTE)
}

/// State of a key's limit of exchanges per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub limit: u32,
    /// Number of exchanges left in the current minute.
    pub left: u32,
    /// Time until the next minute begins.
    pub reset: Span,
}

impl Window {
    /// Creates the state for `left` exchanges of `limit` in the minute of `now`.
    pub fn at(now: Timestamp, limit: u32, left: u32) -> Self {
        let gone = now.millis().rem_euclid(MINUTE);
        Self { limit, left, reset: Span::from_millis((MINUTE - gone).unsigned_abs()) }
    }
}

/// An hour in UTC, counted since 1970-01-01. In the API it is the time at which it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(i64);

impl Hour {
    pub const fn of(at: Timestamp) -> Self {
        Self(at.millis().div_euclid(HOUR))
    }

    pub const fn from_number(number: i64) -> Self {
        Self(number)
    }

    pub const fn number(self) -> i64 {
        self.0
    }

    pub const fn before(self, hours: i64) -> Self {
        Self(self.0.saturating_sub(hours))
    }

    pub const fn begins(self) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_mul(HOUR))
    }
}

/// A day in UTC, counted since 1970-01-01; written as `2030-01-31`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

impl Day {
    pub const fn of(at: Timestamp) -> Self {
        Self(at.millis().div_euclid(DAY))
    }

    pub const fn from_number(number: i64) -> Self {
        Self(number)
    }

    pub const fn number(self) -> i64 {
        self.0
    }

    pub const fn before(self, days: i64) -> Self {
        Self(self.0.saturating_sub(days))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_millis(self.0.saturating_mul(DAY)) {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%d")),
            None => write!(f, "day {}", self.0),
        }
    }
}

impl serde::Serialize for Day {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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
        assert_eq!(Day::of(at("2026-11-22T23:59:59.999Z")).to_string(), "2026-11-22");
        assert_eq!(Day::of(at("2026-11-23T00:00:00Z")).to_string(), "2026-11-23");
        assert_eq!(Day::of(at("2026-11-23T01:00:00+02:00")).to_string(), "2026-11-22");
        assert_eq!(Day::of(at("2027-03-01T00:00:00Z")).before(1).to_string(), "2027-02-28");
    }

    #[test]
    fn p13_a_window_ends_with_the_minute() {
        assert_eq!(Window::at(at("2026-11-22T10:00:00Z"), 10, 3).reset, Span::from_secs(60));
        assert_eq!(Window::at(at("2026-11-22T10:00:59.999Z"), 10, 3).reset, Span::from_millis(1));
        assert_eq!(minute_of(at("2026-11-22T10:00:59.999Z")) + 1, minute_of(at("2026-11-22T10:01:00Z")));
    }
}
