//! HTTP/2 over TLS, within the limits of a connection.

use std::{io, process::Command, sync::Arc, time::Duration};

use h2::{
    Reason, RecvStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use http_types::{Request, StatusCode, Version};
use rustix::process::Signal;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy, sink, split},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    process::{Deployment, LONG, Running, until},
    tls_server::{Identity, address, serve_tls, url},
};
use crate::support::Kind;

type Bytes = actix_web::web::Bytes;

/// What a client sends first, and empty SETTINGS.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Kinds of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
/// Flag of PING.
const ACK: u8 = 1;
/// Flags of HEADERS.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

struct Server {
    running: Running,
    deployment: Deployment,
    identity: Identity,
    admin: String,
}

/// A connection, and the task that drives it. It returns when the connection has ended.
struct Connection {
    requests: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

impl Server {
    fn start(settings: &[&str]) -> Self {
        let deployment = Deployment::new(Kind::Sqlite).with(settings);
        let (dir, identity) = (deployment.database.dir.path().join("tls"), Identity::new());
        identity.write(&dir);
        let running = serve_tls(&deployment, &dir);
        let admin = deployment.admin();
        Self { running, deployment, identity, admin }
    }

    async fn open(&self) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.identity.certificate.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = TcpStream::connect(address(&self.running)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        tls
    }

    async fn connect(&self, builder: &Builder) -> Connection {
        let (requests, connection) = builder.handshake(self.open().await).await.unwrap();
        Connection { requests, driver: tokio::spawn(connection) }
    }

    /// The HEADERS of a GET request as the administrator.
    fn head(&self, stream: u32, flags: u8, path: &str) -> Vec<u8> {
        // RFC 7541: `:method: GET`, `:scheme: https`, and names from the static table with values.
        let literal = |name: &[u8], value: &str| {
            let length = u8::try_from(value.len()).unwrap();
            assert!(length < 127);
            [name, &[length], value.as_bytes()].concat()
        };
        let (authority, path) = (literal(&[1], "localhost"), literal(&[4], path));
        let authorization = literal(&[15, 23 - 15], &format!("Bearer {}", self.admin));
        frame(HEADERS, END_HEADERS | flags, stream, &[&[0x82, 0x87][..], &authority, &path, &authorization].concat())
    }

    /// Begins a GET request as the administrator.
    async fn get(&self, connection: &Connection, path: &str) -> Result<ResponseFuture, h2::Error> {
        let mut requests = connection.requests.clone().ready().await?;
        let request = Request::get(url(&self.running, path)).version(Version::HTTP_2);
        let request = request.header("authorization", format!("Bearer {}", self.admin)).body(()).unwrap();
        Ok(requests.send_request(request, true)?.0)
    }

    /// The value of a metric.
    async fn metric(&self, name: &str) -> u64 {
        let http = self.identity.client(address(&self.running));
        let answer = http.get(url(&self.running, "/metrics")).bearer_auth(&self.admin).send().await.unwrap();
        let text = answer.text().await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        value.unwrap().parse().unwrap()
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Returns the kind and the payload of the next frame.
async fn read_frame(from: &mut TlsStream<TcpStream>) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    from.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    from.read_exact(&mut payload).await?;
    Ok((head[3], payload))
}

async fn read_all(mut body: RecvStream) -> Result<usize, h2::Error> {
    let mut read = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        read += data.len();
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(read)
}

fn curl(server: &Server, arguments: &[&str], path: &str) -> String {
    let certificate = server.deployment.database.dir.path().join("tls/tls.crt");
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "--cacert"]).arg(certificate).args(arguments);
    let output =
        command.args(["-w", " %{http_version} %{http_code}"]).arg(url(&server.running, path)).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn clients_choose_the_protocol() {
    let server = Server::start(&[]);
    let bearer = format!("authorization: Bearer {}", server.admin);
    let listed = curl(&server, &["--http2", "-i", "-H", &bearer], "/v1/api-keys");
    for text in ["HTTP/2 200", "\ndate: ", "\nstrict-transport-security: ", "\nx-request-id: ", "\ncontent-length: "] {
        assert!(listed.contains(text), "{text}: {listed}");
    }
    assert!(listed.ends_with(" 2 200"), "{listed}");
    let body = "{\"name\": \"a key\", \"owner\": {\"type\": \"none\"}, \"permissions\": []}";
    let created = curl(&server, &["--http2", "--json", body, "-H", &bearer], "/v1/api-keys");
    assert!(created.contains("\"value\"") && created.ends_with(" 2 201"), "{created}");
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(80_000));
    assert!(curl(&server, &["--http2", "--json", &large, "-H", &bearer], "/v1/api-keys").ends_with(" 2 413"));
    assert!(curl(&server, &["--http2", "-I"], "/openapi.json").ends_with(" 2 200"));
    let document = curl(&server, &["--http2"], "/openapi.json");
    assert!(document.len() > 100_000 && document.ends_with(" 2 200"));
    assert!(curl(&server, &["--http1.1"], "/healthz").ends_with(" 1.1 200"));
    server.running.stop();
}

#[tokio::test]
async fn requests_beyond_the_limit_of_a_connection_are_refused() {
    let server = Server::start(&[]);
    let mut connection = server.open().await;
    // A client that ignores the limit in the SETTINGS of the server.
    let mut requests = PREFACE.to_vec();
    for number in 0..150 {
        requests.extend(server.head(2 * number + 1, END_STREAM, "/v1/events?after=1000000&wait=2s"));
    }
    connection.write_all(&requests).await.unwrap();
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < 150 {
        let (kind, payload) = timeout(LONG, read_frame(&mut connection)).await.unwrap().unwrap();
        if kind == HEADERS {
            answered += 1;
        } else if kind == RST_STREAM {
            assert_eq!(payload, u32::from(Reason::REFUSED_STREAM).to_be_bytes());
            refused += 1;
        }
    }
    assert_eq!((answered, refused), (100, 50));
    server.running.stop();
}

/// Frames that no window limits, and that no handler reads.
#[tokio::test]
async fn floods_of_frames_end_the_connection() {
    let server = Server::start(&[]);
    // A long poll with a body.
    let poll = server.head(1, 0, "/v1/events?after=1000000&wait=20s");
    for (name, flood) in [("empty DATA", frame(DATA, 0, 1, &[])), ("PING", frame(PING, 0, 0, &[0; 8]))] {
        let (mut reader, mut writer) = split(server.open().await);
        let reading = tokio::spawn(async move { copy(&mut reader, &mut sink()).await });
        writer.write_all(&[PREFACE, &poll].concat()).await.unwrap();
        let (frames, mut sent) = (flood.repeat(1000), 0);
        while writer.write_all(&frames).await.is_ok() {
            sent += frames.len();
            // More than the sockets buffer.
            assert!(sent < 32 << 20, "{name}: the connection is still open");
        }
        assert!(sent > 500_000, "{name}: {sent}");
        let _ = timeout(LONG, reading).await.expect("the server has closed the connection");
    }
    let other = server.connect(&Builder::new()).await;
    assert_eq!(server.get(&other, "/healthz").await.unwrap().await.unwrap().status(), StatusCode::OK);
    server.running.stop();
}

#[tokio::test]
async fn client_that_resets_its_requests_is_disconnected() {
    let server = Server::start(&[]);
    let connection = server.connect(&Builder::new()).await;
    let mut sent = 0;
    // A dropped response resets the request. The handlers of the long polls go on.
    while let Ok(answer) = server.get(&connection, "/v1/events?after=1000000&wait=20s").await {
        drop(answer);
        sent += 1;
        assert!(sent < 10_000, "the connection is still open");
        tokio::task::yield_now().await;
    }
    let ended = timeout(LONG, connection.driver).await.unwrap().unwrap().unwrap_err();
    // The reset of the TCP connection can overtake GOAWAY.
    assert!(ended.is_io() || ended.reason() == Some(Reason::ENHANCE_YOUR_CALM), "{ended}");
    let other = server.connect(&Builder::new()).await;
    assert_eq!(server.get(&other, "/healthz").await.unwrap().await.unwrap().status(), StatusCode::OK);
    server.running.stop();
}

#[tokio::test]
async fn connections_beyond_the_maximum_close_others() {
    let server = Server::start(&["server.max_connections=16"]);
    let mut open = Vec::new();
    for _ in 0..40 {
        let connection = server.connect(&Builder::new()).await;
        let answer = server.get(&connection, "/healthz").await.unwrap().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        open.push(connection);
    }
    assert!(server.metric("keyswap_connections_shed_total").await >= 20);
    assert!(server.metric("keyswap_open_connections").await <= 16);
    let is_closed = || open.iter().filter(|connection| connection.driver.is_finished()).count();
    until("the oldest are closed", LONG, || async { is_closed() >= 20 }).await;
    assert!(open[..20].iter().all(|connection| connection.driver.is_finished()));
    server.running.stop();
}

#[tokio::test]
async fn response_that_is_not_read_ends() {
    let server = Server::start(&[]);
    // The client grants no room for bodies, but stays connected and confirms PING.
    let connection = server.connect(Builder::new().initial_window_size(0)).await;
    let answer = server.get(&connection, "/openapi.json").await.unwrap().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let ended = timeout(Duration::from_secs(40), read_all(answer.into_body())).await.expect("it is still open");
    assert_eq!(ended.unwrap_err().reason(), Some(Reason::CANCEL));
    assert!(!connection.driver.is_finished(), "other requests of the connection go on");
    server.running.stop();
}

/// Whether HEADERS of a response and GOAWAY arrive before the server closes the connection. The
/// client of `h2` would confirm GOAWAY with one of its own, which may find the connection closed.
async fn is_answered_and_told(mut connection: TlsStream<TcpStream>) -> bool {
    let (mut is_answered, mut is_told) = (false, false);
    while let Ok((kind, payload)) =
        timeout(Duration::from_secs(5), read_frame(&mut connection)).await.expect("it is still open")
    {
        is_answered |= kind == HEADERS;
        is_told |= kind == GO_AWAY;
        // After the first GOAWAY the server waits until the client confirms a PING (RFC 9113, 6.8).
        if kind == PING {
            connection.write_all(&frame(PING, ACK, 0, &payload)).await.unwrap();
        }
    }
    is_answered && is_told
}

#[tokio::test]
async fn drain_and_stop_announce_the_end_of_the_connection() {
    let server = Server::start(&["server.drain_delay=30s"]);
    let get = |path| [PREFACE, &server.head(1, END_STREAM, path)].concat();
    let mut poll = server.open().await;
    poll.write_all(&get("/v1/events?after=1000000&wait=20s")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.running.process.signal(Signal::TERM);
    assert!(is_answered_and_told(poll).await, "the long poll ends at once");
    // A new connection is served once.
    let mut connection = server.open().await;
    connection.write_all(&get("/healthz")).await.unwrap();
    assert!(is_answered_and_told(connection).await);
    server.running.stop();
}
