//! Connections that make no progress: idle ones, readers that do not read, and more of them than the
//! server may have.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use super::process::{Deployment, Process, Running, client};
use crate::support::Kind;

/// A request with a large response, which is not compressed.
const LARGE: &[u8] = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n";
const SMALL: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn address(server: &Running) -> SocketAddr {
    server.base.strip_prefix("http://").unwrap().parse().unwrap()
}

fn connect(server: &Running) -> TcpStream {
    TcpStream::connect(address(server)).unwrap()
}

/// A connection whose receive buffer is small, so that the server cannot hand a response to the
/// kernel.
fn connect_slow_reader(server: &Running, request: &[u8]) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address(server).into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.write_all(request).unwrap();
    stream
}

fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut byte = [0];
    !matches!(stream.read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Resident memory of a process, in bytes.
fn resident(process: &Process) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Whether a new connection is served.
async fn is_served(server: &Running, key: &str) -> bool {
    let request = client().get(server.url("/v1/api-keys")).bearer_auth(key);
    request.send().await.unwrap().status() == 200
}

pub(super) async fn metric(server: &Running, key: &str, name: &str) -> u64 {
    let text = client().get(server.url("/metrics")).bearer_auth(key).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")).map(str::to_owned));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn idle_connections_make_room_for_new_ones() {
    let deployment = Deployment::new(Kind::Sqlite).with(&["server.max_connections=50"]);
    let server = deployment.serve();
    let admin = deployment.admin();
    let mut waiting = connect(&server);
    let last =
        server.call(&admin, "GET", "/v1/events?limit=100", None).await.json::<serde_json::Value>().await.unwrap();
    let last = last["data"].as_array().unwrap().last().unwrap()["seq"].clone();
    let events =
        format!("GET /v1/events?after={last}&wait=20s HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {admin}\r\n\r\n");
    waiting.write_all(events.as_bytes()).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    // They have completed a request, so that only the keep-alive time ends them.
    let mut idle: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = connect(&server);
            stream.write_all(SMALL).unwrap();
            let mut response = [0; 1024];
            assert!(stream.read(&mut response).unwrap() > 0);
            stream
        })
        .collect();
    for _ in 0..5 {
        assert!(is_served(&server, &admin).await);
    }
    let closed: Vec<_> = idle.iter_mut().map(is_closed).collect();
    let first_open = closed.iter().position(|closed| !closed).unwrap();
    assert!((145..=160).contains(&first_open), "{closed:?}");
    assert!(closed[first_open..].iter().all(|closed| !closed), "the oldest are closed first: {closed:?}");
    waiting.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut response = [0; 2000];
    let read = waiting.read(&mut response).map(|read| String::from_utf8_lossy(&response[..read]).into_owned());
    assert!(read.is_err(), "a request that is being handled is not idle: {read:?}");
    assert!(metric(&server, &admin, "keyswap_connections_shed_total").await >= 150);
    assert!((40..=50).contains(&metric(&server, &admin, "keyswap_open_connections").await));
}

#[tokio::test]
async fn requests_that_never_end_are_given_up() {
    let deployment = Deployment::new(Kind::Sqlite);
    let server = deployment.serve();
    let admin = deployment.admin();
    let started = Instant::now();
    let chunked = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    let unread = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n";
    let second = [SMALL, b"G"].concat();
    let mut open: Vec<_> = [b"G".as_slice(), chunked, unread]
        .map(|request| {
            let mut stream = connect(&server);
            stream.write_all(request).unwrap();
            stream
        })
        .into();
    // A part of a second request: with the first one, and after its response.
    for parts in [&[second.as_slice()][..], &[SMALL, b"G"]] {
        let mut stream = connect(&server);
        for part in parts {
            stream.write_all(part).unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
        open.push(stream);
    }
    while metric(&server, &admin, "keyswap_open_connections").await > 2 {
        assert!(started.elapsed() < Duration::from_secs(90), "they are still open");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    drop(open);
}

#[tokio::test]
async fn connections_leave_descriptors_for_the_database() {
    let deployment = Deployment::new(Kind::Postgres);
    let server = deployment.command(&["serve"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 300; exec \"$0\" \"$@\""]).arg(server.get_program()).args(server.get_args());
    shell.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let server = Process::spawn(shell).ready();
    let admin = deployment.admin();
    let _idle: Vec<_> = (0..500).map(|_| connect(&server)).collect();
    for _ in 0..5 {
        assert!(is_served(&server, &admin).await);
    }
    assert!(server.process.log().contains("server.max_connections"), "{}", server.process.log());
    assert!(!server.process.log().contains("Too many open files"), "{}", server.process.log());
}

#[tokio::test]
async fn responses_that_are_not_read_cost_little_and_end() {
    let deployment = Deployment::new(Kind::Sqlite);
    let server = deployment.serve();
    let admin = deployment.admin();
    let first = connect_slow_reader(&server, LARGE);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = resident(&server.process);
    let started = Instant::now();
    let slow: Vec<_> = (0..400).map(|_| connect_slow_reader(&server, &LARGE.repeat(20))).collect();
    assert!(is_served(&server, &admin).await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = resident(&server.process).saturating_sub(before) / slow.len();
    // The document itself has more than 450,000.
    assert!(each < 250_000, "{each} bytes for each connection");
    // The test has a connection of its own.
    while metric(&server, &admin, "keyswap_open_connections").await > 2 {
        assert!(started.elapsed() < Duration::from_secs(60), "they are still open");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(started.elapsed() > Duration::from_secs(15), "a short stall is no fault");
    drop((first, slow));
}
