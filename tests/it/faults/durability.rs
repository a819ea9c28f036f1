//! Acknowledged changes are on disk. SIGKILL does not show this, because the kernel keeps the
//! writes of a killed process. These tests count the syncs between a request and its response.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    cluster::Cluster,
    process::{Deployment, LONG, Process, Running},
};
use crate::support::{Kind, panics};

/// Changes are sent one after another, so that no two of them share a sync.
const CHANGES: usize = 60;

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
    panics::assert_none();
}

/// The keys are in the directory of an unused SQLite database.
fn deploy_on(cluster: &Cluster) -> Deployment {
    Deployment::new(Kind::Sqlite).with(&[&format!("database.url={}", cluster.url(cluster.port))])
}

/// The number of WAL syncs. A session reports its counters when it ends, so the function waits
/// until all others have ended.
fn syncs(cluster: &Cluster) -> i64 {
    let others =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let started = Instant::now();
    while cluster.ask(others) != "0" {
        assert!(started.elapsed() < LONG, "sessions stay open");
        thread::sleep(Duration::from_millis(20));
    }
    cluster.ask("SELECT wal_sync FROM pg_stat_wal").parse().unwrap()
}

/// The number of WAL syncs of a server from its start to its stop, with `changes` acknowledged
/// changes. Keys are created and revoked in turn.
async fn syncs_of_changes(cluster: &Cluster, deployment: &Deployment, changes: usize) -> i64 {
    let before = syncs(cluster);
    let server = deployment.serve();
    let admin = deployment.admin();
    for _ in 0..changes / 2 {
        let (id, _) = server.key(&admin).await;
        let revoked = server.call(&admin, "POST", &format!("/v1/api-keys/{id}/revoke"), None).await;
        assert_eq!(revoked.status(), 200);
    }
    server.stop();
    syncs(cluster) - before
}

#[test]
fn postgres_syncs_its_log_before_each_acknowledgment() {
    run(async {
        let cluster = Cluster::new();
        // With the default of 200 ms the WAL writer syncs five times a second, independent of
        // commits.
        cluster.set("wal_writer_delay", "10s");
        let deployment = deploy_on(&cluster);
        deployment.serve().stop();
        // The start, the background jobs and the stop sync as well.
        let idle = syncs_of_changes(&cluster, &deployment, 0).await;
        let counted = syncs_of_changes(&cluster, &deployment, CHANGES).await - idle;
        let wanted = i64::try_from(CHANGES).unwrap();
        assert!(counted >= wanted, "{counted} syncs for {wanted} changes");
        // Without synchronous commit, the count must show the missing syncs.
        cluster.set("synchronous_commit", "off");
        let unsynced = syncs_of_changes(&cluster, &deployment, CHANGES).await;
        assert!(unsynced < wanted / 2, "{unsynced} syncs for {wanted} changes that need not be on the disk");
        eprintln!(
            "{wanted} changes: {counted} syncs beside {idle} of a server without any, and {unsynced} with synchronous_commit = off"
        );
    });
}

#[test]
fn sqlite_syncs_its_log_before_each_acknowledgment() {
    run(async {
        let deployment = Deployment::new(Kind::Sqlite);
        let trace = deployment.database.dir.path().join("trace");
        let serve = deployment.command(&["serve"]);
        // -D runs strace as a detached grandchild, so that the started process is the server.
        // strace writes each line before the system call returns to the server.
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-y", "-e", "trace=fsync,fdatasync", "-o"]).arg(&trace);
        command.arg(serve.get_program()).args(serve.get_args());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let server: Running = Process::spawn(command).ready();
        let admin = deployment.admin();
        let syncs = || {
            let trace = fs::read_to_string(&trace).unwrap();
            trace.lines().filter(|line| line.contains("keyswap.db-wal>")).count()
        };
        for change in 0..CHANGES {
            let before = syncs();
            server.key(&admin).await;
            assert!(syncs() > before, "change {change} was answered and the log was not synced");
        }
        server.stop();
    });
}

#[test]
fn unsafe_durability_settings_are_reported() {
    const SETTINGS: [&str; 3] = ["fsync", "synchronous_commit", "full_page_writes"];
    let cluster = Cluster::new();
    let deployment = deploy_on(&cluster);
    let named = || {
        let log = deployment.serve().stop().err;
        let warned = log.lines().filter(|line| line.contains("WARN") && line.contains("may lose acknowledged changes"));
        let warned = warned.collect::<Vec<_>>().join("\n");
        let checks = deployment.json(&["doctor"]);
        let durability = checks.as_array().unwrap().iter().find(|check| check["what"] == "durability").unwrap().clone();
        SETTINGS.map(|name| {
            let fault = format!("{name} = off");
            let detail = durability["detail"].as_str().unwrap();
            let by_doctor = durability["status"] == "warning" && detail.contains(&fault);
            assert_eq!(warned.contains(&fault), by_doctor, "serve and doctor agree: {warned}, {durability}");
            by_doctor
        })
    };
    assert_eq!(named(), [false; 3]);
    for wrong in SETTINGS {
        cluster.set(wrong, "off");
        assert_eq!(named(), SETTINGS.map(|name| name == wrong), "{wrong}");
        cluster.set(wrong, "on");
    }
    assert_eq!(named(), [false; 3]);
    panics::assert_none();
}
