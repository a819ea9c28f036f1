//! No access to private networks (wh-06, 3-11): for every URL and every result of name resolution,
//! no connection is made to an unchecked address.

use std::{
    future::{Future, ready},
    io::{Read, Write},
    net::{IpAddr, TcpListener},
    pin::Pin,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use futures_util::FutureExt;
use keyswap::{
    crypto::tls,
    outbound::{
        DestinationError, NoAddress, Outbound, OutboundGuard, RequestError, Resolve, SystemResolver, WebhookResponse,
    },
};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::{
    hook, loopback, newest,
    receiver::{Receiver, Reply},
};
use crate::support::both;

/// A malicious resolver. It returns each answer once and then repeats the last one.
#[derive(Debug)]
struct SpoofedResolver {
    answers: Vec<Vec<IpAddr>>,
    asked: Mutex<Vec<String>>,
}

impl SpoofedResolver {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answers = answers.iter().map(|one| one.iter().map(|text| text.parse().unwrap()).collect()).collect();
        Arc::new(Self { answers, asked: Mutex::default() })
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Resolve for SpoofedResolver {
    fn resolve<'a>(
        &'a self,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, NoAddress>> + Send + 'a>> {
        let mut asked = self.asked.lock().unwrap();
        let answer = self.answers.get(asked.len()).or(self.answers.last()).cloned().ok_or(NoAddress);
        asked.push(name.to_owned());
        Box::pin(ready(answer))
    }
}

fn strict() -> OutboundGuard {
    OutboundGuard { allow_http: true, allowed_ports: vec!["1-65535".parse().unwrap()], ..OutboundGuard::default() }
}

fn with_loopback() -> OutboundGuard {
    OutboundGuard { allowed_networks: vec!["127.0.0.0/8".parse().unwrap()], ..strict() }
}

fn outbound(guard: OutboundGuard, resolver: Arc<dyn Resolve>) -> Outbound {
    Outbound::new(guard, tls::crypto_provider(), resolver)
}

async fn post(outbound: &Outbound, url: &str) -> Result<WebhookResponse, RequestError> {
    outbound.post(&url.parse().unwrap(), &[], b"{}".to_vec()).await
}

fn run(test: impl Future<Output = ()>) {
    crate::support::panics::watch();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
    crate::support::panics::assert_none();
}

/// A port without a listener.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

const PRIVATE: RequestError = RequestError::Refused(DestinationError::AddressNotAllowed);

#[test]
fn every_notation_of_a_private_address_is_refused() {
    run(async {
        let receiver = Receiver::new(Reply::Status(200));
        let port = receiver.port;
        let outbound = outbound(strict(), Arc::new(SystemResolver::default()));
        for host in [
            "127.0.0.1",
            "127.1",
            "127.255.255.254",
            "0",
            "0.0.0.0",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "localhost",
            "localhost.",
            "LOCALHOST",
            "%6cocalhost",
            "[::1]",
            "[::]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "[fe80::1]",
            "[fd00:ec2::254]",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
        ] {
            for scheme in ["http", "https"] {
                let url = format!("{scheme}://{host}:{port}/");
                let refused = post(&outbound, &url).await;
                // A name with a trailing dot is sent to name servers, and there may be none.
                let unknown = host == "localhost." && refused == Err(RequestError::NoAddress);
                assert!(refused == Err(PRIVATE) || unknown, "{url}: {refused:?}");
            }
        }
        assert_eq!(receiver.connections(), 0);
    });
}

#[test]
fn name_resolving_to_a_private_address_is_refused() {
    run(async {
        let receiver = Receiver::new(Reply::Status(200));
        let url = format!("http://a.test:{}/", receiver.port);
        for address in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "fd00::1",
            "fe80::1",
            "0.0.0.0",
            "::",
        ] {
            let resolver = SpoofedResolver::new(&[&[address]]);
            let refused = post(&outbound(strict(), resolver.clone()), &url).await;
            assert_eq!(refused, Err(PRIVATE), "{address}");
            assert_eq!(*resolver.asked.lock().unwrap(), ["a.test"]);
            let text = refused.unwrap_err().to_string();
            assert!(!text.contains(address), "the resolved address is not revealed: {text}");
        }
        assert_eq!(receiver.connections(), 0);
        // Of several addresses only permitted ones are used. The others are not tried.
        let mixed = SpoofedResolver::new(&[&["10.0.0.1", "::1", "127.0.0.1"]]);
        let answer = post(&outbound(with_loopback(), mixed), &url).await.unwrap();
        assert_eq!((answer.status, receiver.connections()), (200, 1));
    });
}

#[test]
fn dns_rebinding_is_refused() {
    run(async {
        let receiver = Receiver::new(Reply::Status(200));
        let url = format!("http://a.test:{}/", receiver.port);
        // 127.0.0.2 represents a public address, and the receiver on 127.0.0.1 a private one. The
        // name first resolves to the former and then to the latter: it must not be resolved again
        // between check and connection.
        let guard = || OutboundGuard { allowed_networks: vec!["127.0.0.2/32".parse().unwrap()], ..strict() };
        let flips = SpoofedResolver::new(&[&["127.0.0.2"], &["127.0.0.1"]]);
        let flipping = outbound(guard(), flips.clone());
        assert_eq!(
            post(&flipping, &url).await,
            Err(RequestError::ConnectionFailed),
            "the checked address has no listener"
        );
        assert_eq!(flips.asked(), 1, "asked once");
        assert_eq!(post(&flipping, &url).await, Err(PRIVATE), "resolved for each delivery");
        assert_eq!((flips.asked(), receiver.connections()), (2, 0));
        // The reverse: an address that was reached once is not reached again without a check.
        let flips = SpoofedResolver::new(&[&["127.0.0.1"], &["10.0.0.1"]]);
        let flipping = outbound(with_loopback(), flips.clone());
        assert_eq!(post(&flipping, &url).await.unwrap().status, 200);
        assert_eq!(post(&flipping, &url).await, Err(PRIVATE));
        assert_eq!((flips.asked(), receiver.connections()), (2, 1), "no connection is kept for later");
    });
}

#[test]
fn redirects_are_not_followed() {
    run(async {
        let private = Receiver::new(Reply::Status(200));
        let outbound = outbound(with_loopback(), SpoofedResolver::new(&[&["127.0.0.1"]]));
        for location in [
            private.url.clone(),
            "http://169.254.169.254/".to_owned(),
            "file:///etc/passwd".to_owned(),
            "gopher://a/".to_owned(),
        ] {
            let receiver = Receiver::new(Reply::With(307, format!("location: {location}")));
            assert_eq!(post(&outbound, &receiver.url).await.unwrap().status, 307);
        }
        assert_eq!(private.connections(), 0);
    });
}

#[test]
fn only_permitted_ports_are_reached() {
    run(async {
        let public = SpoofedResolver::new(&[&["127.0.0.1"]]);
        let guard = |allow_http: bool, ports: &[&str]| OutboundGuard {
            allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
            allowed_ports: ports.iter().map(|one| one.parse().unwrap()).collect(),
            allow_http,
        };
        let refused = |fault: DestinationError| Err(RequestError::Refused(fault));
        let receiver = Receiver::new(Reply::Status(200));
        let own = receiver.port.to_string();
        for (guard, url, expected) in [
            (guard(false, &[]), "http://a.test/", refused(DestinationError::Unencrypted)),
            (guard(true, &[]), "http://a.test:443/", refused(DestinationError::Port)),
            (guard(true, &[]), "https://a.test:80/", refused(DestinationError::Port)),
            (guard(true, &[]), "https://a.test:22/", refused(DestinationError::Port)),
            (guard(true, &["8000-8999"]), "http://a.test:9000/", refused(DestinationError::Port)),
            (guard(true, &[]), &receiver.url, refused(DestinationError::Port)),
        ] {
            assert_eq!(post(&outbound(guard, public.clone()), url).await, expected, "{url}");
        }
        assert_eq!(post(&outbound(guard(true, &[&own]), public), &receiver.url).await.unwrap().status, 200);
    });
}

#[test]
fn endless_response_body_is_cut_off() {
    run(async {
        let receiver = Receiver::new(Reply::Endless);
        let outbound = outbound(with_loopback(), SpoofedResolver::new(&[]));
        // The call returns although the body never ends.
        assert_eq!(post(&outbound, &receiver.url).await.unwrap().status, 200);
        // The connection was closed during the write. Bytes that were written and not read
        // were in kernel buffers.
        receiver.wait_for_ends(1).await;
        let written = *receiver.written.lock().unwrap();
        assert!(written < 16 * 1024 * 1024, "{written}");
    });
}

// Requirements: wh-05.
#[test]
fn slow_response_times_out_between_15_and_30_seconds() {
    run(async {
        let patient = outbound(with_loopback(), SpoofedResolver::new(&[]));
        assert!((15..=30).contains(&patient.deadline().as_secs()), "{:?}", patient.deadline());
        // The same with a shorter deadline. Neither receiver ever answers.
        let hasty = patient.within(Duration::from_millis(200));
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = format!("http://{}/", silent.local_addr().unwrap());
        for url in [&Receiver::new(Reply::Hang).url, &silent] {
            assert_eq!(post(&hasty, url).await, Err(RequestError::TooSlow));
        }
    });
}

#[test]
fn non_http_and_unreachable_receivers_are_failures() {
    run(async {
        let outbound = outbound(with_loopback(), SpoofedResolver::new(&[]));
        let nonsense = Receiver::new(Reply::Nonsense);
        assert_eq!(post(&outbound, &nonsense.url).await, Err(RequestError::Broken));
        assert_eq!(
            post(&outbound, &format!("http://127.0.0.1:{}/", free_port())).await,
            Err(RequestError::ConnectionFailed)
        );
        assert_eq!(post(&outbound, "http://a.test/").await, Err(RequestError::NoAddress));
    });
}

#[test]
fn proxy_of_the_environment_is_ignored() {
    // No proxy support is compiled in: the feature that reads the environment is disabled, and
    // `no_proxy` is set as well.
    let manifest = include_str!("../../../Cargo.toml");
    let reqwest = manifest.lines().find(|line| line.starts_with("reqwest = ")).unwrap();
    for feature in ["system-proxy", "socks", "cookies", "gzip", "brotli", "deflate", "zstd"] {
        assert!(!reqwest.contains(feature), "{reqwest}");
    }
    assert!(reqwest.contains("default-features = false"));
}

/// A TLS server for `localhost`, and the configuration of a client that trusts it.
fn tls_server() -> (u16, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(tls::crypto_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let client = ClientConfig::builder_with_provider(tls::crypto_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Arc::new(server);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&server)).unwrap(), stream);
            if tls.read(&mut [0; 4096]).is_ok() {
                let _ = tls.write_all(b"HTTP/1.1 204 X\r\nconnection: close\r\n\r\n");
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        }
    });
    (port, client)
}

#[test]
fn tls_requires_a_trusted_certificate_for_the_name() {
    run(async {
        let (port, trusting) = tls_server();
        let (url, other) = (format!("https://localhost:{port}/"), format!("https://a.test:{port}/"));
        let make = || outbound(with_loopback(), SpoofedResolver::new(&[&["127.0.0.1"]]));
        assert_eq!(post(&make().with_tls_config(trusting.clone()), &url).await.unwrap().status, 204);
        assert_eq!(post(&make().with_tls_config(trusting), &other).await, Err(RequestError::Tls), "another name");
        assert_eq!(post(&make(), &url).await, Err(RequestError::Tls), "the certificate is not trusted");
    });
}

#[test]
fn failed_name_resolution_is_not_repeated_at_once() {
    run(async {
        let resolver = SystemResolver::default();
        // A lookup runs in another thread and does not complete at once. A cached
        // result is available at once.
        assert_eq!(resolver.resolve("nowhere.invalid").now_or_never(), None);
        assert_eq!(resolver.resolve("nowhere.invalid").await, Err(NoAddress));
        for _ in 0..100 {
            assert_eq!(resolver.resolve("nowhere.invalid").now_or_never(), Some(Err(NoAddress)));
        }
        assert_eq!(resolver.resolve("elsewhere.invalid").now_or_never(), None, "each name by itself");
    });
}

both! {
    // Requirements: wh-06.
    async fn name_of_this_machine_is_refused_at_delivery(server: Server, "jobs=by_hand", "webhooks.allow_http=true", r#"webhooks.allowed_ports=["1-65535"]"#) {
        let receiver = Receiver::new(Reply::Status(200));
        for name in ["localhost", "LocalHost"] {
            let made = hook(&server, &format!("http://{name}:{}/", receiver.port), &["permission.created"]).await;
            let said = server.manage("POST", &format!("{}/test", made.path()), None, 200).await;
            assert_eq!((&said["delivered"], &said["status"]), (&json!(false), &Value::Null));
            assert_eq!(said["error"], "not sent: the host has no allowed address");
            server.permissions(&[&format!("p:{name}")]).await;
            let delivery = newest(&server, &made, "waiting", 1).await;
            assert_eq!((&delivery["last_error"], &delivery["last_status"]), (&said["error"], &Value::Null));
        }
        assert_eq!(receiver.connections(), 0);
    }
}

loopback! {
    // Requirements: wh-06.
    async fn permitted_address_is_reached_by_name(server: Server) {
        let receiver = Receiver::new(Reply::Status(200));
        let made = hook(&server, &format!("http://localhost:{}/", receiver.port), &["permission.created"]).await;
        let said = server.manage("POST", &format!("{}/test", made.path()), None, 200).await;
        assert_eq!(said["delivered"], true, "{said}");
        assert_eq!(receiver.all()[0].header("host"), format!("localhost:{}", receiver.port), "the name stays what it was");
    }
}
