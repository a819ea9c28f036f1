//! A proxy in front of PostgreSQL that disturbs single requests. It passes a request and its answer
//! in turn, as libpq does outside of pipeline mode.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    injection::{Fault, STALL},
    messages::{Request, error_response, query, read_answer, read_startup, ready},
};
use crate::support::seeds::Random;

pub struct ProtocolProxy {
    pub port: u16,
    shared: Arc<Shared>,
    accepts: Option<thread::JoinHandle<()>>,
}

struct Shared {
    fault: Fault,
    is_injecting: AtomicBool,
    is_ended: AtomicBool,
    disturbed: AtomicUsize,
    disturbed_commits: AtomicUsize,
    /// Both sides of each open connection, so that the end of the proxy ends them.
    streams: Mutex<BTreeMap<u64, [TcpStream; 2]>>,
}

impl ProtocolProxy {
    /// Starts a proxy that injects nothing yet. Each connection has a schedule of its own, which
    /// depends on the seed and on the number of the connection.
    pub fn start(target: u16, fault: Fault, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            fault,
            is_injecting: AtomicBool::new(false),
            is_ended: AtomicBool::new(false),
            disturbed: AtomicUsize::new(0),
            disturbed_commits: AtomicUsize::new(0),
            streams: Mutex::default(),
        });
        let here = Arc::clone(&shared);
        let accepts = thread::spawn(move || {
            let mut connections: Vec<thread::JoinHandle<()>> = Vec::new();
            for (number, client) in (0_u64..).zip(listener.incoming()) {
                if here.is_ended.load(Ordering::SeqCst) {
                    break;
                }
                let client = client.unwrap();
                let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let both = [client.try_clone().unwrap(), server.try_clone().unwrap()];
                here.streams.lock().unwrap().insert(number, both);
                let random = Random::new(seed.wrapping_add(number));
                let connection = Connection { number, client, server, random, shared: Arc::clone(&here) };
                connections.retain(|one| !one.is_finished());
                connections.push(thread::spawn(move || connection.run()));
            }
            for connection in connections {
                connection.join().unwrap();
            }
        });
        Self { port, shared, accepts: Some(accepts) }
    }

    pub fn inject(&self, is_injecting: bool) {
        self.shared.is_injecting.store(is_injecting, Ordering::SeqCst);
    }

    /// The number of disturbed requests, and of commits among them.
    pub fn disturbed(&self) -> (usize, usize) {
        (self.shared.disturbed.load(Ordering::SeqCst), self.shared.disturbed_commits.load(Ordering::SeqCst))
    }
}

impl Drop for ProtocolProxy {
    fn drop(&mut self) {
        self.shared.is_ended.store(true, Ordering::SeqCst);
        for stream in self.shared.streams.lock().unwrap().values().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Unblocks the accept loop.
        let woken = TcpStream::connect(("127.0.0.1", self.port));
        let joined = self.accepts.take().unwrap().join();
        if !thread::panicking() {
            woken.unwrap();
            joined.unwrap();
        }
    }
}

struct Connection {
    number: u64,
    client: TcpStream,
    server: TcpStream,
    random: Random,
    shared: Arc<Shared>,
}

impl Connection {
    fn run(mut self) {
        // An error means that one side, or a fault, has closed the connection.
        let _ = self.relay();
        for stream in [&self.client, &self.server] {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.shared.streams.lock().unwrap().remove(&self.number);
    }

    fn relay(&mut self) -> io::Result<()> {
        if self.shared.is_ended.load(Ordering::SeqCst) {
            return Ok(());
        }
        let startup = read_startup(&mut self.client)?;
        self.pass(&startup)?;
        while let Some(request) = Request::read(&mut self.client)? {
            if self.draws_fault(&request) {
                self.disturb(&request)?;
            } else {
                self.pass(request.bytes())?;
            }
        }
        Ok(())
    }

    fn draws_fault(&mut self, request: &Request) -> bool {
        let shared = &self.shared;
        // No server answers ROLLBACK with an error.
        let is_exempt = shared.fault.error().is_some() && request.is_rollback();
        if is_exempt || !shared.is_injecting.load(Ordering::SeqCst) {
            return false;
        }
        let (commits, others) = shared.fault.odds();
        let is_drawn = self.random.one_in(if request.is_commit() { commits } else { others });
        if is_drawn {
            shared.disturbed.fetch_add(1, Ordering::SeqCst);
            shared.disturbed_commits.fetch_add(usize::from(request.is_commit()), Ordering::SeqCst);
        }
        is_drawn
    }

    /// Passes a request and its answer.
    fn pass(&mut self, request: &[u8]) -> io::Result<()> {
        self.server.write_all(request)?;
        let mut answer = Vec::new();
        let read = read_answer(&mut self.server, &mut answer);
        self.client.write_all(&answer)?;
        read
    }

    /// Passes a request and keeps its answer.
    fn forward(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.server.write_all(request)?;
        let mut answer = Vec::new();
        read_answer(&mut self.server, &mut answer)?;
        Ok(answer)
    }

    fn disturb(&mut self, request: &Request) -> io::Result<()> {
        // Whether the request or its answer is affected. For a commit, this decides whether the
        // transaction has committed.
        let reaches_server = self.random.one_in(2);
        match self.shared.fault {
            Fault::SerializationFailure | Fault::Deadlock | Fault::ReadOnly => self.fail(request),
            Fault::Termination => {
                if reaches_server {
                    self.forward(request.bytes())?;
                }
                let text = "terminating connection due to administrator command";
                self.client.write_all(&error_response("FATAL", "57P01", text))?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Fault::LostAnswer => {
                if reaches_server {
                    self.forward(request.bytes())?;
                }
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Fault::HalfAnswer => {
                let answer = self.forward(request.bytes())?;
                self.client.write_all(&answer[..answer.len() / 2])?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Fault::Stall if reaches_server => {
                let answer = self.forward(request.bytes())?;
                self.pause(STALL);
                self.client.write_all(&answer)
            }
            Fault::Stall => {
                self.pause(STALL);
                self.pass(request.bytes())
            }
            Fault::Delay => {
                let delay = Duration::from_millis(1 + self.random.below(50));
                self.pause(delay);
                self.pass(request.bytes())
            }
        }
    }

    /// Answers with the error of the fault. The server raises it itself, so that the state of the
    /// transaction is the one that the error leaves. A commit that fails rolls back.
    fn fail(&mut self, request: &Request) -> io::Result<()> {
        let (sqlstate, text) = self.shared.fault.error().unwrap();
        if request.is_commit() {
            self.forward(&query("ROLLBACK"))?;
            return self.client.write_all(&[error_response("ERROR", sqlstate, text), ready()].concat());
        }
        let raise = format!("DO $$BEGIN RAISE EXCEPTION USING ERRCODE = '{sqlstate}', MESSAGE = '{text}'; END$$");
        self.pass(&query(&raise))
    }

    fn pause(&self, duration: Duration) {
        let until = Instant::now() + duration;
        while Instant::now() < until && !self.shared.is_ended.load(Ordering::SeqCst) {
            thread::sleep((until - Instant::now()).min(Duration::from_millis(20)));
        }
    }
}
