//! Response bodies. Large ones are sent in pieces: actix-http copies a whole piece of a body into
//! the buffer of its connection, so that every slow reader of a large document would hold a copy.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    web::Bytes,
};

use tracing::Span;

use crate::{http::connection::registry::HandlingGuard, telemetry::panics::catch_panic};

/// The size of the pieces, in bytes.
const CHUNK_SIZE: usize = 16 * 1024;

/// A body that is sent in pieces. All responses with the same document share its bytes.
#[derive(Debug)]
struct ChunkedBytes {
    rest: Bytes,
}

impl MessageBody for ChunkedBytes {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let size = self.rest.len().min(CHUNK_SIZE);
        Poll::Ready(Some(Ok(self.rest.split_to(size))))
    }
}

/// A body that is produced while it is sent. Its request is being handled until it ends.
struct StreamedBody {
    inner: BoxBody,
    span: Span,
    _handling: Option<HandlingGuard>,
}

impl MessageBody for StreamedBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.inner.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let Self { inner, span, .. } = &mut *self;
        span.in_scope(|| {
            // The status is sent already, so that only the end of the connection shows the failure.
            catch_panic(|| Pin::new(inner).poll_next(context)).unwrap_or_else(|panic| {
                tracing::error!(%panic, "failed to produce the body of a response; closing the connection");
                Poll::Ready(Some(Err("the body is incomplete".into())))
            })
        })
    }
}

/// Ends the handling of a request, whose log lines are in `span`, and splits a body that is
/// complete and large.
pub fn finish_body(body: impl MessageBody + 'static, span: Span, handling: Option<HandlingGuard>) -> BoxBody {
    match body.size() {
        BodySize::Stream => BoxBody::new(StreamedBody { inner: body.boxed(), span, _handling: handling }),
        BodySize::Sized(size) if size > CHUNK_SIZE as u64 => match body.try_into_bytes() {
            Ok(rest) => BoxBody::new(ChunkedBytes { rest }),
            Err(body) => body.boxed(),
        },
        BodySize::None | BodySize::Sized(_) => body.boxed(),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::{BodyStream, to_bytes};
    use futures_util::stream::poll_fn;

    use super::*;

    #[actix_web::test]
    async fn panic_while_a_body_is_produced_ends_the_body_with_an_error() {
        let mut is_first = true;
        let parts = poll_fn(move |_| {
            assert!(is_first, "a fault of the handler");
            is_first = false;
            Poll::Ready(Some(Ok::<_, Infallible>(Bytes::from_static(b"a part"))))
        });
        let body = finish_body(BodyStream::new(parts), Span::none(), None);
        assert_eq!(to_bytes(body).await.unwrap_err().to_string(), "the body is incomplete");
    }
}
