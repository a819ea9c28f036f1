//! A small HTTP/1.1 client that sends what no client library would.

use std::{
    fmt,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// The longest time that a response may take, on a machine that is busy with other work. It is
/// shorter than the timeout of libFuzzer.
const TIMEOUT: Duration = Duration::from_secs(60);

pub struct Request {
    pub method: &'static str,
    /// Path and query, as they are sent.
    pub target: Vec<u8>,
    /// Header lines without their ends.
    lines: Vec<Vec<u8>>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &'static str, target: impl Into<Vec<u8>>) -> Self {
        Self { method, target: target.into(), lines: Vec::new(), body: Vec::new() }
    }

    /// Adds a header. A value with line breaks gives several headers of the same name.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for part in value.as_ref().split(|byte| *byte == b'\n' || *byte == b'\r') {
            self.lines.push([name.as_bytes(), b": ", part].concat());
        }
        self
    }

    pub fn bearer(self, credential: &str) -> Self {
        self.header("authorization", format!("Bearer {credential}"))
    }

    pub fn body(self, media_type: impl AsRef<[u8]>, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self.header("content-type", media_type) }
    }

    fn to_bytes(&self) -> Vec<u8> {
        // Each request has a source of its own, so that no budget of failures is used up.
        static SOURCE: AtomicU32 = AtomicU32::new(0);
        let [_, a, b, c] = SOURCE.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut bytes = [self.method.as_bytes(), b" ", &self.target, b" HTTP/1.1\r\nhost: keyswap.test\r\n"].concat();
        if !self.lines.iter().any(|line| line.starts_with(b"x-forwarded-for:") || line.starts_with(b"forwarded:")) {
            bytes.extend(format!("x-forwarded-for: 10.{a}.{b}.{c}\r\n").into_bytes());
        }
        for line in &self.lines {
            bytes.extend_from_slice(line);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend(format!("content-length: {}\r\n\r\n", self.body.len()).into_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

pub struct Response {
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header. Empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.iter().find(|(found, _)| found == name);
        value.map_or("", |(_, value)| str::from_utf8(value).unwrap_or("?"))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for (name, value) in &self.headers {
            write!(f, "\n{name}: {}", value.escape_ascii())?;
        }
        write!(f, "\n\n{}", String::from_utf8_lossy(&self.body))
    }
}

/// A connection that is kept open between requests.
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Connection {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    pub fn send(&mut self, request: &Request) -> Response {
        let bytes = request.to_bytes();
        let was_open = self.stream.is_some();
        let response = self.exchange(request.method, &bytes).or_else(|| {
            // The server may have closed an idle connection.
            was_open.then(|| self.exchange(request.method, &bytes)).flatten()
        });
        response.unwrap_or_else(|| panic!("the connection was closed without a response: {}", bytes.escape_ascii()))
    }

    fn exchange(&mut self, method: &str, bytes: &[u8]) -> Option<Response> {
        let mut stream = self.stream.take().unwrap_or_else(|| open(self.address));
        // A server that refuses a request early may close before it has read all of it.
        let _ = stream.write_all(bytes);
        let response = read_response(&mut stream, &mut Vec::new(), method == "HEAD")?;
        if !response.header("connection").eq_ignore_ascii_case("close") {
            self.stream = Some(stream);
        }
        Some(response)
    }
}

/// Sends bytes on a connection of its own, and returns all responses.
pub fn send_raw(address: SocketAddr, bytes: &[u8]) -> Vec<Response> {
    let mut stream = open(address);
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let (mut rest, mut responses) = (Vec::new(), Vec::new());
    while let Some(response) = read_response(&mut stream, &mut rest, false) {
        responses.push(response);
    }
    responses
}

fn open(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// Reads a response. `read` contains what was read and not used yet. Returns `None` if the
/// connection ends before the head of a response.
fn read_response(stream: &mut TcpStream, read: &mut Vec<u8>, is_head: bool) -> Option<Response> {
    let (status, headers) = loop {
        let end = loop {
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if !read_more(stream, read) {
                return None;
            }
        };
        let head: Vec<u8> = read.drain(..end + 4).collect();
        let (status, headers) = parse_head(&head[..end]);
        // An interim response, such as 100, precedes the final one.
        if status >= 200 {
            break (status, headers);
        }
    };
    let mut response = Response { status, headers, body: Vec::new() };
    if !is_head && !matches!(status, 204 | 304) {
        response.body = if response.header("transfer-encoding") == "chunked" {
            read_chunks(stream, read)
        } else if let Ok(length) = response.header("content-length").parse() {
            take(stream, read, length)
        } else {
            // The body of a response to HTTP/1.0 may end with the connection.
            while read_more(stream, read) {}
            std::mem::take(read)
        };
    }
    Some(response)
}

fn parse_head(head: &[u8]) -> (u16, Vec<(String, Vec<u8>)>) {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let status_line = lines.next().unwrap_or_default();
    let status = str::from_utf8(status_line).ok().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.unwrap_or_else(|| panic!("malformed status line: {}", head.escape_ascii()));
    let headers = lines.map(|line| {
        let colon = line.iter().position(|byte| *byte == b':');
        let colon = colon.unwrap_or_else(|| panic!("malformed header line: {}", head.escape_ascii()));
        (String::from_utf8_lossy(&line[..colon]).to_lowercase(), line[colon + 1..].trim_ascii().to_vec())
    });
    (status, headers.collect())
}

fn read_chunks(stream: &mut TcpStream, read: &mut Vec<u8>) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = read.windows(2).position(|window| window == b"\r\n") {
                break end;
            }
            assert!(read_more(stream, read), "the body ends early");
        };
        let line: Vec<u8> = read.drain(..end + 2).collect();
        let length = str::from_utf8(&line[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let length = length.unwrap_or_else(|| panic!("malformed chunk: {}", line.escape_ascii()));
        body.extend(take(stream, read, length));
        assert_eq!(take(stream, read, 2), b"\r\n", "a chunk ends with a line break");
        if length == 0 {
            return body;
        }
    }
}

fn take(stream: &mut TcpStream, read: &mut Vec<u8>, length: usize) -> Vec<u8> {
    while read.len() < length {
        assert!(read_more(stream, read), "the body ends early");
    }
    read.drain(..length).collect()
}

/// Returns `false` at the end of the stream.
fn read_more(stream: &mut TcpStream, read: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer) {
        Ok(0) => false,
        Ok(count) => {
            read.extend_from_slice(&buffer[..count]);
            true
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("no response within {TIMEOUT:?}");
        }
        // libFuzzer has a timer, and a socket with a timeout is not read again after a signal.
        Err(error) if error.kind() == ErrorKind::Interrupted => read_more(stream, read),
        // The server has closed a connection of which it has not read everything.
        Err(_) => false,
    }
}
