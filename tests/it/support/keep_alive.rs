//! A persistent HTTP connection with little overhead, for tests that open thousands of them or
//! measure time.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The longest time that connecting or one request may take.
const LONG: Duration = Duration::from_secs(60);

pub struct KeepAlive {
    stream: TcpStream,
    read: Vec<u8>,
}

/// The parts of a response that tests check.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// A header value. The name is compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// The bytes of a `POST /v1/exchange` request.
pub fn exchange_of(key: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let head = "POST /v1/exchange HTTP/1.1\r\nHost: 127.0.0.1\r\n";
    format!("{head}Authorization: Bearer {key}\r\n{kind}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

impl KeepAlive {
    /// Connects to a base URL such as `http://127.0.0.1:1234`.
    pub async fn open(base: &str) -> io::Result<Self> {
        let stream = timeout(LONG, TcpStream::connect(base.trim_start_matches("http://"))).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// Sends one request and reads the whole response.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        timeout(LONG, self.asked(request)).await?
    }

    async fn asked(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        self.read.clear();
        loop {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
            let status = head.get(9..12).and_then(|status| status.parse().ok());
            let mut answer = Answer { status: status.ok_or(io::ErrorKind::InvalidData)?, head, body: String::new() };
            let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
            let length = length.ok_or(io::ErrorKind::InvalidData)?;
            if self.read.len() == end + 4 + length {
                answer.body = String::from_utf8_lossy(&self.read[end + 4..]).into_owned();
                return Ok(answer);
            }
        }
    }
}
