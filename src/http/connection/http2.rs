//! HTTP/2 on a connection with TLS, within the limits of HTTP/1.1. The implementation of actix-http
//! 3 is not used: it does not limit the number of concurrent requests, waits forever for a client
//! that does not read a response, and closes a connection without GOAWAY.

use std::{
    cmp::min,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::{BoxedPayloadStream, HttpMessage as _, Payload, Request, Response, ResponseHead, ServiceConfig};
use actix_service::Service;
use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    error::PayloadError,
    http::{
        Method, StatusCode,
        header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderValue, TRANSFER_ENCODING, UPGRADE},
    },
    web::{Bytes, BytesMut},
};
use futures_util::{FutureExt as _, Stream, StreamExt as _, future::FusedFuture as _, stream::FuturesUnordered};
use h2::{
    Reason, RecvStream, SendStream,
    server::{Builder, Connection, SendResponse},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep, timeout},
};

use crate::http::connection::{
    receive_deadline::{HEADER_TIMEOUT, KEEP_ALIVE},
    registry::ServedConnection,
    stall_budget::StallBudget,
};

/// The name of the protocol in the TLS handshake.
pub const PROTOCOL: &[u8] = b"h2";

/// Maximum number of requests of one connection that are in progress. RFC 9113 §6.5.2 recommends
/// no less than 100.
///
/// A request that its client resets is in progress until its handler returns, so that a client that
/// resets every request at once (CVE-2023-44487) is limited as well: requests beyond the limit wait
/// in `h2`, which ends a connection with more than 20 reset ones of them
/// (`max_pending_accept_reset_streams`).
const MAX_REQUESTS: u32 = 100;
/// Maximum size of the headers of a request, that of HTTP/1.1 in actix-http.
const MAX_HEADERS_SIZE: u32 = 128 * 1024;
/// How much of all bodies together a client may send before handlers read it.
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// How much of one response is buffered. All responses of a connection whose client does not read
/// are bounded by this times `MAX_REQUESTS`.
const MAX_UNSENT: usize = 8 * 1024;
/// How long a client may take to confirm the end of the connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that has negotiated HTTP/2, and the application that serves it.
#[derive(Debug)]
pub struct Http2<S> {
    pub app: Rc<S>,
    pub connection: ServedConnection,
    pub peer: Option<SocketAddr>,
    /// Only for the `Date` of responses.
    pub clock: ServiceConfig,
}

/// When a connection ends.
struct ConnectionEnd {
    is_announced: bool,
    idle: Pin<Box<Sleep>>,
    close: Option<Pin<Box<Sleep>>>,
}

impl<S> Http2<S>
where
    S: Service<Request>,
    S::Error: Into<Response<BoxBody>>,
{
    /// Serves the requests of a connection. After `drain`, the client must send its next requests
    /// on another connection, and after `stop`, the connection ends with the last response.
    pub async fn serve<T, B>(
        self,
        stream: T,
        drain: impl Future<Output = ()>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), h2::Error>
    where
        T: AsyncRead + AsyncWrite + Unpin,
        S::Response: Into<Response<B>>,
        B: MessageBody,
    {
        let Ok(connection) = timeout(HEADER_TIMEOUT, builder().handshake(stream)).await else { return Ok(()) };
        let mut connection: Connection<T, Bytes> = connection?;
        let mut in_progress = FuturesUnordered::new();
        let mut end = ConnectionEnd { is_announced: false, idle: Box::pin(sleep(KEEP_ALIVE)), close: None };
        let mut drain = pin!(drain.fuse());
        let mut stop = pin!(stop.fuse());
        let this = &self;
        poll_fn(|context| -> Poll<Result<(), h2::Error>> {
            let _ = drain.as_mut().poll(context);
            let _ = stop.as_mut().poll(context);
            loop {
                while let Poll::Ready(Some(())) = in_progress.poll_next_unpin(context) {}
                let is_stopping = stop.is_terminated();
                let is_ending =
                    is_stopping || this.must_end(drain.is_terminated(), in_progress.len(), &mut end, context);
                if is_ending && !end.is_announced {
                    end.is_announced = true;
                    connection.graceful_shutdown();
                }
                if is_stopping && in_progress.is_empty() && end.poll_close(context).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                if in_progress.len() >= MAX_REQUESTS as usize {
                    // Sends and receives, but accepts no further request.
                    return connection.poll_closed(context);
                }
                let Some(accepted) = ready!(connection.poll_accept(context)) else { return Poll::Ready(Ok(())) };
                let (request, response) = accepted?;
                in_progress.push(this.answer::<B>(request, response));
            }
        })
        .await
    }

    /// Whether the client must open another connection for its next request. The first request of a
    /// connection is always served, as in HTTP/1.1.
    fn must_end(&self, is_draining: bool, pending: usize, end: &mut ConnectionEnd, context: &mut Context<'_>) -> bool {
        let state = &self.connection.state;
        let is_idle = pending == 0 && end.poll_idle(state.last_progress() + KEEP_ALIVE, context).is_ready();
        is_idle || (is_draining && state.requests() > 0)
    }

    async fn answer<B>(&self, request: http_types::Request<RecvStream>, response: SendResponse<Bytes>)
    where
        S::Response: Into<Response<B>>,
        B: MessageBody,
    {
        let is_head = request.method() == Method::HEAD;
        let request = convert_request(request, &self.connection, self.peer);
        let sent = match self.app.call(request).await {
            Ok(answer) => self.send::<B>(answer.into(), response, is_head).await,
            Err(error) => self.send::<BoxBody>(error.into(), response, is_head).await,
        };
        if let Err(error) = sent {
            // The client has reset the request or closed the connection.
            tracing::debug!(%error, "failed to send a response over HTTP/2");
        }
    }

    async fn send<B: MessageBody>(
        &self,
        answer: Response<B>,
        mut response: SendResponse<Bytes>,
        is_head: bool,
    ) -> Result<(), h2::Error> {
        let (answer, body) = answer.into_parts();
        let (head, has_body) = convert_head(answer.head(), body.size(), &self.clock);
        let mut stream = response.send_response(head, is_head || !has_body)?;
        if is_head || !has_body {
            return Ok(());
        }
        let mut body = pin!(body);
        let mut budget = StallBudget::default();
        while let Some(chunk) = poll_fn(|context| body.as_mut().poll_next(context)).await {
            let Ok(mut chunk) = chunk else {
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            };
            while !chunk.is_empty() {
                let Some(capacity) = wait_for_capacity(&mut stream, chunk.len(), &mut budget).await else {
                    stream.send_reset(Reason::CANCEL);
                    return Ok(());
                };
                stream.send_data(chunk.split_to(min(capacity, chunk.len())), false)?;
                self.connection.state.record_progress();
            }
        }
        stream.send_data(Bytes::new(), true)
    }
}

impl ConnectionEnd {
    fn poll_idle(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        if self.idle.deadline() != deadline {
            self.idle.as_mut().reset(deadline);
        }
        self.idle.as_mut().poll(context)
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let close = self.close.get_or_insert_with(|| Box::pin(sleep(CLOSE_TIMEOUT)));
        close.as_mut().poll(context)
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MAX_REQUESTS)
        .max_header_list_size(MAX_HEADERS_SIZE)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(MAX_UNSENT);
    builder
}

/// Waits until the client accepts more of a response. Returns `None` if it has reset the request,
/// or if it reads too slowly.
async fn wait_for_capacity(stream: &mut SendStream<Bytes>, wanted: usize, budget: &mut StallBudget) -> Option<usize> {
    stream.reserve_capacity(min(wanted, MAX_UNSENT));
    let capacity = poll_fn(|context| {
        loop {
            match stream.poll_capacity(context) {
                // The capacity was taken before this task has run.
                Poll::Ready(Some(Ok(0))) => {}
                Poll::Ready(Some(Ok(capacity))) => return Poll::Ready(Some(capacity)),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(None),
                Poll::Pending => return budget.poll_spent(context).map(|()| None),
            }
        }
    });
    let capacity = capacity.await?;
    budget.record_write(capacity);
    Some(capacity)
}

/// The body of a request. Reading it lets the client send more.
struct RequestBody(RecvStream);

impl Stream for RequestBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let failed = |error: h2::Error| PayloadError::Io(io::Error::other(error));
        let Some(data) = ready!(self.0.poll_data(context)) else { return Poll::Ready(None) };
        let data = data.and_then(|data| self.0.flow_control().release_capacity(data.len()).map(|()| data));
        Poll::Ready(Some(data.map_err(failed)))
    }
}

fn convert_request(
    request: http_types::Request<RecvStream>,
    connection: &ServedConnection,
    peer: Option<SocketAddr>,
) -> Request {
    let (parts, body) = request.into_parts();
    let payload = if body.is_end_stream() {
        Payload::None
    } else {
        let body: BoxedPayloadStream = Box::pin(RequestBody(body));
        Payload::from(body)
    };
    let mut request = Request::with_payload(payload);
    let head = request.head_mut();
    head.uri = parts.uri;
    head.method = parts.method;
    head.version = parts.version;
    head.headers = parts.headers.into();
    head.peer_addr = peer;
    request.extensions_mut().insert(connection.clone());
    request
}

/// Returns the head of a response, and whether a body follows it.
fn convert_head(head: &ResponseHead, size: BodySize, clock: &ServiceConfig) -> (http_types::Response<()>, bool) {
    let may_have_body = ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status);
    let mut converted = http_types::Response::new(());
    *converted.status_mut() = head.status;
    let headers = converted.headers_mut();
    // Headers that concern the connection do not exist in HTTP/2 (RFC 9113 §8.2.2).
    let is_sent = |name| ![CONNECTION, TRANSFER_ENCODING, UPGRADE].contains(name);
    for (name, value) in head.headers.iter().filter(|(name, _)| is_sent(*name)) {
        headers.append(name, value.clone());
    }
    if let BodySize::Sized(length) = size
        && may_have_body
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if !headers.contains_key(DATE) {
        // A whole line, `date: …\r\n`: the only form in which actix-http returns its cached date.
        let mut line = BytesMut::new();
        clock.write_date_header(&mut line, false);
        let value = line.strip_prefix(b"date: ").and_then(|value| value.strip_suffix(b"\r\n"));
        if let Some(Ok(value)) = value.map(HeaderValue::from_bytes) {
            headers.insert(DATE, value);
        }
    }
    (converted, may_have_body && !size.is_eof())
}
