//! PgBouncer between Keyswap and PostgreSQL. In its session mode everything works; in the other
//! modes, in which it shares sessions, it is refused by name.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tempfile::TempDir;

use super::{
    cluster::{Cluster, as_root, on_free_port},
    outage::{on_postgres, run},
    process::{LONG, until},
};

const ADVICE: &str = "pool_mode = session";

/// A PgBouncer in front of a server. Dropping the value stops it.
struct PgBouncer {
    dir: TempDir,
    server_port: u16,
    port: u16,
    process: Option<Child>,
}

impl PgBouncer {
    fn new(server_port: u16, mode: &str) -> Self {
        let mut pooler = Self { dir: tempfile::tempdir().unwrap(), server_port, port: 0, process: None };
        (pooler.port, ()) = on_free_port(|port| pooler.try_start(port, mode));
        pooler
    }

    /// Starts it again on the same port, in another mode.
    fn restart(&mut self, mode: &str) {
        self.stop();
        let started = Instant::now();
        while let Err(said) = self.try_start(self.port, mode) {
            assert!(started.elapsed() < LONG, "{said}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Returns an error if the port is in use.
    fn try_start(&mut self, port: u16, mode: &str) -> Result<(), String> {
        let (settings, log) = (self.dir.path().join("pgbouncer.ini"), self.dir.path().join("log"));
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=keyswap\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\ndefault_pool_size = 40\nlogfile = {}\n",
            self.server_port,
            log.display()
        );
        fs::write(&settings, text).unwrap();
        let _ = fs::remove_file(&log);
        let mut process =
            command(self.dir.path(), &settings).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        while process.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                self.process = Some(process);
                return Ok(());
            }
            assert!(started.elapsed() < LONG, "pgbouncer does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        assert!(said.contains("in use"), "pgbouncer ended; scripts/install installs it: {said}");
        Err(said)
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// PgBouncer refuses to run as root.
fn command(dir: &Path, settings: &Path) -> Command {
    let program = "/usr/sbin/pgbouncer";
    let mut command = if as_root() {
        assert!(Command::new("chown").args(["-R", "postgres"]).arg(dir).status().unwrap().success());
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", program]);
        command
    } else {
        Command::new(program)
    };
    command.arg(settings);
    command
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn pgbouncer_in_session_mode_works() {
    run(async {
        let cluster = Cluster::new();
        let mut pooler = PgBouncer::new(cluster.port, "session");
        let deployment = on_postgres(&cluster.url(pooler.port));
        let server = deployment.serve();
        let admin = deployment.admin();
        let keys = join_all((0..24).map(|_| server.key(&admin))).await;
        let exchanged = join_all(keys.iter().map(|(_, key)| server.exchange_succeeds(key))).await;
        assert!(exchanged.into_iter().all(|succeeded| succeeded));
        let (id, revoked) = &keys[0];
        assert!(server.is_active(&admin, revoked).await);
        assert_eq!(server.call(&admin, "POST", &format!("/v1/api-keys/{id}/revoke"), None).await.status(), 200);
        assert_eq!(server.exchange(revoked).await.status(), 401);
        assert!(!server.is_active(&admin, revoked).await);
        let doctor = deployment.run(&["doctor"]);
        assert_eq!(doctor.code, Some(0), "{doctor:?}");
        // All connections are lost, and others take their place.
        pooler.restart("session");
        let (_, key) = &keys[1];
        until("exchanges work again", LONG, || server.exchange_succeeds(key)).await;
        server.key(&admin).await;
        assert_eq!(server.exchange(revoked).await.status(), 401);
        assert!(!server.stop().err.contains(ADVICE), "no session was shared");
    });
}

#[test]
fn pgbouncer_in_other_modes_is_refused() {
    let cluster = Cluster::new();
    let mut pooler = PgBouncer::new(cluster.port, "transaction");
    let deployment = on_postgres(&cluster.url(pooler.port));
    for mode in ["transaction", "statement"] {
        pooler.restart(mode);
        let said = deployment.refuses();
        assert!(said.contains(ADVICE) && said.contains("PgBouncer"), "{mode}: {said}");
        let doctor = deployment.run(&["doctor"]);
        assert_eq!(doctor.code, Some(1), "{mode}: {doctor:?}");
        assert!(doctor.out.contains(ADVICE), "{mode}: {doctor:?}");
    }
}

/// The mode changes while the server runs.
#[test]
fn shared_sessions_are_noticed_later() {
    run(async {
        let cluster = Cluster::new();
        let mut pooler = PgBouncer::new(cluster.port, "session");
        let deployment = on_postgres(&cluster.url(pooler.port));
        let server = deployment.serve();
        let admin = deployment.admin();
        let (_, key) = server.key(&admin).await;
        pooler.restart("transaction");
        until("the log names the pooler", LONG, || async {
            join_all((0..8).map(|_| async {
                server.exchange(&key).await;
                server.knows(&admin).await
            }))
            .await;
            server.process.log().contains(ADVICE)
        })
        .await;
        pooler.restart("session");
        until("exchanges work again", LONG, || server.exchange_succeeds(&key)).await;
        server.key(&admin).await;
        server.stop();
    });
}
