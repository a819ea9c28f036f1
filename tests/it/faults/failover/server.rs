//! A PostgreSQL server of a pair with streaming replication. It keeps its address when its data is
//! replaced.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, connection::SimpleConnection, sql_types::Text};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::faults::{
    cluster::{as_root, on_free_port},
    process::LONG,
};

/// Appended to `postgresql.conf`, which a standby copies. fsync stays on.
const CONFIGURATION: &str = "
shared_buffers = 16MB
wal_keep_size = 64MB
wal_retrieve_retry_interval = 100ms
wal_receiver_status_interval = 1s
";
/// Appended to `pg_hba.conf`, for servers in network namespaces.
const ACCESS: &str = "
host all all 10.0.0.0/8 trust
host replication all 10.0.0.0/8 trust
";

pub struct PostgresServer {
    dir: TempDir,
    bin: PathBuf,
    namespace: Option<String>,
    pub host: String,
    /// 0 until the first start.
    pub port: u16,
    /// The number of the data directory. Each copy of the primary gets a new one.
    generation: u32,
}

impl PostgresServer {
    /// A server without data, in the network namespace if there is one.
    pub fn new(host: &str, namespace: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        if as_root() {
            let owned = Command::new("chown").arg("postgres").arg(dir.path()).status().unwrap();
            assert!(owned.success());
        }
        let bin = std::env::var("KEYSWAP_TEST_PGBIN").expect("run scripts/with-postgres COMMAND").into();
        let port = if namespace.is_some() { 5432 } else { 0 };
        Self { dir, bin, namespace: namespace.map(str::to_owned), host: host.to_owned(), port, generation: 0 }
    }

    /// Starts as a primary with an empty database.
    pub fn initialize(&mut self) {
        self.run("initdb", &["-U", "keyswap", "-A", "trust", "--no-locale", "-E", "UTF8", "--no-sync"]);
        for (file, text) in [("postgresql.conf", CONFIGURATION), ("pg_hba.conf", ACCESS)] {
            let path = self.data().join(file);
            let before = fs::read_to_string(&path).unwrap();
            fs::write(path, before + text).unwrap();
        }
        self.start();
    }

    /// Replaces the data with a copy of `primary` and starts as its standby. The standby finds the
    /// primary at `host` and `port`.
    pub fn follow(&mut self, primary: &Self, (host, port): (&str, u16)) {
        let before = self.data();
        self.generation += 1;
        let at = primary.port.to_string();
        let from = ["-h", &primary.host, "-p", &at, "-U", "keyswap"];
        let how = ["--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream", "--no-sync"];
        self.run("pg_basebackup", &[&from[..], &how].concat());
        // Settings of the primary are not those of its standby.
        let settings = format!("primary_conninfo = 'host={host} port={port} user=keyswap application_name=standby'\n");
        fs::write(self.data().join("postgresql.auto.conf"), settings).unwrap();
        let _ = fs::remove_dir_all(before);
        self.start();
    }

    fn start(&mut self) {
        if self.port == 0 {
            (self.port, ()) = on_free_port(|port| self.try_start(port));
            return;
        }
        let started = Instant::now();
        while let Err(said) = self.try_start(self.port) {
            assert!(started.elapsed() < LONG, "something else keeps port {}: {said}", self.port);
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Returns an error if the port is in use.
    fn try_start(&self, port: u16) -> Result<(), String> {
        let directory = self.dir.path().display();
        let options = format!("-p {port} -c listen_addresses={} -c unix_socket_directories={directory}", self.host);
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

    /// Stops the server in immediate mode, like a crash.
    pub fn stop(&self) {
        self.run("pg_ctl", &["-m", "immediate", "-w", "stop"]);
    }

    /// Ends recovery. Returns when the server accepts changes.
    pub fn promote(&self) {
        self.run("pg_ctl", &["-w", "promote"]);
    }

    /// Stops the execution of all processes of the server. The kernel still accepts connections and
    /// data for them.
    pub fn freeze(&self) {
        // A frozen postmaster starts no process, so that the second list is complete.
        signal(self.postmaster(), Signal::STOP);
        self.children().into_iter().for_each(|pid| signal(pid, Signal::STOP));
    }

    pub fn thaw(&self) {
        self.children().into_iter().for_each(|pid| signal(pid, Signal::CONT));
        signal(self.postmaster(), Signal::CONT);
    }

    fn postmaster(&self) -> i32 {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        file.lines().next().unwrap().trim().parse().unwrap()
    }

    /// Every other process of the server is a child of the postmaster.
    fn children(&self) -> Vec<i32> {
        let postmaster = self.postmaster().to_string();
        let mut children = Vec::new();
        for entry in fs::read_dir("/proc").unwrap() {
            let Ok(stat) = fs::read_to_string(entry.unwrap().path().join("stat")) else { continue };
            // pid (name) state parent
            let Some((start, rest)) = stat.rsplit_once(')') else { continue };
            if rest.split_whitespace().nth(1) == Some(postmaster.as_str()) {
                children.push(start.split(' ').next().unwrap().parse().unwrap());
            }
        }
        children
    }

    pub fn url(&self) -> String {
        format!("postgres://keyswap@{}:{}/postgres?connect_timeout=5", self.host, self.port)
    }

    /// Evaluates an SQL expression and returns its value as text.
    pub fn ask(&self, expression: &str) -> String {
        let mut connection = PgConnection::establish(&self.url()).unwrap();
        let query = diesel::sql_query(format!("SELECT ({expression})::TEXT AS answer"));
        query.get_result::<Answer>(&mut connection).unwrap().answer
    }

    /// Sets a parameter with ALTER SYSTEM, and waits until new sessions use the value.
    pub fn set(&self, name: &str, value: &str) {
        let mut connection = PgConnection::establish(&self.url()).unwrap();
        connection.batch_execute(&format!("ALTER SYSTEM SET {name} = '{value}'")).unwrap();
        connection.batch_execute("SELECT pg_reload_conf()").unwrap();
        self.wait_for(&format!("current_setting('{name}') = '{value}'"));
    }

    /// Waits until an SQL condition is true.
    pub fn wait_for(&self, condition: &str) {
        let started = Instant::now();
        while self.ask(condition) != "true" {
            assert!(started.elapsed() < LONG, "it does not become true: {condition}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join(format!("data-{}", self.generation))
    }

    fn run(&self, program: &str, args: &[&str]) {
        let output = self.command(program, args).stdout(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut words = Vec::new();
        if let Some(namespace) = &self.namespace {
            words.extend(["nsenter".to_owned(), format!("--net=/run/netns/{namespace}")]);
        }
        // PostgreSQL refuses to run as root.
        if as_root() {
            words.extend(["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"].map(str::to_owned));
        }
        words.push(self.bin.join(program).display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(self.dir.path()).arg("-D").arg(self.data()).args(args);
        command
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            self.thaw();
        }
        let _ = self.command("pg_ctl", &["-m", "immediate", "-w", "stop"]).output();
    }
}

/// A process that has ended meanwhile needs no signal.
fn signal(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Text)]
    answer: String,
}
