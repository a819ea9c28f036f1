//! A herd: clients whose tokens end in the same second. Nobody is told anything but a token or an early 503 that says when to come again,
//! and ten seconds later all is as it was.

use std::{sync::Arc, time::Duration};

use diesel::{Connection, PgConnection, connection::SimpleConnection};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::process::{Deployment, Running, each};
use crate::support::{
    Kind,
    keep_alive::{KeepAlive, exchange_of},
};

const CLIENTS: usize = 5_000;
/// Made over HTTP, which is what takes time here; `scripts/prove herd` has more.
const FEW: usize = 200;
const MANY: usize = 2_500;
/// When all must be normal again.
const CALM: Duration = Duration::from_secs(10);
/// When whoever is not served must know at the latest.
const EARLY: Duration = Duration::from_secs(3);

/// One of them.
struct Client {
    line: Option<KeepAlive>,
    request: Arc<Vec<u8>>,
    number: usize,
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
    let client = |number| Client { line: None, request: Arc::clone(&requests[number % requests.len()]), number };
    (0..count).map(client).collect()
}

async fn herd(deployment: &Deployment, keys: usize) {
    let (server, requests) = pasture(deployment, keys).await;
    let mut clients = clients(CLIENTS, &requests);
    // With new connections, and once more on those that are open.
    for wave in ["a new herd", "the same herd again"] {
        (clients, _) = stampede(deployment.database.kind, &server, clients, wave).await;
        calm(&server, &requests).await;
    }
    drop(clients);
    server.stop();
}

/// Gives how often one was refused.
async fn stampede(kind: Kind, server: &Running, clients: Vec<Client>, wave: &str) -> (Vec<Client>, usize) {
    let (began, base, count) = (Instant::now(), Arc::<str>::from(server.base.as_str()), clients.len());
    let mut running = JoinSet::new();
    for client in clients {
        running.spawn(client.renew(Arc::clone(&base)));
    }
    let (clients, went): (Vec<_>, Vec<_>) = running.join_all().await.into_iter().unzip();
    let took = began.elapsed();
    let refused: usize = went.iter().map(|one| one.refused).sum();
    let told = went.iter().map(|one| one.told).max().unwrap();
    let mut served: Vec<_> = went.iter().map(|one| one.served).collect();
    served.sort();
    eprintln!(
        "{kind:?}, {wave} of {count}: all served after {took:.2?}, half of them after {:.2?}; {refused} times 503, after {told:.2?} at most",
        served[count / 2]
    );
    assert!(took < CALM, "{wave}: {took:?}");
    assert!(told < EARLY, "{wave}: a 503 only after {told:?}");
    sleep_until(began + if refused > 0 { CALM } else { took }).await;
    (clients, refused)
}

/// Whoever comes now is served, and at once.
async fn calm(server: &Running, requests: &Requests) {
    let mut line = KeepAlive::open(&server.base).await.unwrap();
    let mut times = Vec::new();
    for request in requests {
        let asked = Instant::now();
        let answer = line.ask(request).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        times.push(asked.elapsed());
    }
    times.sort();
    assert!(times[times.len() * 99 / 100] < Duration::from_secs(1), "{times:?}");
}

each! {
    async fn five_thousand_at_once(deployment: Deployment) {
        herd(&deployment, FEW).await;
    }
}

#[test]
#[ignore = "takes minutes: scripts/prove herd"]
fn five_thousand_at_once_with_many_keys() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for kind in [Kind::Sqlite, Kind::Postgres] {
        runtime.block_on(herd(&Deployment::new(kind), MANY));
    }
}

/// PostgreSQL stands still for a moment, and more wait for it than it could serve in time: those beyond are told at once, in either form.
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
        let release = tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_secs(2));
            lock.batch_execute("COMMIT").unwrap();
        });
        let (_, refused) = stampede(Kind::Postgres, &server, clients(3_000, &requests), "a herd before a gate").await;
        release.await.unwrap();
        assert!(refused >= 500, "{refused}");
        calm(&server, &requests).await;
        server.stop();
    });
}

/// The same key at the token endpoint.
fn token_of(key: &str) -> Vec<u8> {
    let (id, _) = key.rsplit_once('_').unwrap();
    let body = format!("grant_type=client_credentials&client_id={id}&client_secret={key}");
    let head = "POST /oauth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
