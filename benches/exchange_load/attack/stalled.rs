//! Connections that make no progress: idle ones, and those of slow readers.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    task::JoinSet,
    time::{sleep, timeout},
};

/// Half of them have sent one request, and the others a part of one.
const IDLE: u16 = 1_000;
const SLOW_READERS: u16 = 200;
pub const CONNECTIONS: u16 = IDLE + SLOW_READERS;

/// The largest document that Keyswap serves to everyone, 1.4 MB.
pub const DOCUMENT: &str = "/docs/swagger-ui-bundle.js";
/// The requests that a slow reader sends at once.
const REQUESTS: usize = 4;
/// The pause of a slow reader after each piece: it reads 1 KB a second.
const PAUSE: Duration = Duration::from_millis(250);
const PIECE: usize = 256;
/// The receive buffer, so that the kernel does not read in the place of the client. In bytes.
const RECEIVE_BUFFER: u32 = 4096;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before a connection that was closed is opened again.
const RECONNECT: Duration = Duration::from_millis(200);

/// Opens the connections, and opens them again when the server closes them.
pub fn spawn_connections(port: u16, running: &mut JoinSet<()>) {
    let whole = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    for number in 0..IDLE {
        let request = if number % 2 == 0 { whole } else { &whole[..whole.len() / 2] };
        running.spawn(stay_connected(port, request.to_owned(), Duration::ZERO));
    }
    let requests = format!("GET {DOCUMENT} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").repeat(REQUESTS);
    for _ in 0..SLOW_READERS {
        running.spawn(stay_connected(port, requests.clone(), PAUSE));
    }
}

async fn stay_connected(port: u16, request: String, pause: Duration) {
    loop {
        // The server closes the connection, with or without an error, or does not accept it.
        let _ = hold_connection(port, &request, pause).await;
        sleep(RECONNECT).await;
    }
}

/// Sends a request, and reads with pauses until the server closes the connection.
async fn hold_connection(port: u16, request: &str, pause: Duration) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = timeout(CONNECT_TIMEOUT, socket.connect(address)).await??;
    stream.write_all(request.as_bytes()).await?;
    let mut piece = [0; PIECE];
    while stream.read(&mut piece).await? > 0 {
        sleep(pause).await;
    }
    Ok(())
}
