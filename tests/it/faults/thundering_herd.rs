//! Thundering herd: many clients whose tokens expire in the same second. Each gets either a token
//! or a 503 with `Retry-After`, and the service returns to normal afterwards. Times are bounded
//! only in a release build, by `scripts/prove thundering_herd`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use diesel::{Connection, PgConnection, connection::SimpleConnection};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::process::{Deployment, LONG, Running, each, until};
use crate::support::{
    Kind,
    keep_alive::{KeepAlive, exchange_of},
    panics,
};

/// The number of clients and keys, the waves, and whether times are bounded.
struct Size {
    clients: usize,
    keys: usize,
    waves: &'static [&'static str],
    is_timed: bool,
}

/// For every change. Creating the keys over HTTP takes most of the time.
const SAMPLE: Size = Size { clients: 1_000, keys: 100, waves: &["a new herd"], is_timed: false };
/// One wave on new connections, and one on the connections that are then open.
const FULL: Size = Size {
    clients: 5_000,
    keys: 2_500,
    waves: &["a new herd", "the same herd again"],
    is_timed: !cfg!(debug_assertions),
};
/// The time within which all clients must be served.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time from a request to its 503.
const EARLY: Duration = Duration::from_secs(3);

/// One client of the herd.
struct Client {
    line: Option<KeepAlive>,
    request: Arc<Vec<u8>>,
    number: usize,
    /// The number of 503 responses, shared by all clients.
    refused: Arc<AtomicUsize>,
}

/// The result for one client.
struct Outcomes {
    /// The time from its first request to its token.
    served: Duration,
    /// The number of 503 responses, and the longest wait for one of them.
    refused: usize,
    latest_503: Duration,
}

impl Client {
    /// Sends the request until it gets a token, and waits as `Retry-After` says after each 503.
    async fn exchange_at(mut self, base: Arc<str>) -> (Self, Outcomes) {
        let began = Instant::now();
        let mut went = Outcomes { served: Duration::ZERO, refused: 0, latest_503: Duration::ZERO };
        if self.line.is_none() {
            self.line = Some(KeepAlive::open(&base).await.unwrap());
        }
        loop {
            let sent_at = Instant::now();
            let answer = self.line.as_mut().unwrap().ask(&self.request).await.unwrap();
            match answer.status {
                200 => break,
                503 => {
                    went.refused += 1;
                    self.refused.fetch_add(1, Ordering::SeqCst);
                    went.latest_503 = went.latest_503.max(sent_at.elapsed());
                    let wait = answer.header("retry-after").unwrap_or_else(|| panic!("{answer:?}"));
                    // A jitter of up to one second. Clients are advised to add one, so that they do
                    // not retry in the same moment.
                    let spread = Duration::from_millis(self.number as u64 % 1000);
                    sleep(Duration::from_secs(wait.parse().unwrap()) + spread).await;
                }
                _ => panic!("{answer:?}"),
            }
        }
        went.served = began.elapsed();
        (self, went)
    }
}

type Requests = Vec<Arc<Vec<u8>>>;

/// A server, and exchange requests for `keys` new keys.
async fn start_deployment(deployment: &Deployment, keys: usize) -> (Running, Requests) {
    // Each client needs a file descriptor, here and in the server, which inherits the limit.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let server = deployment.serve();
    let admin = deployment.admin();
    let mut requests = Vec::new();
    for _ in 0..keys {
        let (_, value) = server.key(&admin).await;
        requests.push(Arc::new(exchange_of(&value, "")));
    }
    (server, requests)
}

fn clients(count: usize, requests: &Requests) -> Vec<Client> {
    let refused = Arc::new(AtomicUsize::new(0));
    let client = |number| Client {
        line: None,
        request: Arc::clone(&requests[number % requests.len()]),
        number,
        refused: Arc::clone(&refused),
    };
    (0..count).map(client).collect()
}

async fn clients_of(deployment: &Deployment, size: &Size) {
    let (server, requests) = start_deployment(deployment, size.keys).await;
    let mut all = clients(size.clients, &requests);
    for wave in size.waves {
        let came = send_all_at_once(deployment.database.kind, &server, all, wave).await;
        assert_eq!(came.clients.len(), size.clients, "everyone was served");
        if size.is_timed {
            assert!(came.took < RECOVERY_TIMEOUT, "{wave}: {:?}", came.took);
            assert!(came.latest_503 < EARLY, "{wave}: a 503 only after {:?}", came.latest_503);
            sleep_until(came.began + if came.refused > 0 { RECOVERY_TIMEOUT } else { came.took }).await;
        }
        let p99 = assert_recovered(&server, &requests).await;
        assert!(!size.is_timed || p99 < Duration::from_secs(1), "{wave}: {p99:?} afterwards");
        all = came.clients;
    }
    drop(all);
    server.stop();
}

/// The result for all clients.
struct Arrivals {
    clients: Vec<Client>,
    began: Instant,
    took: Duration,
    /// The number of 503 responses, and the longest wait for one of them.
    refused: usize,
    latest_503: Duration,
}

async fn send_all_at_once(kind: Kind, server: &Running, clients: Vec<Client>, wave: &str) -> Arrivals {
    let (began, base, count) = (Instant::now(), Arc::<str>::from(server.base.as_str()), clients.len());
    let mut running = JoinSet::new();
    for client in clients {
        running.spawn(client.exchange_at(Arc::clone(&base)));
    }
    // A generous upper bound, so that the test ends.
    let all = timeout(3 * LONG, running.join_all()).await.expect("somebody is never served");
    let (clients, went): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    let took = began.elapsed();
    let refused: usize = went.iter().map(|one| one.refused).sum();
    let latest_503 = went.iter().map(|one| one.latest_503).max().unwrap();
    let mut served: Vec<_> = went.iter().map(|one| one.served).collect();
    served.sort();
    eprintln!(
        "{kind:?}, {wave} of {count}: all served after {took:.2?}, half of them after {:.2?}; {refused} times 503, after {latest_503:.2?} at most",
        served[count / 2]
    );
    Arrivals { clients, began, took, refused, latest_503 }
}

/// Asserts that every request is served, and returns the 99th percentile of the latency.
async fn assert_recovered(server: &Running, requests: &Requests) -> Duration {
    let mut line = KeepAlive::open(&server.base).await.unwrap();
    let mut times = Vec::new();
    for request in requests {
        let sent_at = Instant::now();
        let answer = line.ask(request).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        times.push(sent_at.elapsed());
    }
    times.sort();
    times[times.len() * 99 / 100]
}

each! {
    async fn thousand_clients_at_once_are_served(deployment: Deployment) {
        clients_of(&deployment, &SAMPLE).await;
    }
}

#[test]
#[ignore = "takes minutes: scripts/prove thundering_herd"]
fn five_thousand_clients_at_once_are_served() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for kind in [Kind::Sqlite, Kind::Postgres] {
        runtime.block_on(clients_of(&Deployment::new(kind), &FULL));
        panics::assert_none();
    }
}

/// PostgreSQL is blocked by a lock, and more requests wait for it than the queue of look-ups holds.
/// The excess ones get 503 at once, at `/v1/exchange` and at the token endpoint. SQLite has no such
/// queue, because its readers wait for no lock.
#[test]
fn full_queue_is_answered_503_at_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let deployment = Deployment::new(Kind::Postgres);
        let (server, mut requests) = start_deployment(&deployment, 5).await;
        let (_, value) = server.key(&deployment.admin()).await;
        requests.push(Arc::new(token_of(&value)));
        let mut lock = PgConnection::establish(&deployment.database.url).unwrap();
        lock.batch_execute("BEGIN; LOCK TABLE credentials, narrow_credentials IN ACCESS EXCLUSIVE MODE").unwrap();
        let clients_of = clients(2_500, &requests);
        let refused = Arc::clone(&clients_of[0].refused);
        let release = tokio::spawn(async move {
            // No request can be served while the lock is held, and the queue holds 2,048 requests.
            until("100 are refused", LONG, || async { refused.load(Ordering::SeqCst) >= 100 }).await;
            lock.batch_execute("COMMIT").unwrap();
        });
        send_all_at_once(Kind::Postgres, &server, clients_of, "a herd before a gate").await;
        release.await.unwrap();
        assert_recovered(&server, &requests).await;
        server.stop();
    });
    panics::assert_none();
}

/// A request to the token endpoint with the same key.
fn token_of(key: &str) -> Vec<u8> {
    let (id, _) = key.rsplit_once('_').unwrap();
    let body = format!("grant_type=client_credentials&client_id={id}&client_secret={key}");
    let head = "POST /oauth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
