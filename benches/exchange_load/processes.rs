//! The measured processes. Each one is stopped when its `Process` is dropped.

use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use keyswap::domain::signing::Algorithm;
use rustix::process::{Pid, Signal, kill_process};

use super::{
    baseline::{self, Answer},
    databases::TemporaryDeployment,
    response::{body_of, status},
};

/// The `iss` of all tokens. It does not contain the port, so that the length of a token is
/// constant.
pub const ISSUER: &str = "http://keyswap.example";

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);
/// The largest response that `ask` reads, in bytes.
const RESPONSE_TIMEOUT: u64 = 1 << 20;

/// A process that listens on its own port. Dropping the value stops it.
pub struct Process {
    child: Child,
    pub port: u16,
    log: PathBuf,
}

impl Process {
    /// Starts `keyswap serve` and waits until it is ready.
    pub fn server(place: &TemporaryDeployment, algorithm: Algorithm) -> Self {
        Self::start_server(place, algorithm, &[]).ready()
    }

    /// Like `server`, with additional settings.
    pub fn server_with(place: &TemporaryDeployment, algorithm: Algorithm, settings: &[&str]) -> Self {
        Self::start_server(place, algorithm, settings).ready()
    }

    /// Starts `keyswap serve` without waiting until it is ready.
    pub fn start_server(place: &TemporaryDeployment, algorithm: Algorithm, more: &[&str]) -> Self {
        let port = free_port();
        let settings = [
            format!("database.url={}", place.url()),
            format!("server.bind=127.0.0.1:{port}"),
            format!("server.public_url={ISSUER}"),
            "server.drain_delay=0s".to_owned(),
            format!("keys.dir={}", place.keys_dir().display()),
            "keys.create=true".to_owned(),
            format!("signing_keys.algorithm={algorithm}"),
            "log.level=warn".to_owned(),
        ];
        let mut command = Command::new(&place.program);
        command.arg("serve");
        for setting in settings.iter().map(String::as_str).chain(more.iter().copied()) {
            command.args(["--set", setting]);
        }
        Self::start(command, port, place.dir().join("server.log"))
    }

    /// Starts this program as the baseline.
    pub fn baseline(place: &TemporaryDeployment, algorithm: Algorithm, signs: bool, answer: &Answer) -> Self {
        let port = free_port();
        let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
        command.arg(baseline::ARGUMENT).args(baseline::arguments(port, signs.then_some(algorithm), answer));
        Self::start(command, port, place.dir().join("baseline.log")).ready()
    }

    fn start(mut command: Command, port: u16, log: PathBuf) -> Self {
        let stderr = File::create(&log).expect("a file for what the process says");
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().expect("the process starts");
        Self { child, port, log }
    }

    fn ready(mut self) -> Self {
        let deadline = Instant::now() + START;
        while ask(self.port, "GET", "/readyz", "").is_none_or(|(status, _)| status != 200) {
            let ended = self.child.try_wait().expect("the state of the process");
            if ended.is_some() || Instant::now() > deadline {
                panic!("it does not answer: {}", self.said());
            }
            sleep(Duration::from_millis(10));
        }
        self
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The standard error so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    /// Tries a graceful stop first, so that the server writes its buffered data.
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let deadline = Instant::now() + STOP;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            sleep(Duration::from_millis(5));
        }
    }
}

/// A port that is free at this moment. If another process takes it before the measured process,
/// that process exits and the measurement fails.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of our own");
    listener.local_addr().expect("its number").port()
}

/// Sends one request on a new connection. Returns `None` if there is no response.
pub fn ask(port: u16, method: &str, path: &str, headers: &str) -> Option<(u16, Vec<u8>)> {
    ask_with(port, method, path, headers, "")
}

/// Like `ask`, with a body.
pub fn ask_with(port: u16, method: &str, path: &str, headers: &str, body: &str) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.take(RESPONSE_TIMEOUT).read_to_end(&mut answer).ok()?;
    Some((status(&answer).ok()?, body_of(&answer).to_vec()))
}
