//! Error responses: a status, headers, and a body in the format of the operation.

use std::fmt::{self, Debug, Display};

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER},
    },
};
use serde::Serialize;

use crate::{
    domain::{
        common::time::Span,
        exchange::{refusal::TargetError, usage::RateLimitWindow},
    },
    http::exchange::rate_limit,
    service::Conflict,
};

/// The error format of a handler.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ErrorFormat {
    /// The handler cannot fail.
    #[default]
    None,
    Problems,
    Oauth,
}

/// The body of an error response. Its text is for the log.
pub trait ErrorBody: Serialize + Debug + Display {
    const FORMAT: ErrorFormat;
    const CONTENT_TYPE: &'static str;
}

/// An error response that states the cause and the remedy.
#[derive(Debug, Clone)]
pub struct ErrorResponse<B> {
    pub body: B,
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    closes_connection: bool,
}

impl<B> ErrorResponse<B> {
    pub const fn with_body(status: StatusCode, body: B) -> Self {
        Self { body, status, headers: Vec::new(), closes_connection: false }
    }

    pub fn with(mut self, name: HeaderName, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// Closes the connection, because the rest of the body would be read as the next request
    /// (RFC 9112 §9.3).
    pub fn closing(self) -> Self {
        Self { closes_connection: true, ..self }
    }

    /// States when a source with too many failures, or an owner with too many changes, may try
    /// again.
    pub fn throttled_for(self, span: Span) -> Self {
        self.with(RETRY_AFTER, span.as_secs_rounded_up().max(1))
    }

    /// States when the rate limit of the key is reset.
    pub fn limited_by(self, window: &RateLimitWindow) -> Self {
        let response = self.with(RETRY_AFTER, window.resets_in.as_secs_rounded_up());
        rate_limit::headers(window).into_iter().fold(response, |response, (name, value)| response.with(name, value))
    }
}

impl<B: ErrorBody> Display for ErrorResponse<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.body, f)
    }
}

impl<B: ErrorBody> ResponseError for ErrorResponse<B> {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((CONTENT_TYPE, B::CONTENT_TYPE)).insert_header((CACHE_CONTROL, "no-store"));
        for (name, value) in &self.headers {
            response.insert_header((name, value.as_str()));
        }
        if self.closes_connection {
            response.force_close();
        }
        response.json(&self.body)
    }
}

pub const THROTTLED: &str = "the credential is not accepted, and too many attempts have failed; check the credential and retry after Retry-After";
pub const LIMITED: &str = "the key has spent its exchanges of this minute; keep a token until it expires, and wait as long as Retry-After says";
pub const INTERNAL: &str = "the cause is in the log, under the id in the X-Request-Id header";

const ROW_ALTERED: &str = "the object was altered outside of Keyswap and is refused: ask an operator of the server";
const ROW_OLDER: &str =
    "an older version of the object was put back outside of Keyswap and is not changed: ask an operator of the server";

/// Describes a conflict to a client. For a row that was altered, the remedy is a command on the
/// server. Only the log names it, because a client of any owner can cause the error.
pub fn describe_conflict(conflict: &Conflict) -> String {
    let description = if matches!(conflict, Conflict::RowAltered { .. }) {
        ROW_ALTERED
    } else if matches!(conflict, Conflict::RowOlder { .. }) {
        ROW_OLDER
    } else {
        return conflict.to_string();
    };
    tracing::error!(
        %conflict,
        "refused a change of a row that was altered outside of Keyswap; run `keyswap integrity list`"
    );
    description.to_owned()
}

pub fn describe_lifetime(longest: Span) -> String {
    format!("expires_in may be {} seconds at most for this key and these audiences", longest.as_secs())
}

pub fn describe_token_size(max_size: usize) -> String {
    format!(
        "the token would be larger than {max_size} bytes (tokens.max_size): request a smaller scope or fewer audiences, or shorten the \
         access records of the key"
    )
}

pub const fn describe_target_error(error: TargetError) -> &'static str {
    match error {
        TargetError::TooMany => "too many audiences and resources",
        TargetError::ProfileMismatch => "the token profiles of these audiences differ: request one at a time",
        TargetError::Claims => {
            "the claims that the audience takes from metadata are longer than 4096 bytes: shorten the metadata"
        }
        TargetError::AuthorizationDetailsTooLarge => {
            "the authorization_details of the token, with the claims taken from metadata, are longer than 4096 bytes: shorten the access \
             records of the key"
        }
        TargetError::Unknown | TargetError::NotAllowed => {
            "the audience or resource does not exist, or the key may not be used for it"
        }
    }
}
