//! Messages of PostgreSQL's protocol 3.0: a type, a length that includes itself, and a body. The
//! first packet of a connection has no type (PostgreSQL manual, chapter "Frontend/Backend
//! Protocol").

use std::io::{self, Read, Write};

/// The codes of a first packet that asks for TLS or for GSSAPI encryption.
const ENCRYPTION_REQUESTS: [u32; 2] = [80_877_103, 80_877_104];

/// The messages of a client up to the one that the server answers with `ReadyForQuery`.
pub struct Request {
    bytes: Vec<u8>,
    /// The text of a simple query. Diesel sends `BEGIN`, `COMMIT` and `ROLLBACK` as such.
    query: Option<String>,
}

impl Request {
    /// Reads a request. Returns `None` if the client ends the session.
    pub fn read(client: &mut impl Read) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        loop {
            let message = read_message(client)?;
            bytes.extend_from_slice(&message);
            match message[0] {
                b'X' => return Ok(None),
                b'Q' => {
                    let text = String::from_utf8_lossy(&message[5..]);
                    let query = Some(text.trim_end_matches('\0').trim().to_owned());
                    return Ok(Some(Self { bytes, query }));
                }
                // Sync and FunctionCall.
                b'S' | b'F' => return Ok(Some(Self { bytes, query: None })),
                _ => {}
            }
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn is_commit(&self) -> bool {
        self.query.as_deref() == Some("COMMIT")
    }

    pub fn is_rollback(&self) -> bool {
        self.query.as_deref().is_some_and(|query| query.starts_with("ROLLBACK"))
    }
}

/// Reads the first packet of a session. Encryption is declined.
pub fn read_startup(client: &mut (impl Read + Write)) -> io::Result<Vec<u8>> {
    loop {
        let mut packet = vec![0; 8];
        client.read_exact(&mut packet)?;
        let number = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
        let (length, code) = (number(0), number(4));
        if ENCRYPTION_REQUESTS.contains(&code) {
            client.write_all(b"N")?;
            continue;
        }
        packet.resize(usize::try_from(length).unwrap().max(8), 0);
        client.read_exact(&mut packet[8..])?;
        return Ok(packet);
    }
}

/// Reads the messages of a server through `ReadyForQuery` into `answer`. After an error, `answer`
/// has the complete messages that arrived before.
pub fn read_answer(server: &mut impl Read, answer: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let message = read_message(server)?;
        answer.extend_from_slice(&message);
        if message[0] == b'Z' {
            return Ok(());
        }
    }
}

fn read_message(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 5];
    from.read_exact(&mut bytes)?;
    let length = u32::from_be_bytes(bytes[1..].try_into().unwrap());
    bytes.resize(usize::try_from(length).unwrap().max(4) + 1, 0);
    from.read_exact(&mut bytes[5..])?;
    Ok(bytes)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes()[..], body].concat()
}

/// A simple query.
pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

/// `ReadyForQuery` outside of a transaction.
pub fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

/// An `ErrorResponse`. The severity is `ERROR`, or `FATAL` before the server closes the connection.
pub fn error_response(severity: &str, sqlstate: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("S{severity}\0V{severity}\0C{sqlstate}\0M{text}\0\0").as_bytes())
}
