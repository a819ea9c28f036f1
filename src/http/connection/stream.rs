//! The byte stream of a connection, with its deadlines.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use actix_web::rt::net::{ActixStream, Ready, TcpStream};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::connection::{
    receive_deadline::ReceiveDeadline,
    registry::{ConnectionState, Connections, Registration},
    stall_budget::StallBudget,
};

/// Bytes that the kernel queues for a peer before it has sent them. Without a limit, it queues
/// several megabytes for each slow reader.
const MAX_UNSENT: u32 = 128 * 1024;
/// How much a client of HTTP/2 may send while no request begins or ends, no handler reads a part of
/// a body, and no response is sent. This is more than the windows and the headers of a hundred
/// requests take. A flood of PING, SETTINGS, PRIORITY, WINDOW_UPDATE or empty DATA exceeds it.
const MAX_WITHOUT_PROGRESS: usize = 1024 * 1024;
/// How much is read in HTTP/2 before the requests of the connection take what has arrived. It
/// bounds the memory for the frames of one read, which take up to thirty times their size in `h2`.
const MAX_BATCH: usize = 16 * 1024;

/// A TCP connection that ends when its peer neither sends nor reads what it should, or when it is
/// closed for another one.
#[derive(Debug)]
pub struct ConnectionStream {
    tcp: TcpStream,
    registration: Registration,
    receive_deadline: ReceiveDeadline,
    stall_budget: StallBudget,
    /// Bytes that were read since the requests of the connection ran. Counted in HTTP/2 only.
    batch: usize,
}

impl ConnectionStream {
    pub fn new(tcp: TcpStream, connections: &Arc<Connections>) -> Self {
        // Only an optimization, which not every kernel has.
        let _ = SockRef::from(&tcp).set_tcp_notsent_lowat(MAX_UNSENT);
        Self {
            tcp,
            registration: connections.register(),
            receive_deadline: ReceiveDeadline::default(),
            stall_budget: StallBudget::default(),
            batch: 0,
        }
    }

    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.tcp.peer_addr().ok()
    }

    pub const fn state(&self) -> &Arc<ConnectionState> {
        &self.registration.state
    }
}

impl AsyncRead for ConnectionStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.registration.state.is_shed(context) {
            // As if the peer had closed the connection.
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        let state = &this.registration.state;
        if this.batch >= MAX_BATCH {
            this.batch = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.tcp).poll_read(context, buffer) {
            Poll::Ready(read) => {
                this.receive_deadline.record_bytes(state);
                if state.is_http2() {
                    let count = buffer.filled().len() - before;
                    this.batch += count;
                    if state.record_received(count) > MAX_WITHOUT_PROGRESS {
                        // As if the peer had closed the connection.
                        buffer.set_filled(before);
                    }
                }
                Poll::Ready(read)
            }
            Poll::Pending => {
                this.batch = 0;
                // As if the peer had closed the connection.
                this.receive_deadline.poll_passed(state, context).map(Ok)
            }
        }
    }
}

impl AsyncWrite for ConnectionStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.registration.state.is_shed(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match Pin::new(&mut this.tcp).poll_write(context, bytes) {
            Poll::Ready(Ok(written)) => {
                this.stall_budget.record_write(written);
                // In HTTP/2, this may be the answer to a PING. The sender of a response records its
                // progress.
                if !this.registration.state.is_http2() {
                    this.registration.state.record_progress();
                }
                Poll::Ready(Ok(written))
            }
            Poll::Ready(failed) => Poll::Ready(failed),
            Poll::Pending => this.stall_budget.poll_spent(context).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

/// What the TLS acceptor requires.
impl ActixStream for ConnectionStream {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.tcp, context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.tcp, context)
    }
}
