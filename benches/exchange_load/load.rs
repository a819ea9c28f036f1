//! The load: so many keep-alive connections, on each one request at a time, all on one thread. The client shares its cores with
//! what it measures, so it does as little as it can: requests are rendered in advance but for the key, and of an answer it reads
//! the status and the length.

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
    time::timeout,
};

use super::filling::Keys;

/// How long a run may take beyond its time.
const GRACE: Duration = Duration::from_secs(15);
/// A connection with so many failures gives up.
const MAX_FAILURES: u64 = 20;

/// One run.
#[derive(Debug, Default)]
pub struct Run {
    pub exchanges: u64,
    pub failures: u64,
    pub elapsed: Duration,
    /// In microseconds, in order.
    latencies: Vec<u32>,
}

impl Run {
    pub fn per_second(&self) -> f64 {
        self.exchanges as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that `part` of all requests did not exceed, in microseconds.
    pub fn percentile(&self, part: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * part).round() as usize).copied().unwrap_or_default().into()
    }
}

/// The client and its connections.
pub struct Load {
    runtime: Runtime,
    connections: Vec<Connection>,
}

impl Load {
    pub fn connect(port: u16, connections: u16, keys: &Arc<Keys>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connections = runtime.block_on(async {
            let mut all = Vec::new();
            for number in 0..connections {
                all.push(Connection::open(port, number, Arc::clone(keys)).await.expect("a connection"));
            }
            all
        });
        Self { runtime, connections }
    }

    /// Swaps keys for as long as it is told.
    pub fn run(&mut self, duration: Duration) -> Run {
        let connections = std::mem::take(&mut self.connections);
        let started = Instant::now();
        let swapping = async {
            let mut running = JoinSet::new();
            for connection in connections {
                running.spawn(connection.swap_until(started + duration));
            }
            timeout(duration + GRACE, running.join_all()).await.expect("answers in time")
        };
        let mut run = Run::default();
        for (connection, part) in self.runtime.block_on(swapping) {
            run.exchanges += part.exchanges;
            run.failures += part.failures;
            run.latencies.extend(part.latencies);
            self.connections.push(connection);
        }
        run.elapsed = started.elapsed();
        run.latencies.sort_unstable();
        run
    }
}

struct Connection {
    stream: TcpStream,
    keys: Arc<Keys>,
    /// The state of a small generator: which key comes next has no secret in it.
    random: u64,
    request: Vec<u8>,
    /// Where in the request the key stands.
    key_at: usize,
    answer: Box<[u8; 8192]>,
}

const BEFORE_KEY: &str = "POST /v1/exchange HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nAuthorization: Bearer ";

impl Connection {
    async fn open(port: u16, number: u16, keys: Arc<Keys>) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let mut request = BEFORE_KEY.as_bytes().to_vec();
        request.resize(BEFORE_KEY.len() + keys.width(), b' ');
        request.extend_from_slice(b"\r\n\r\n");
        let random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(number) + 1);
        Ok(Self { stream, keys, random, request, key_at: BEFORE_KEY.len(), answer: Box::new([0; 8192]) })
    }

    async fn swap_until(mut self, end: Instant) -> (Self, Run) {
        let mut run = Run::default();
        let mut sent = Instant::now();
        while sent < end && run.failures < MAX_FAILURES {
            match self.swap().await {
                Ok(true) => run.exchanges += 1,
                Ok(false) => run.failures += 1,
                Err(error) => {
                    eprintln!("a connection broke: {error}");
                    run.failures += MAX_FAILURES;
                }
            }
            let answered = Instant::now();
            run.latencies.push(u32::try_from((answered - sent).as_micros()).unwrap_or(u32::MAX));
            sent = answered;
        }
        (self, run)
    }

    /// One exchange, with a random key; whether it was answered 200.
    async fn swap(&mut self) -> io::Result<bool> {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let random = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        let key = self.keys.get(random as usize % self.keys.count());
        self.request[self.key_at..][..key.len()].copy_from_slice(key);
        self.stream.write_all(&self.request).await?;
        let mut filled = 0;
        loop {
            filled += match self.stream.read(&mut self.answer[filled..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => more,
            };
            if let Some(length) = length(&self.answer[..filled])? {
                if filled == length {
                    return Ok(self.answer.starts_with(b"HTTP/1.1 200"));
                }
                if filled > length || length > self.answer.len() {
                    return Err(io::Error::other("an answer of the wrong length"));
                }
            }
        }
    }
}

/// The length of an answer, head and body; nothing until its head is whole.
fn length(answer: &[u8]) -> io::Result<Option<usize>> {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let name = b"content-length: ";
    let body = answer[..head].split(|byte| *byte == b'\n').find_map(|line| {
        let (start, value) = line.split_at_checked(name.len())?;
        start.eq_ignore_ascii_case(name).then(|| std::str::from_utf8(value).ok()?.trim().parse::<usize>().ok())?
    });
    body.map(|body| Some(head + 4 + body)).ok_or_else(|| io::Error::other("an answer without a length"))
}
