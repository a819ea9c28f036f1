//! HTTP/2 on a connection with TLS, within the limits of HTTP/1.1. The implementation of actix-http
//! 3 is not used: it does not limit the number of concurrent requests, waits forever for a client
//! that does not read a response, and closes a connection without GOAWAY.

use std::{
    cell::RefCell,
    cmp::min,
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::{BoxedPayloadStream, Payload, Request, Response, ServiceConfig};
use actix_service::Service;
use actix_web::{
    body::{BoxBody, MessageBody},
    http::{Method, StatusCode},
    web::Bytes,
};
use futures_util::{FutureExt as _, StreamExt as _, future::FusedFuture as _, stream::FuturesUnordered};
use h2::{
    Reason, RecvStream, SendStream,
    server::{Builder, Connection, SendResponse},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    time::{Instant, Sleep, sleep, timeout},
};

use crate::http::connection::{
    http2_body::split_body,
    http2_messages::{convert_head, convert_request},
    receive_deadline::{HEADER_TIMEOUT, KEEP_ALIVE},
    registry::ServedConnection,
    stall_budget::{MAX_STALL, StallBudget},
};

/// The name of the protocol in the TLS handshake.
pub const PROTOCOL: &[u8] = b"h2";

/// Maximum number of requests of one connection that are in progress. RFC 9113 §6.5.2 recommends no
/// less than 100. `h2` refuses further ones of a client that exceeds it.
///
/// A request that its client resets is in progress until its handler returns, so that a client
/// which resets every request at once (CVE-2023-44487) is limited as well: requests beyond the
/// limit wait, and a connection ends if more than `MAX_WAITING` of them wait.
const MAX_REQUESTS: u32 = 100;
const MAX_WAITING: u32 = 100;
/// Maximum size of the headers of a request. `h2` answers 431 to larger ones. HTTP/1.1 allows more,
/// but has one request at a time.
const MAX_HEADERS_SIZE: u32 = 16 * 1024;
/// Maximum number of the headers of a request, that of HTTP/1.1 in actix-http. One byte can be a
/// header (RFC 7541 §6.1).
const MAX_HEADERS: usize = 96;
/// How much of all bodies together a client may send before handlers read it.
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// How much of one response is buffered. All responses of a connection whose client does not read
/// are bounded by this times `MAX_REQUESTS`.
const MAX_UNSENT: usize = 8 * 1024;
/// How long a client may take to receive the last response and to confirm the end of the
/// connection.
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

/// What the requests of a connection share.
struct Shared {
    /// The requests that may be in progress.
    slots: Semaphore,
    /// How long responses may wait for a client that reads none of them.
    budget: RefCell<StallBudget>,
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
        let shared = Shared { slots: Semaphore::new(MAX_REQUESTS as usize), budget: RefCell::default() };
        // Also the requests that wait.
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
                let Some(accepted) = ready!(connection.poll_accept(context)) else { return Poll::Ready(Ok(())) };
                let (request, response) = accepted?;
                // The client has the whole time after the last response.
                end.close = None;
                if in_progress.len() < (MAX_REQUESTS + MAX_WAITING) as usize {
                    in_progress.push(this.answer::<B>(request, response, &shared));
                } else {
                    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                }
            }
        })
        .await
    }

    /// Whether the client must open another connection for its next request. The first request of a
    /// connection is always served, as in HTTP/1.1.
    fn must_end(
        &self,
        is_draining: bool,
        in_progress: usize,
        end: &mut ConnectionEnd,
        context: &mut Context<'_>,
    ) -> bool {
        let state = &self.connection.state;
        let is_idle = in_progress == 0 && end.poll_idle(state.last_progress() + KEEP_ALIVE, context).is_ready();
        is_idle || (is_draining && state.requests() > 0)
    }

    /// Answers a request, and receives its body all the time.
    async fn answer<B>(&self, request: http_types::Request<RecvStream>, response: SendResponse<Bytes>, shared: &Shared)
    where
        S::Response: Into<Response<B>>,
        B: MessageBody,
    {
        let (head, body) = request.into_parts();
        let (receiver, payload) = if body.is_end_stream() {
            (None, Payload::None)
        } else {
            let (receiver, body) = split_body(body, Arc::clone(&self.connection.state));
            let body: BoxedPayloadStream = Box::pin(body);
            (Some(receiver), Payload::from(body))
        };
        let mut handled = pin!(self.handle::<B>(head, payload, response, shared));
        let sent = poll_fn(|context| {
            if let Some(receiver) = &receiver {
                receiver.poll_receive(context);
            }
            handled.as_mut().poll(context)
        });
        if let Err(error) = sent.await {
            // The client has reset the request or closed the connection.
            tracing::debug!(%error, "failed to send a response over HTTP/2");
        }
    }

    async fn handle<B>(
        &self,
        head: http_types::request::Parts,
        payload: Payload,
        response: SendResponse<Bytes>,
        shared: &Shared,
    ) -> Result<(), h2::Error>
    where
        S::Response: Into<Response<B>>,
        B: MessageBody,
    {
        let is_head = head.method == Method::HEAD;
        if head.headers.len() > MAX_HEADERS {
            let answer = Response::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            return self.send(answer, response, is_head, shared).await;
        }
        // The semaphore is never closed.
        let _slot = shared.slots.acquire().await;
        let request = convert_request(head, payload, &self.connection, self.peer);
        match self.app.call(request).await {
            Ok(answer) => self.send::<B>(answer.into(), response, is_head, shared).await,
            Err(error) => self.send::<BoxBody>(error.into(), response, is_head, shared).await,
        }
    }

    async fn send<B: MessageBody>(
        &self,
        answer: Response<B>,
        mut response: SendResponse<Bytes>,
        is_head: bool,
        shared: &Shared,
    ) -> Result<(), h2::Error> {
        let (answer, body) = answer.into_parts();
        let (head, has_body) = convert_head(answer.head(), body.size(), &self.clock);
        let mut stream = response.send_response(head, is_head || !has_body)?;
        if is_head || !has_body {
            return Ok(());
        }
        let mut body = pin!(body);
        while let Some(chunk) = poll_fn(|context| body.as_mut().poll_next(context)).await {
            let Ok(mut chunk) = chunk else {
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            };
            while !chunk.is_empty() {
                let Some(capacity) = wait_for_capacity(&mut stream, chunk.len(), &shared.budget).await else {
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
/// if it does not read this response, or if it reads all of them too slowly together.
async fn wait_for_capacity(
    stream: &mut SendStream<Bytes>,
    wanted: usize,
    budget: &RefCell<StallBudget>,
) -> Option<usize> {
    stream.reserve_capacity(min(wanted, MAX_UNSENT));
    let capacity = poll_fn(|context| {
        loop {
            match stream.poll_capacity(context) {
                // The capacity was taken before this task has run.
                Poll::Ready(Some(Ok(0))) => {}
                Poll::Ready(Some(Ok(capacity))) => return Poll::Ready(Some(capacity)),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(None),
                Poll::Pending => return budget.borrow_mut().poll_spent(context).map(|()| None),
            }
        }
    });
    let capacity = timeout(MAX_STALL, capacity).await.ok().flatten()?;
    budget.borrow_mut().record_write(capacity);
    Some(capacity)
}

#[cfg(test)]
mod tests {
    use actix_service::fn_service;
    use futures_util::future::{join_all, pending};
    use h2::client::{self, SendRequest};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        task::{LocalSet, spawn_local},
    };

    use super::*;
    use crate::http::connection::registry::ConnectionState;

    type Answer = Result<Response<BoxBody>, Response<BoxBody>>;

    /// Serves a connection, and returns the end of the client.
    fn start<A: Future<Output = Answer> + 'static>(
        handler: impl Fn(Request) -> A + Clone + 'static,
        stop: impl Future<Output = ()> + 'static,
    ) -> DuplexStream {
        let connection = ServedConnection { state: Arc::new(ConnectionState::new(Instant::now())), is_tls: true };
        let app = Rc::new(fn_service::<_, _, _, _, _, ()>(handler));
        let http2 = Http2 { app, connection, peer: None, clock: ServiceConfig::default() };
        let (server, client) = duplex(256 * 1024);
        spawn_local(http2.serve::<_, BoxBody>(server, pending(), stop));
        client
    }

    async fn connect(stream: DuplexStream, builder: &client::Builder) -> SendRequest<Bytes> {
        let (requests, connection) = builder.handshake(stream).await.unwrap();
        spawn_local(connection);
        requests.ready().await.unwrap()
    }

    async fn status_of(headers: usize, size: usize) -> StatusCode {
        let handler = |_| async { Answer::Ok(Response::new(StatusCode::OK)) };
        let mut requests = connect(start(handler, pending()), &client::Builder::new()).await;
        let mut request = http_types::Request::get("https://x/");
        for number in 0..headers {
            request = request.header(format!("x-{number}"), "a".repeat(size));
        }
        let (answer, _) = requests.send_request(request.body(()).unwrap(), true).unwrap();
        answer.await.unwrap().status()
    }

    #[tokio::test]
    async fn number_and_size_of_headers_are_limited() {
        let statuses = async { [status_of(96, 1).await, status_of(97, 1).await, status_of(1, 18_000).await] };
        let statuses = LocalSet::new().run_until(statuses).await;
        assert_eq!(statuses.map(|status| status.as_u16()), [200, 431, 431]);
    }

    /// Otherwise, `h2` keeps each frame.
    #[tokio::test(start_paused = true)]
    async fn body_is_received_while_its_handler_waits() {
        let handler = |mut request: Request| async move {
            sleep(Duration::from_secs(1)).await;
            let first = request.take_payload().next().await.unwrap().unwrap();
            Answer::Ok(Response::with_body(StatusCode::OK, BoxBody::new(first)))
        };
        let exchange = async {
            let mut requests = connect(start(handler, pending()), &client::Builder::new()).await;
            let request = http_types::Request::post("https://x/").body(()).unwrap();
            let (answer, mut body) = requests.send_request(request, false).unwrap();
            for _ in 0..1000 {
                body.send_data(Bytes::from_static(b"x"), false).unwrap();
            }
            body.send_data(Bytes::new(), true).unwrap();
            answer.await.unwrap().into_body().data().await.unwrap().unwrap()
        };
        assert_eq!(LocalSet::new().run_until(exchange).await.len(), 1000);
    }

    /// Reads `wanted` bytes of a response, at a rate in bytes per second.
    async fn read_slowly(mut body: RecvStream, rate: usize, wanted: usize) -> Result<(), h2::Error> {
        let mut read = 0;
        while read < wanted {
            let data = body.data().await.unwrap()?;
            read += data.len();
            sleep(Duration::from_millis((data.len() * 1000 / rate) as u64)).await;
            body.flow_control().release_capacity(data.len())?;
        }
        Ok(())
    }

    /// Reads four responses of one connection, each at a rate in bytes per second.
    async fn read_four(rate: usize) -> Vec<Result<(), h2::Error>> {
        let handler = |_| async { Answer::Ok(Response::with_body(StatusCode::OK, BoxBody::new(vec![0_u8; 1 << 20]))) };
        let mut requests = connect(start(handler, pending()), client::Builder::new().initial_window_size(4096)).await;
        let mut readers = Vec::new();
        for _ in 0..4 {
            let request = http_types::Request::get("https://x/").body(()).unwrap();
            let (answer, _) = requests.send_request(request, true).unwrap();
            readers.push(read_slowly(answer.await.unwrap().into_body(), rate, 120 * 1024));
        }
        join_all(readers).await
    }

    #[tokio::test(start_paused = true)]
    async fn minimum_rate_is_that_of_all_responses_of_a_connection_together() {
        let ended = LocalSet::new().run_until(read_four(2048)).await;
        assert!(ended.iter().all(Result::is_ok), "8 KiB a second together: {ended:?}");
        let ended = LocalSet::new().run_until(read_four(512)).await;
        let reason_of = |end: &Result<(), h2::Error>| end.as_ref().err().and_then(h2::Error::reason);
        assert_eq!(ended.iter().map(reason_of).collect::<Vec<_>>(), [Some(Reason::CANCEL); 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn request_that_arrives_during_the_stop_is_answered() {
        let handler = |_| async {
            sleep(Duration::from_secs(3)).await;
            Answer::Ok(Response::with_body(StatusCode::OK, BoxBody::new("answer")))
        };
        let exchange = async {
            let mut client = start(handler, sleep(Duration::from_secs(1)));
            // The preface and SETTINGS.
            client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
            sleep(Duration::from_millis(1500)).await;
            // GET https://x/, sent before GOAWAY has arrived.
            client.write_all(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x84\x87\x01\x01x").await.unwrap();
            let mut received = Vec::new();
            client.read_to_end(&mut received).await.unwrap();
            received
        };
        let received = LocalSet::new().run_until(exchange).await;
        // DATA, and an empty DATA with the end of the stream.
        let end = b"answer\0\0\0\0\x01\0\0\0\x01";
        assert!(received.windows(end.len()).any(|part| part == end), "{received:?}");
    }
}
