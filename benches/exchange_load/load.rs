//! The load generator: keep-alive connections with one request at a time on each, all on one
//! thread. The client shares its cores with the measured process, so it does little work: it
//! renders requests in advance except for the key, and reads only the status and the length of a
//! response.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};

use super::{
    draw::{Draw, KeySampler, Random},
    response::{length, status},
    seed::Keys,
};

/// How long a run may exceed its duration.
const GRACE: Duration = Duration::from_secs(15);
/// A connection stops after this many failures.
const MAX_FAILURES: u64 = 20;

/// The result of one run.
#[derive(Debug, Default)]
pub struct Run {
    pub exchanges: u64,
    /// Responses with status 503.
    pub refused: u64,
    /// Responses with any other status except 200, and broken connections.
    pub failures: u64,
    pub elapsed: Duration,
    /// The latencies of exchanges in microseconds, in ascending order.
    latencies: Vec<u32>,
}

impl Run {
    pub fn per_second(&self) -> f64 {
        self.exchanges as f64 / self.elapsed.as_secs_f64()
    }

    /// The number of exchanges with at most this latency.
    pub fn in_time(&self, time: Duration) -> usize {
        self.latencies.partition_point(|latency| u128::from(*latency) <= time.as_micros())
    }

    /// The quantile `part` of the latencies of all exchanges, in microseconds.
    pub fn percentile(&self, part: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * part).round() as usize).copied().unwrap_or_default().into()
    }
}

/// The request that is sent repeatedly.
#[derive(Debug, Clone)]
pub struct RequestKind {
    request: Vec<u8>,
    /// `None` if the request contains no key.
    key: Option<KeyField>,
}

/// The key in a request, which is another one in each request.
#[derive(Debug, Clone, Copy)]
struct KeyField {
    /// The offset of the key in the request.
    at: usize,
    sampler: KeySampler,
}

impl RequestKind {
    fn with_key(before: &str, keys: &Keys, after: &str) -> Self {
        let mut request = before.as_bytes().to_vec();
        request.resize(before.len() + keys.width(), b' ');
        request.extend_from_slice(after.as_bytes());
        let sampler = KeySampler::new(Draw::Uniform, keys.count());
        Self { request, key: Some(KeyField { at: before.len(), sampler }) }
    }

    /// The same request with another draw of keys than the uniform one.
    pub fn with_draw(self, draw: Draw) -> Self {
        let key = self.key.map(|field| KeyField { sampler: field.sampler.with_draw(draw), ..field });
        Self { key, ..self }
    }

    pub fn exchange(keys: &Keys) -> Self {
        let head = "POST /v1/exchange HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nAuthorization: Bearer ";
        Self::with_key(head, keys, "\r\n\r\n")
    }

    /// A token request of a service client, whose secret is the key.
    pub fn client_credentials(keys: &Keys, client: &str) -> Self {
        let before = format!("grant_type=client_credentials&client_id={client}&client_secret=");
        let head = format!(
            "POST /oauth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{before}",
            before.len() + keys.width()
        );
        Self::with_key(&head, keys, "")
    }

    /// A validation of a key by a service, which authenticates with its own key.
    pub fn validation(keys: &Keys, service: &str) -> Self {
        let (before, after) = ("{\"value\":\"", "\"}");
        let head = format!(
            "POST /v1/api-keys/validate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Authorization: Bearer {service}\r\n\r\n{before}",
            before.len() + keys.width() + after.len()
        );
        Self::with_key(&head, keys, after)
    }

    pub fn get(path: &str) -> Self {
        Self { request: format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes(), key: None }
    }

    /// The request with this key.
    pub fn with_value(&self, key: &[u8]) -> Vec<u8> {
        let mut request = self.request.clone();
        if let Some(field) = self.key {
            insert_key(&mut request, field.at, key);
        }
        request
    }
}

/// Writes a key into a request at an offset.
fn insert_key(request: &mut [u8], at: usize, key: &[u8]) {
    request[at..][..key.len()].copy_from_slice(key);
}

/// When requests are sent.
#[derive(Debug, Clone, Copy)]
pub enum Rate {
    /// Each connection sends a request as soon as it has a response.
    Highest,
    /// The number of requests a second on all connections together. A connection that is late sends
    /// at once.
    PerSecond(f64),
}

/// The client and its connections.
pub struct Load {
    runtime: Runtime,
    connections: Vec<Connection>,
}

impl Load {
    pub fn connect(port: u16, connections: u16, keys: &Arc<Keys>, request_kind: &RequestKind) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connections = runtime.block_on(async {
            let mut all = Vec::new();
            for number in 0..connections {
                all.push(
                    Connection::open(port, number, Arc::clone(keys), request_kind.clone()).await.expect("a connection"),
                );
            }
            all
        });
        Self { runtime, connections }
    }

    /// Sends requests for the given duration.
    pub fn run(&mut self, duration: Duration, pace: Rate) -> Run {
        let connections = std::mem::take(&mut self.connections);
        let count = connections.len() as f64;
        let started = Instant::now();
        let swapping = async {
            let mut running = JoinSet::new();
            for (number, connection) in connections.into_iter().enumerate() {
                let beat = match pace {
                    Rate::Highest => None,
                    Rate::PerSecond(all) => {
                        let period = Duration::from_secs_f64(count / all);
                        Some((started + period.mul_f64(number as f64 / count), period))
                    }
                };
                running.spawn(connection.exchange_until(started + duration, beat));
            }
            timeout(duration + GRACE, running.join_all()).await.expect("answers in time")
        };
        let mut run = Run::default();
        for (connection, part) in self.runtime.block_on(swapping) {
            run.exchanges += part.exchanges;
            run.refused += part.refused;
            run.failures += part.failures;
            run.latencies.extend(part.latencies);
            self.connections.push(connection);
        }
        run.elapsed = started.elapsed();
        run.latencies.sort_unstable();
        run
    }

    /// Sends one request on each connection, all at the same time. After a 503 a connection waits
    /// for a second and retries, as real clients do.
    pub fn run_once(&mut self) -> Run {
        let connections = std::mem::take(&mut self.connections);
        let asking = async {
            let mut running = JoinSet::new();
            for mut connection in connections {
                running.spawn(async move {
                    let (mut status, mut refused) = (connection.send_request().await, 0);
                    while matches!(status, Ok(503)) {
                        refused += 1;
                        sleep(Duration::from_secs(1)).await;
                        status = connection.send_request().await;
                    }
                    (status, refused, connection)
                });
            }
            timeout(GRACE, running.join_all()).await.expect("answers in time")
        };
        let mut run = Run::default();
        for (status, refused, connection) in self.runtime.block_on(asking) {
            match status {
                Ok(200) => run.exchanges += 1,
                Ok(_) | Err(_) => run.failures += 1,
            }
            run.refused += u64::from(refused > 0);
            self.connections.push(connection);
        }
        run
    }
}

/// A keep-alive connection, with one request at a time.
pub struct Connection {
    stream: TcpStream,
    keys: Arc<Keys>,
    random: Random,
    request_kind: RequestKind,
    answer: Box<[u8; 8192]>,
}

impl Connection {
    pub async fn open(port: u16, number: u16, keys: Arc<Keys>, request_kind: RequestKind) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let random = Random::new(number);
        Ok(Self { stream, keys, random, request_kind, answer: Box::new([0; 8192]) })
    }

    /// `beat` is the time of the first request and the interval between requests.
    async fn exchange_until(mut self, end: Instant, beat: Option<(Instant, Duration)>) -> (Self, Run) {
        let mut run = Run::default();
        let (mut due, period) = beat.unwrap_or_else(|| (Instant::now(), Duration::ZERO));
        while due < end && run.failures < MAX_FAILURES {
            if beat.is_some() {
                sleep_until(due.into()).await;
            }
            let sent = Instant::now();
            match self.send_request().await {
                Ok(200) => {
                    run.exchanges += 1;
                    run.latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
                }
                Ok(503) => run.refused += 1,
                Ok(_) => run.failures += 1,
                Err(error) => {
                    eprintln!("a connection broke: {error}");
                    run.failures += MAX_FAILURES;
                }
            }
            // Missed beats are not made up for.
            due = Instant::now().max(due + period);
        }
        (self, run)
    }

    /// Sends one request with another key, and returns the status of the response.
    pub async fn send_request(&mut self) -> io::Result<u16> {
        if let Some(KeyField { at, sampler }) = self.request_kind.key {
            let key = self.keys.get(sampler.sample(&mut self.random));
            insert_key(&mut self.request_kind.request, at, key);
        }
        self.stream.write_all(&self.request_kind.request).await?;
        let mut filled = 0;
        loop {
            filled += match self.stream.read(&mut self.answer[filled..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => more,
            };
            if let Some(length) = length(&self.answer[..filled])? {
                if filled == length {
                    return status(&self.answer[..filled]);
                }
                if filled > length || length > self.answer.len() {
                    return Err(io::Error::other("an answer of the wrong length"));
                }
            }
        }
    }
}
