//! The body of a request over HTTP/2, between its connection and its handler.

use std::{
    cell::RefCell,
    io, mem,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use actix_web::{
    error::PayloadError,
    web::{Bytes, BytesMut},
};
use futures_util::Stream;
use h2::RecvStream;

use crate::http::connection::registry::ConnectionState;

/// What has arrived of a body.
#[derive(Debug)]
struct Body {
    /// `None` once the handler does not read the body any more.
    stream: Option<RecvStream>,
    unread: BytesMut,
    end: Option<Result<(), h2::Error>>,
    reader: Option<Waker>,
}

/// The end of a body at which it arrives.
///
/// The frames are taken as they arrive, whatever the handler waits for, because `h2` keeps each one
/// in 250 bytes of memory until it is taken: an empty one costs its sender 9 bytes, which no window
/// limits. The windows limit what is unread here.
#[derive(Debug)]
pub struct BodyReceiver(Rc<RefCell<Body>>);

/// The end of a body at which its handler reads it. Reading lets the client send more.
#[derive(Debug)]
pub struct RequestBody {
    body: Rc<RefCell<Body>>,
    connection: Arc<ConnectionState>,
}

pub fn split_body(stream: RecvStream, connection: Arc<ConnectionState>) -> (BodyReceiver, RequestBody) {
    let body = Body { stream: Some(stream), unread: BytesMut::new(), end: None, reader: None };
    let body = Rc::new(RefCell::new(body));
    (BodyReceiver(Rc::clone(&body)), RequestBody { body, connection })
}

impl BodyReceiver {
    /// Takes the frames that have arrived. The task is woken when there are others.
    pub fn poll_receive(&self, context: &mut Context<'_>) {
        let reader = self.0.borrow_mut().take_frames(context);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Body {
    /// Returns the reader, if it waits for what was taken.
    fn take_frames(&mut self, context: &mut Context<'_>) -> Option<Waker> {
        let stream = self.stream.as_mut()?;
        while self.end.is_none()
            && let Poll::Ready(frame) = stream.poll_data(context)
        {
            match frame {
                Some(Ok(data)) => self.unread.extend_from_slice(&data),
                Some(Err(error)) => self.end = Some(Err(error)),
                None => self.end = Some(Ok(())),
            }
        }
        let has_news = !self.unread.is_empty() || self.end.is_some();
        if has_news { self.reader.take() } else { None }
    }
}

impl Stream for RequestBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let failed = |error: h2::Error| PayloadError::Io(io::Error::other(error));
        let mut body = self.body.borrow_mut();
        let data = body.unread.split().freeze();
        if data.is_empty() {
            return match body.end.take() {
                None => {
                    body.reader = Some(context.waker().clone());
                    Poll::Pending
                }
                Some(end) => {
                    body.end = Some(Ok(()));
                    Poll::Ready(end.err().map(|error| Err(failed(error))))
                }
            };
        }
        self.connection.record_progress();
        let release = |stream: &mut RecvStream| stream.flow_control().release_capacity(data.len());
        let released = body.stream.as_mut().map_or(Ok(()), release);
        Poll::Ready(Some(released.map(|()| data).map_err(failed)))
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let mut body = self.body.borrow_mut();
        let unread = mem::take(&mut body.unread);
        // `h2` drops what arrives from now on.
        if let Some(mut stream) = body.stream.take() {
            // The other bodies of the connection need the capacity. If this fails, the connection
            // ends.
            let _ = stream.flow_control().release_capacity(unread.len());
        }
    }
}
