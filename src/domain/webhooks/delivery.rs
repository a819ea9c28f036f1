//! Deliveries of events to webhooks: when an attempt is repeated, and when a delivery has failed.

use chrono::DateTime;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::common::{
    id::{DeliveryId, EventId, WebhookId},
    text::text_enum,
    time::{Span, Timestamp},
};

/// The delivery of one event to one webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Delivery {
    pub id: DeliveryId,
    #[serde(skip)]
    pub webhook_id: WebhookId,
    pub event_id: EventId,
    #[serde(rename = "event_seq")]
    pub event_sequence_number: i64,
    pub event_type: String,
    pub state: DeliveryState,
    // Number of attempts that were started.
    pub attempts: i32,
    // `None` if there is no next attempt.
    pub next_attempt_at: Option<Timestamp>,
    /// Lease of the attempt in progress: no other worker starts an attempt before this time.
    #[serde(skip)]
    pub leased_until: Option<Timestamp>,
    // Status of the response to the last attempt, if there was a response; `None` during an
    // attempt.
    pub last_status: Option<u16>,
    // Why the last attempt failed, without any text from the receiver; `None` during an attempt.
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

text_enum! {
    /// State of a delivery.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum DeliveryState {
        Waiting = "waiting",
        Delivered = "delivered",
        /// The last attempt failed.
        Failed = "failed",
    }
}

/// Delays in seconds after each failed attempt: from 5 seconds up to 16 hours, three days in total.
const RETRY_DELAYS: [u64; 13] =
    [5, 30, 2 * 60, 10 * 60, 30 * 60, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 12 * 3600, 12 * 3600, 16 * 3600, 16 * 3600];

/// Maximum number of attempts of a delivery.
pub const MAX_ATTEMPTS: i32 = 14;

/// Maximum delay that a receiver can request with `Retry-After`.
const MAX_RETRY_AFTER: Span = Span::from_secs(24 * 3600);

/// Returns the delay after `attempts` attempts, or `None` after the last one. `jitter` varies it by
/// up to a fifth in both directions, so that deliveries that failed together are not retried
/// together.
pub fn retry_delay(attempts: i32, jitter: u16) -> Option<Span> {
    let position = usize::try_from(attempts - 1).ok()?;
    let seconds = RETRY_DELAYS.get(position)?;
    let per_mille = 800 + u64::from(jitter) * 400 / u64::from(u16::MAX);
    Some(Span::from_millis(seconds * per_mille))
}

/// Result of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptResult {
    Response {
        status: u16,
        /// Value of `Retry-After`.
        retry_after: Option<Span>,
    },
    /// No response was received, or no connection was allowed.
    NoResponse,
}

/// Consequence of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryDecision {
    Delivered,
    /// Retry after this time. With `pause`, nothing else is sent to the webhook before that time.
    Retry {
        after: Span,
        pause: bool,
    },
    /// The receiver accepts no more events, permanently.
    ReceiverGone,
    /// That was the last attempt.
    RetriesExhausted,
}

/// Evaluates attempt number `attempts`. A redirect is a failure like any other: it is not
/// followed.
pub fn decide(attempt: AttemptResult, attempts: i32, jitter: u16) -> DeliveryDecision {
    let (pause, requested) = match attempt {
        AttemptResult::Response { status: 200..=299, .. } => return DeliveryDecision::Delivered,
        AttemptResult::Response { status: 410, .. } => return DeliveryDecision::ReceiverGone,
        AttemptResult::Response { status: 429 | 502 | 503 | 504, retry_after } => {
            (true, retry_after.unwrap_or(Span::ZERO))
        }
        AttemptResult::Response { .. } | AttemptResult::NoResponse => (false, Span::ZERO),
    };
    match retry_delay(attempts, jitter) {
        Some(delay) => DeliveryDecision::Retry { after: delay.max(requested.min(MAX_RETRY_AFTER)), pause },
        None => DeliveryDecision::RetriesExhausted,
    }
}

/// Parses `Retry-After` (RFC 9110 §10.2.3): seconds or a date.
pub fn parse_retry_after(text: &str, now: Timestamp) -> Option<Span> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Span::from_secs(u64::from(seconds)));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some(Timestamp::from_millis(date.timestamp_millis()).elapsed_since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wh_05_attempts_go_on_for_three_days() {
        assert_eq!(usize::try_from(MAX_ATTEMPTS).unwrap(), RETRY_DELAYS.len() + 1);
        let total = |jitter: u16| -> u64 {
            (1..MAX_ATTEMPTS).map(|attempts| retry_delay(attempts, jitter).unwrap().as_secs()).sum()
        };
        let day = 24 * 3600;
        assert!((2 * day..=4 * day).contains(&total(0)) && (2 * day..=4 * day).contains(&total(u16::MAX)));
        assert!((3 * day - 3600..=3 * day + 3600).contains(&total(u16::MAX / 2)), "{}", total(u16::MAX / 2));
        assert_eq!(retry_delay(MAX_ATTEMPTS, 0), None);
        assert_eq!(retry_delay(1, 0), Some(Span::from_secs(4)));
        assert_eq!(retry_delay(1, u16::MAX), Some(Span::from_secs(6)));
    }

    #[test]
    fn wh_05_an_answer_decides_what_follows() {
        let answered = |status: u16, retry_after: Option<u64>| AttemptResult::Response {
            status,
            retry_after: retry_after.map(Span::from_secs),
        };
        let again = |after: u64, pause: bool| DeliveryDecision::Retry { after: Span::from_secs(after), pause };
        for (attempt, decision) in [
            (answered(200, None), DeliveryDecision::Delivered),
            (answered(204, None), DeliveryDecision::Delivered),
            (answered(299, None), DeliveryDecision::Delivered),
            (answered(301, None), again(4, false)),
            (answered(307, Some(60)), again(4, false)),
            (answered(400, None), again(4, false)),
            (answered(410, None), DeliveryDecision::ReceiverGone),
            (answered(429, None), again(4, true)),
            (answered(429, Some(60)), again(60, true)),
            (answered(429, Some(1)), again(4, true)),
            (answered(502, Some(90)), again(90, true)),
            (answered(503, Some(4_000_000_000)), again(24 * 3600, true)),
            (answered(504, None), again(4, true)),
            (answered(500, Some(60)), again(4, false)),
            (AttemptResult::NoResponse, again(4, false)),
        ] {
            assert_eq!(decide(attempt, 1, 0), decision, "{attempt:?}");
        }
        assert_eq!(decide(answered(503, Some(1)), MAX_ATTEMPTS, 0), DeliveryDecision::RetriesExhausted);
        assert_eq!(decide(answered(200, None), MAX_ATTEMPTS, 0), DeliveryDecision::Delivered);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
            ("1.5", None),
        ] {
            assert_eq!(parse_retry_after(text, now), seconds.map(Span::from_secs), "{text}");
        }
    }
}
