//! A client that waits for its response on a thread of its own, so that the timer of an event loop
//! does not add to its latencies.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::response::{body_of, length, status};

/// The calls that a connection serves before the client opens another one. A tenth of the calls
/// then shows how connections are accepted.
const CALLS_PER_CONNECTION: u32 = 10;
/// How the body of a validation begins that does not accept the key.
const NOT_ACCEPTED: &[u8] = br#"{"api_key":null"#;

/// A client with one connection, which it keeps for a few calls as a connection pool does.
pub struct Client {
    address: SocketAddr,
    /// The connection, and the number of calls that it has served.
    pooled: Option<(TcpStream, u32)>,
    /// The last response.
    answer: Vec<u8>,
}

impl Client {
    pub fn new(port: u16) -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], port)), pooled: None, answer: Vec::new() }
    }

    /// Sends a request and returns the status of the response, or 401 if it is a validation that
    /// does not accept the key. The server may close a pooled connection at any time. The request
    /// is then sent on a new one, as HTTP clients do.
    pub fn call(&mut self, request: &[u8], deadline: Instant) -> io::Result<u16> {
        let is_pooled = self.pooled.is_some();
        match self.call_once(request, deadline) {
            Err(error) if is_pooled && self.answer.is_empty() && is_closed(&error) => self.call_once(request, deadline),
            Err(error) => Err(error),
            Ok(status) => Ok(status),
        }
    }

    fn call_once(&mut self, request: &[u8], deadline: Instant) -> io::Result<u16> {
        self.answer.clear();
        let (mut stream, calls) = match self.pooled.take() {
            Some(pooled) => pooled,
            None => (self.connect(deadline)?, 0),
        };
        stream.set_write_timeout(Some(time_until(deadline)?))?;
        stream.write_all(request)?;
        let length = self.receive(&mut stream, deadline)?;
        if calls + 1 < CALLS_PER_CONNECTION && self.answer.len() == length {
            self.pooled = Some((stream, calls + 1));
        }
        match status(&self.answer)? {
            200 if self.body().starts_with(NOT_ACCEPTED) => Ok(401),
            status => Ok(status),
        }
    }

    fn connect(&self, deadline: Instant) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, time_until(deadline)?)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Receives a response, and returns its length.
    fn receive(&mut self, stream: &mut TcpStream, deadline: Instant) -> io::Result<usize> {
        let mut piece = [0; 8192];
        loop {
            stream.set_read_timeout(Some(time_until(deadline)?))?;
            match stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => self.answer.extend_from_slice(&piece[..more]),
            }
            if let Some(length) = length(&self.answer)?.filter(|length| self.answer.len() >= *length) {
                return Ok(length);
            }
        }
    }

    /// The body of the last response.
    pub fn body(&self) -> &[u8] {
        body_of(&self.answer)
    }
}

/// The time that is left, as an error if there is none.
fn time_until(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof].contains(&error.kind())
}
