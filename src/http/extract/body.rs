//! Request bodies, read with a size limit and a deadline. actix-web never times out a stalled body.

use std::time::Duration;

use actix_web::{HttpRequest, dev::Payload, error::PayloadError, http::header::CONTENT_TYPE, web::BytesMut};
use futures_util::StreamExt;
use tokio::time::timeout;

/// Time limit for receiving a whole body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a JSON body in bytes. Metadata may take 16 KiB, names and lists the rest.
pub const MAX_JSON_SIZE: usize = 64 * 1024;

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body did not arrive within 5 seconds")]
    TooSlow,
    #[error("the body ended early or cannot be read")]
    Broken,
}

/// Reads a body of at most `limit` bytes within `BODY_TIMEOUT`.
pub async fn read(payload: &mut Payload, limit: usize) -> Result<BytesMut, BodyError> {
    let whole = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| {
                tracing::debug!(%error, "failed to read a body");
                if matches!(error, PayloadError::Overflow) { BodyError::TooLarge(limit) } else { BodyError::Broken }
            })?;
            if body.len() + chunk.len() > limit {
                return Err(BodyError::TooLarge(limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    timeout(BODY_TIMEOUT, whole).await.unwrap_or(Err(BodyError::TooSlow))
}

/// Returns whether the body has this media type, with any parameters.
pub fn has_media_type(request: &HttpRequest, media_type: &str) -> bool {
    let value = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}
