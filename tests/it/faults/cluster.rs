//! A PostgreSQL of a test's own, which it may stop as it likes, and a proxy in front of it that can fall silent.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tempfile::TempDir;

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
        let cluster = Self { dir, bin, port: free_port() };
        if as_root() {
            let owned = Command::new("chown").arg("postgres").arg(cluster.dir.path()).status().unwrap();
            assert!(owned.success());
        }
        cluster.run("initdb", &["-U", "keyswap", "-A", "trust", "--no-locale", "-E", "UTF8"]);
        cluster.start();
        cluster
    }

    pub fn url(&self, port: u16) -> String {
        format!("postgres://keyswap@127.0.0.1:{port}/postgres")
    }

    pub fn start(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c shared_buffers=16MB",
            self.port,
            self.dir.path().display()
        );
        let log = self.dir.path().join("log");
        self.run("pg_ctl", &["-w", "-l", log.to_str().unwrap(), "-o", &options, "start"]);
    }

    /// As a crash would: no goodbye to anyone.
    pub fn stop(&self) {
        self.run("pg_ctl", &["-m", "immediate", "-w", "stop"]);
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

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Passes bytes on, until it is told to fall silent: then connections stay open, new ones are taken, what is sent is
/// acknowledged by the kernel, and nothing is ever answered.
pub struct Proxy {
    pub port: u16,
    silent: Arc<AtomicBool>,
}

impl Proxy {
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = Arc::new(AtomicBool::new(false));
        let here = Arc::clone(&silent);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
                // Whoever came during the silence is never answered, even after it: as when a route changes.
                let lost = Arc::new(AtomicBool::new(false));
                pass(client.try_clone().unwrap(), server.try_clone().unwrap(), &here, &lost);
                pass(server, client, &here, &lost);
            }
        });
        Self { port, silent }
    }

    pub fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// New connections pass again; those that lived through the silence stay dead, and open.
    pub fn speak(&self) {
        self.silent.store(false, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, silent: &Arc<AtomicBool>, lost: &Arc<AtomicBool>) {
    let (silent, lost) = (Arc::clone(silent), Arc::clone(lost));
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        loop {
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
    });
}
