//! A PostgreSQL server that belongs to one test and can be stopped by it, and a proxy in front of
//! it that can stop responding.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, connection::SimpleConnection, sql_types::Text};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::process::LONG;

/// A PostgreSQL server. Dropping the value stops it and deletes its data.
pub struct Cluster {
    dir: TempDir,
    bin: PathBuf,
    pub port: u16,
}

impl Cluster {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = std::env::var("KEYSWAP_TEST_PGBIN").expect("run scripts/with-postgres COMMAND").into();
        let mut cluster = Self { dir, bin, port: 0 };
        if as_root() {
            let owned = Command::new("chown").arg("postgres").arg(cluster.dir.path()).status().unwrap();
            assert!(owned.success());
        }
        cluster.run("initdb", &["-U", "keyswap", "-A", "trust", "--no-locale", "-E", "UTF8"]);
        (cluster.port, ()) = on_free_port(|port| cluster.try_start(port));
        cluster
    }

    pub fn url(&self, port: u16) -> String {
        format!("postgres://keyswap@127.0.0.1:{port}/postgres")
    }

    /// Starts the server again on the same port, which its clients are configured with.
    pub fn start(&self) {
        let started = Instant::now();
        while let Err(said) = self.try_start(self.port) {
            assert!(started.elapsed() < LONG, "something else keeps port {}: {said}", self.port);
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Returns an error if the port is in use.
    fn try_start(&self, port: u16) -> Result<(), String> {
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c shared_buffers=16MB",
            self.dir.path().display()
        );
        let log = self.dir.path().join("log");
        let _ = fs::remove_file(&log);
        let mut command = self.command("pg_ctl", &["-w", "-l", log.to_str().unwrap(), "-o", &options, "start"]);
        if command.stdout(Stdio::null()).status().unwrap().success() {
            return Ok(());
        }
        let said = fs::read_to_string(log).unwrap();
        assert!(said.contains("could not bind"), "pg_ctl start: {said}");
        Err(said)
    }

    /// Stops the server in immediate mode, without a shutdown of its sessions, like a crash.
    pub fn stop(&self) {
        self.run("pg_ctl", &["-m", "immediate", "-w", "stop"]);
    }

    /// Stops every process of the server with SIGSTOP, as a machine that is frozen. Connections stay
    /// open, and the kernel acknowledges data.
    pub fn freeze(&self) {
        assert!(self.signal(Signal::STOP), "the server does not run");
    }

    /// Continues the processes of the server.
    pub fn thaw(&self) {
        assert!(self.signal(Signal::CONT), "the server does not run");
    }

    /// Sends a signal to the postmaster, and then to its children. Returns `false` if it does not
    /// run.
    fn signal(&self, signal: Signal) -> bool {
        let file = fs::read_to_string(self.dir.path().join("data/postmaster.pid")).unwrap_or_default();
        let Some(postmaster) = file.lines().next().and_then(|line| line.trim().parse().ok()) else { return false };
        let send = |process: i32| Pid::from_raw(process).is_some_and(|pid| kill_process(pid, signal).is_ok());
        if !send(postmaster) {
            return false;
        }
        for child in children_of(postmaster) {
            // It may have ended since.
            send(child);
        }
        true
    }

    /// Copies the data of a stopped server, which `restore` puts back.
    pub fn save(&self) {
        self.copy("data", "saved");
    }

    /// Replaces the data of a stopped server with the saved data.
    pub fn restore(&self) {
        fs::remove_dir_all(self.dir.path().join("data")).unwrap();
        self.copy("saved", "data");
    }

    fn copy(&self, from: &str, to: &str) {
        let path = |name: &str| self.dir.path().join(name);
        assert!(Command::new("cp").arg("-a").arg(path(from)).arg(path(to)).status().unwrap().success());
    }

    /// Evaluates an SQL expression and returns its value as text.
    pub fn ask(&self, expression: &str) -> String {
        let mut connection = PgConnection::establish(&self.url(self.port)).unwrap();
        let query = diesel::sql_query(format!("SELECT ({expression})::TEXT AS answer"));
        query.get_result::<Answer>(&mut connection).unwrap().answer
    }

    /// Sets a parameter with ALTER SYSTEM, and waits until new sessions use the value.
    pub fn set(&self, name: &str, value: &str) {
        let mut connection = PgConnection::establish(&self.url(self.port)).unwrap();
        connection.batch_execute(&format!("ALTER SYSTEM SET {name} = '{value}'")).unwrap();
        connection.batch_execute("SELECT pg_reload_conf()").unwrap();
        let started = Instant::now();
        while self.ask(&format!("current_setting('{name}')")) != value {
            assert!(started.elapsed() < LONG, "{name} = {value} is not in force");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn run(&self, program: &str, args: &[&str]) {
        let output = self.command(program, args).stdout(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let program = self.bin.join(program);
        // PostgreSQL refuses to run as root.
        let mut command = if as_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.dir.path()).arg("-D").arg(self.dir.path().join("data")).args(args);
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A frozen server does not stop.
        self.signal(Signal::CONT);
        let _ = self.command("pg_ctl", &["-m", "immediate", "-w", "stop"]).output();
    }
}

/// The processes whose parent is `parent`.
fn children_of(parent: i32) -> Vec<i32> {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_child = |process: &i32| {
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
        // The name of the program, in parentheses, may contain spaces.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        rest.split_whitespace().nth(1) == Some(parent.to_string().as_str())
    };
    processes.filter(is_child).collect()
}

pub fn as_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Text)]
    answer: String,
}

/// Runs `start` with a free port. If another process has taken the port in between, tries again
/// with a different one.
pub fn on_free_port<T>(mut start: impl FnMut(u16) -> Result<T, String>) -> (u16, T) {
    let mut taken = String::new();
    for _ in 0..10 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        match start(port) {
            Ok(started) => return (port, started),
            Err(said) => taken = said,
        }
    }
    panic!("each of ten ports was taken: {taken}");
}

/// A TCP proxy. After `stop_responding`, connections stay open and new ones are accepted, the kernel
/// acknowledges data, and no response arrives.
pub struct Proxy {
    pub port: u16,
    silent: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    accepts: Option<thread::JoinHandle<()>>,
}

impl Proxy {
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (silent, ended) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (here, end) = (Arc::clone(&silent), Arc::clone(&ended));
        let accepts = thread::spawn(move || {
            let mut passing = Vec::new();
            for client in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                let client = client.unwrap();
                let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
                // A connection that was open during the silence stays dead afterwards, as after a
                // route change.
                let lost = Arc::new(AtomicBool::new(false));
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let flags = [&here, &lost, &end].map(Arc::clone);
                    passing.push(pass(from.try_clone().unwrap(), to.try_clone().unwrap(), flags));
                }
            }
            for thread in passing {
                thread.join().unwrap();
            }
        });
        Self { port, silent, ended, accepts: Some(accepts) }
    }

    pub fn stop_responding(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// Forwards new connections again. Connections from the time of the silence stay open and dead.
    pub fn resume_responding(&self) {
        self.silent.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Unblocks the accept loop.
        let woken = TcpStream::connect(("127.0.0.1", self.port));
        let joined = self.accepts.take().unwrap().join();
        if !thread::panicking() {
            woken.unwrap();
            joined.unwrap();
        }
    }
}

/// Forwards one direction until either side closes or the proxy is dropped.
pub fn pass(mut from: TcpStream, mut to: TcpStream, flags: [Arc<AtomicBool>; 3]) -> thread::JoinHandle<()> {
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    thread::spawn(move || {
        let [silent, lost, ended] = flags;
        let mut buffer = [0; 8192];
        while !ended.load(Ordering::SeqCst) {
            let read = from.read(&mut buffer);
            // Checked after the read, so that bytes that arrive just after the silence has begun
            // are dropped as well.
            if silent.load(Ordering::SeqCst) {
                lost.store(true, Ordering::SeqCst);
            }
            match read {
                Ok(0) => break,
                Ok(_) if lost.load(Ordering::SeqCst) => {}
                Ok(read) => {
                    if to.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                }
                Err(_) => break,
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    })
}
