//! Points in time and spans between them. The current time is that of the database, and is passed
//! as an argument.

use std::{fmt, str::FromStr, time::Duration};

use chrono::{DateTime, Datelike, SecondsFormat, Utc};

use crate::domain::common::text::impl_serde_as_text;

/// A point in time in milliseconds since 1970-01-01T00:00:00Z; RFC 3339 in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Later than every point in time of the API.
    pub const MAX: Self = Self(i64::MAX);

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Returns whole seconds, rounded down: a `NumericDate` without a fraction, because some
    /// verifiers reject fractions (RFC 7519 §2).
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    pub fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.millis()))
    }

    pub fn minus(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.millis()))
    }

    /// Returns the span from `earlier` to `self`; zero if `earlier` is later.
    pub fn elapsed_since(self, earlier: Self) -> Span {
        Span::from_millis(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::from_timestamp_millis(self.0) {
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true)),
            None => write!(f, "{} ms", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTime;
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let millis = DateTime::parse_from_rfc3339(text).map_err(|_| InvalidTime)?.timestamp_millis();
        // An offset or a leap second can lead to a year that RFC 3339 cannot express.
        let year = DateTime::from_timestamp_millis(millis).ok_or(InvalidTime)?.year();
        if (0..=9999).contains(&year) { Ok(Self(millis)) } else { Err(InvalidTime) }
    }
}

/// Returned for a text that is not a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give a time as RFC 3339, such as 2030-01-31T12:00:00Z")]
pub struct InvalidTime;

/// A duration, written as `10m`, `24h` or `1h 30m`; never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

impl Span {
    pub const ZERO: Self = Self(Duration::ZERO);

    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    pub const fn duration(self) -> Duration {
        self.0
    }

    pub const fn as_secs(self) -> u64 {
        self.0.as_secs()
    }

    /// Rounds up, for `Retry-After`: a client that waits for this time is not too early.
    pub const fn as_secs_rounded_up(self) -> u64 {
        self.0.as_secs() + if self.0.subsec_nanos() > 0 { 1 } else { 0 }
    }

    pub fn millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl std::ops::Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;
    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let span = humantime::parse_duration(text).map_err(|_| InvalidSpan)?;
        // A century exceeds every duration that is needed, and keeps sums of a few spans within the
        // range of the calendar.
        if span > Duration::from_secs(100 * 366 * 24 * 3600) { Err(InvalidSpan) } else { Ok(Self(span)) }
    }
}

/// Returned for a text that is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give a length of time such as 30s, 10m, 24h or 90d, at most 100 years")]
pub struct InvalidSpan;

impl_serde_as_text!(Timestamp);
impl_serde_as_text!(Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_if_rfc_3339_can_express_it_in_utc() {
        for (text, written) in [
            ("2030-01-31T12:00:00+02:00", "2030-01-31T10:00:00.000Z"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z"),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!(time.to_string(), written);
            assert_eq!(written.parse(), Ok(time));
        }
        for text in ["0000-01-01T00:00:00+00:01", "9999-12-31T23:59:60Z", "9999-12-31T23:59:00-00:01", "2030-01-31"] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTime), "{text}");
        }
    }
}
