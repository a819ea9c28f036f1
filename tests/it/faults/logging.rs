//! Logging never stops a response: standard error whose reader has gone, that is a file on a full
//! disk, or whose reader does not read. At the level of these tests, every request is logged.

use std::{
    fs::File,
    io,
    net::TcpStream,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::{
    cluster::{Cluster, on_free_port},
    connections::metric,
    outage,
    process::{Deployment, LONG, Process, Running, client, each, until},
};

/// The end of a server waits for the reader of its log for one second.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

/// Starts a server with the given standard error, which nothing reads here.
fn serve(deployment: &Deployment, stderr: impl Fn() -> Stdio) -> Running {
    let (port, process) = on_free_port(|port| {
        let deployment = deployment.with(&["log.level=trace", &format!("server.bind=127.0.0.1:{port}")]);
        let mut command = deployment.command(&["serve"]);
        command.stderr(stderr());
        let mut process = Process::spawn(command);
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if process.has_ended() {
                return Err(format!("no server on port {port}"));
            }
            assert!(started.elapsed() < LONG, "the server does not start");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(process)
    });
    Running { process, base: format!("http://127.0.0.1:{port}"), http: client() }
}

/// Asserts that a server answers while lines of its log are dropped, counts them, and stops.
async fn serves_and_stops(deployment: &Deployment, server: Running) {
    let admin = deployment.admin();
    let (_, key) = server.key(&admin).await;
    until("dropped lines are counted", LONG, || async {
        // A queue and a pipe that nothing reads are full after about a thousand requests.
        let answers = join_all((0..64).map(|_| server.get("/healthz"))).await;
        assert!(answers.iter().all(|answer| answer.status() == 200));
        metric(&server, &admin, "keyswap_log_lines_dropped_total").await > 0
    })
    .await;
    for _ in 0..5 {
        assert!(server.exchange_succeeds(&key).await);
        for path in ["/.well-known/jwks.json", "/healthz", "/readyz"] {
            assert_eq!(server.get(path).await.status(), 200, "{path}");
        }
    }
    let started = Instant::now();
    server.stop();
    assert!(started.elapsed() < STOPS_WITHIN, "{:?}", started.elapsed());
}

each! {
    async fn log_reader_that_has_gone_stops_no_response(deployment: Deployment) {
        let (reader, writer) = io::pipe().unwrap();
        let server = serve(&deployment, || writer.try_clone().unwrap().into());
        drop(reader);
        serves_and_stops(&deployment, server).await;
    }

    async fn log_on_a_full_disk_stops_no_response(deployment: Deployment) {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let server = serve(&deployment, || full.try_clone().unwrap().into());
        serves_and_stops(&deployment, server).await;
        // The reason of a failure cannot be written either, and the exit code is the documented one.
        let mut command = deployment.with(&["server.nowhere=1"]).command(&["serve"]);
        command.stderr(full);
        assert_eq!(Process::spawn(command).end(LONG).code, Some(2));
    }

    async fn log_reader_that_does_not_read_stops_no_response(deployment: Deployment) {
        let (_reader, writer) = io::pipe().unwrap();
        let server = serve(&deployment, || writer.try_clone().unwrap().into());
        serves_and_stops(&deployment, server).await;
    }
}

/// The background jobs and the look-ups of keys log what fails during an outage.
#[test]
fn service_without_a_log_reader_recovers_from_stopped_postgres() {
    outage::run(async {
        let cluster = Cluster::new();
        let deployment = outage::on_postgres(&cluster.url(cluster.port));
        let (reader, writer) = io::pipe().unwrap();
        let server = serve(&deployment, || writer.try_clone().unwrap().into());
        drop(reader);
        let admin = deployment.admin();
        let (_, key) = server.key(&admin).await;
        cluster.stop();
        for _ in 0..2 {
            assert_eq!(server.exchange(&key).await.status(), 503);
        }
        assert_eq!(server.get("/healthz").await.status(), 200, "a restart is no remedy");
        cluster.start();
        outage::wait_until_recovered(&server, &admin, &key).await;
        serves_and_stops(&deployment, server).await;
    });
}
