//! A herd: clients whose tokens end in the same second. Nobody is told anything but a token or a 503 that says when to come again, and
//! afterwards all is as it was. How long that takes is measured on a release build alone: `scripts/prove herd`.

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

/// How many come, with how many keys, how often; and whether the time they take is bounded.
struct Size {
    clients: usize,
    keys: usize,
    waves: &'static [&'static str],
    is_timed: bool,
}

/// For every change. Keys are made over HTTP, which is what takes time here.
const FEW: Size = Size { clients: 1_000, keys: 100, waves: &["a new herd"], is_timed: false };
/// With new connections, and once more on those that are open.
const MANY: Size = Size {
    clients: 5_000,
    keys: 2_500,
    waves: &["a new herd", "the same herd again"],
    is_timed: !cfg!(debug_assertions),
};
/// When all must be normal again.
const CALM: Duration = Duration::from_secs(10);
/// When whoever is not served must know at the latest.
const EARLY: Duration = Duration::from_secs(3);

/// One of them.
struct Client {
    line: Option<KeepAlive>,
    request: Arc<Vec<u8>>,
    number: usize,
    /// How often any of them was refused.
    refused: Arc<AtomicUsize>,
}

/// How it went for one.
struct Went {
    /// From the moment it began until it had a token.
    served: Duration,
    /// How often it was told to come again, and how long it waited for that at most.
    refused: usize,
    told: Duration,
}

impl Client {
    /// Asks until it has a token, as often as it is told to come again.
    async fn renew(mut self, base: Arc<str>) -> (Self, Went) {
        let began = Instant::now();
        let mut went = Went { served: Duration::ZERO, refused: 0, told: Duration::ZERO };
        if self.line.is_none() {
            self.line = Some(KeepAlive::open(&base).await.unwrap());
        }
        loop {
            let asked = Instant::now();
            let answer = self.line.as_mut().unwrap().ask(&self.request).await.unwrap();
            match answer.status {
                200 => break,
                503 => {
                    went.refused += 1;
                    self.refused.fetch_add(1, Ordering::SeqCst);
                    went.told = went.told.max(asked.elapsed());
                    let wait = answer.header("retry-after").unwrap_or_else(|| panic!("{answer:?}"));
                    // Not all of them at the same moment again, which is what clients are told to do.
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

/// A server, and requests with so many keys.
async fn pasture(deployment: &Deployment, keys: usize) -> (Running, Requests) {
    // One descriptor for each client, here and in the server, which has the limit from us.
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

async fn herd(deployment: &Deployment, size: &Size) {
    let (server, requests) = pasture(deployment, size.keys).await;
    let mut all = clients(size.clients, &requests);
    for wave in size.waves {
        let came = stampede(deployment.database.kind, &server, all, wave).await;
        assert_eq!(came.clients.len(), size.clients, "everyone was served");
        if size.is_timed {
            assert!(came.took < CALM, "{wave}: {:?}", came.took);
            assert!(came.told < EARLY, "{wave}: a 503 only after {:?}", came.told);
            sleep_until(came.began + if came.refused > 0 { CALM } else { came.took }).await;
        }
        let p99 = calm(&server, &requests).await;
        assert!(!size.is_timed || p99 < Duration::from_secs(1), "{wave}: {p99:?} afterwards");
        all = came.clients;
    }
    drop(all);
    server.stop();
}

/// How it went for all of them.
struct Came {
    clients: Vec<Client>,
    began: Instant,
    took: Duration,
    /// How often one was refused, and how long the last of them waited for that.
    refused: usize,
    told: Duration,
}

async fn stampede(kind: Kind, server: &Running, clients: Vec<Client>, wave: &str) -> Came {
    let (began, base, count) = (Instant::now(), Arc::<str>::from(server.base.as_str()), clients.len());
    let mut running = JoinSet::new();
    for client in clients {
        running.spawn(client.renew(Arc::clone(&base)));
    }
    // Far more than it takes, and no wait for ever.
    let all = timeout(3 * LONG, running.join_all()).await.expect("somebody is never served");
    let (clients, went): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    let took = began.elapsed();
    let refused: usize = went.iter().map(|one| one.refused).sum();
    let told = went.iter().map(|one| one.told).max().unwrap();
    let mut served: Vec<_> = went.iter().map(|one| one.served).collect();
    served.sort();
    eprintln!(
        "{kind:?}, {wave} of {count}: all served after {took:.2?}, half of them after {:.2?}; {refused} times 503, after {told:.2?} at most",
        served[count / 2]
    );
    Came { clients, began, took, refused, told }
}

/// Whoever comes now is served. Gives the 99th percentile of the time that takes.
async fn calm(server: &Running, requests: &Requests) -> Duration {
    let mut line = KeepAlive::open(&server.base).await.unwrap();
    let mut times = Vec::new();
    for request in requests {
        let asked = Instant::now();
        let answer = line.ask(request).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        times.push(asked.elapsed());
    }
    times.sort();
    times[times.len() * 99 / 100]
}

each! {
    async fn a_thousand_at_once(deployment: Deployment) {
        herd(&deployment, &FEW).await;
    }
}

#[test]
#[ignore = "takes minutes: scripts/prove herd"]
fn five_thousand_at_once_with_many_keys() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for kind in [Kind::Sqlite, Kind::Postgres] {
        runtime.block_on(herd(&Deployment::new(kind), &MANY));
        panics::assert_none();
    }
}

/// PostgreSQL stands still for a moment, and more wait for it than it could serve in time: those beyond are told at once, in either form.
/// SQLite has no such gate: who reads there waits for no lock.
#[test]
fn who_finds_the_queue_full_is_told_at_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let deployment = Deployment::new(Kind::Postgres);
        let (server, mut requests) = pasture(&deployment, 5).await;
        let (_, value) = server.key(&deployment.admin()).await;
        requests.push(Arc::new(token_of(&value)));
        let mut lock = PgConnection::establish(&deployment.database.url).unwrap();
        lock.batch_execute("BEGIN; LOCK TABLE credentials IN ACCESS EXCLUSIVE MODE").unwrap();
        let herd = clients(2_500, &requests);
        let refused = Arc::clone(&herd[0].refused);
        let release = tokio::spawn(async move {
            // Not one of them can be served, and the queue holds 2,048.
            until("100 are refused", LONG, || async { refused.load(Ordering::SeqCst) >= 100 }).await;
            lock.batch_execute("COMMIT").unwrap();
        });
        stampede(Kind::Postgres, &server, herd, "a herd before a gate").await;
        release.await.unwrap();
        calm(&server, &requests).await;
        server.stop();
    });
    panics::assert_none();
}

/// The same key at the token endpoint.
fn token_of(key: &str) -> Vec<u8> {
    let (id, _) = key.rsplit_once('_').unwrap();
    let body = format!("grant_type=client_credentials&client_id={id}&client_secret={key}");
    let head = "POST /oauth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
