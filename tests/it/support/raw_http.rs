//! Handwritten HTTP/1.1, for requests that no client library would send.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

pub struct Raw(TcpStream);

impl Raw {
    pub fn open(base: &str) -> Self {
        let stream = TcpStream::connect(base.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(stream)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // A write error is ignored: some tests are about servers that respond and close early.
        let _ = self.0.write_all(bytes);
    }

    pub fn finish(&mut self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// Reads until the server closes the connection. A read error ends the text.
    pub fn read_all(mut self) -> String {
        let mut bytes = Vec::new();
        let _ = self.0.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Like `read_all`, and returns an error if the server does not close the connection within the
    /// read timeout.
    pub fn read_to_end(mut self) -> std::io::Result<String> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads one response: the head and `Content-Length` bytes of the body. A closed connection or
    /// a read error ends the text early.
    pub fn read_one(&mut self) -> String {
        let mut text = String::new();
        let mut buffer = [0; 4096];
        loop {
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
                    .unwrap_or(0);
                if body.len() >= length {
                    return text;
                }
            }
            match self.0.read(&mut buffer) {
                Ok(0) | Err(_) => return text,
                Ok(read) => text.push_str(&String::from_utf8_lossy(&buffer[..read])),
            }
        }
    }
}
