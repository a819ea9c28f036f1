//! A PostgreSQL of a test's own, which it may stop as it likes, and a proxy in front of it that can fall silent.

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
use tempfile::TempDir;

use super::process::LONG;

/// A PostgreSQL server; stopped and gone when dropped.
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

    /// Starts it again, on the port that it had: clients know that one.
    pub fn start(&self) {
        let started = Instant::now();
        while let Err(said) = self.try_start(self.port) {
            assert!(started.elapsed() < LONG, "something else keeps port {}: {said}", self.port);
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The error is a port that something else has.
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

    /// As a crash would: no goodbye to anyone.
    pub fn stop(&self) {
        self.run("pg_ctl", &["-m", "immediate", "-w", "stop"]);
    }

    /// The value of an expression of SQL, as text.
    pub fn ask(&self, expression: &str) -> String {
        let mut connection = PgConnection::establish(&self.url(self.port)).unwrap();
        let query = diesel::sql_query(format!("SELECT ({expression})::TEXT AS answer"));
        query.get_result::<Answer>(&mut connection).unwrap().answer
    }

    /// Changes a setting for every session, and waits until new ones have it.
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
        let _ = self.command("pg_ctl", &["-m", "immediate", "-w", "stop"]).output();
    }
}

fn as_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Text)]
    answer: String,
}

/// Starts something on a port that was free a moment ago, and on another one where something else has taken it since.
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

/// Passes bytes on, until it is told to fall silent: then connections stay open, new ones are taken, what is sent is
/// acknowledged by the kernel, and nothing is ever answered.
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
                // Whoever came during the silence is never answered, even after it: as when a route changes.
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

    pub fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// New connections pass again; those that lived through the silence stay dead, and open.
    pub fn speak(&self) {
        self.silent.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let woken = TcpStream::connect(("127.0.0.1", self.port));
        let joined = self.accepts.take().unwrap().join();
        if !thread::panicking() {
            woken.unwrap();
            joined.unwrap();
        }
    }
}

/// Passes bytes on one way, until either side ends or the proxy does.
fn pass(mut from: TcpStream, mut to: TcpStream, flags: [Arc<AtomicBool>; 3]) -> thread::JoinHandle<()> {
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    thread::spawn(move || {
        let [silent, lost, ended] = flags;
        let mut buffer = [0; 8192];
        while !ended.load(Ordering::SeqCst) {
            let read = from.read(&mut buffer);
            // After the read: what comes a moment later is swallowed, too.
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
