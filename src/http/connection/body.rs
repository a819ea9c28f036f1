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

use crate::http::connection::registry::HandlingGuard;

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
    _handling: Option<HandlingGuard>,
}

impl MessageBody for StreamedBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.inner.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.inner).poll_next(context)
    }
}

/// Ends the handling of a request, and splits a body that is complete and large.
pub fn finish_body(body: impl MessageBody + 'static, handling: Option<HandlingGuard>) -> BoxBody {
    match body.size() {
        BodySize::Stream => BoxBody::new(StreamedBody { inner: body.boxed(), _handling: handling }),
        BodySize::Sized(size) if size > CHUNK_SIZE as u64 => match body.try_into_bytes() {
            Ok(rest) => BoxBody::new(ChunkedBytes { rest }),
            Err(body) => body.boxed(),
        },
        BodySize::None | BodySize::Sized(_) => body.boxed(),
    }
}
