//! `kill -9` at arbitrary points of a master key rotation: every row stays readable, and the next
//! run resumes the rotation.

use std::{
    thread,
    time::{Duration, Instant},
};

use keyswap::{crypto::random::SystemEntropy, domain::common::entropy::Entropy};
use rustix::process::Signal;

use super::{Full, events, quick};
use crate::{
    faults::{
        process::{LONG, Process, until},
        tables::lines,
    },
    support::{Kind, panics},
};

/// The numbers of rounds and keys in `scripts/test` and in `scripts/prove interruptions`. The latter has
/// enough keys for several transactions.
const SAMPLE: (usize, usize) = (5, 60);
const FULL: (usize, usize) = (50, 250);

/// A random delay, up to about the duration of a whole rotation.
fn random_delay() -> Duration {
    let mut bytes = [0; 2];
    SystemEntropy::default().fill(&mut bytes).unwrap();
    Duration::from_micros(u64::from(u16::from_le_bytes(bytes)) * 6)
}

fn rounds(kind: Kind, (rounds, keys): (usize, usize)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let deployment = quick(kind);
        let server = deployment.serve();
        let full = Full::on(deployment, &server, keys).await;
        let mut cut_off = 0;
        for round in 0..rounds {
            // Several runs are killed in a row. Each resumes where the previous one stopped.
            for _ in 0..4 {
                let process = Process::spawn(full.deployment.command(&["master-key", "rotate"]));
                let random_delay = random_delay();
                thread::sleep(random_delay);
                process.signal(Signal::KILL);
                let said = process.end(LONG);
                cut_off += usize::from(said.code.is_none());
                for key in full.keys.iter().step_by(25).chain(full.imported.iter().step_by(5)) {
                    let answer = server.exchange(key).await;
                    let status = answer.status();
                    assert_eq!(
                        status,
                        200,
                        "round {round}, after {random_delay:?}: {said:?}: {}",
                        answer.text().await.unwrap()
                    );
                }
            }
            let states: Vec<_> = full.status().into_iter().map(|row| row.1).collect();
            let many = |state: &str| states.iter().filter(|found| *found == state).count();
            assert!(
                many("current") == 1 && many("incoming") <= 1 && many("retiring") <= 1,
                "round {round}: {states:?}"
            );
            full.opens(&server, &format!("round {round}, cut off")).await;
            cut_off += cut_off_while_retiring(&full);
            full.opens(&server, &format!("round {round}, cut off while the old key retires")).await;
            full.rotate();
            full.opens(&server, &format!("round {round}, gone on")).await;
            let status = full.status();
            let (current, old) = status.split_last().unwrap();
            assert!(current.1 == "current" && old.iter().all(|row| row.1 == "retired" && row.2 == 0), "{status:?}");
            for (version, _, _) in old {
                let said = full.deployment.run(&["master-key", "remove", &version.to_string()]);
                assert_eq!(said.code, Some(0), "{said:?}");
            }
        }
        full.rotate();
        let old = full.status()[0].0.to_string();
        assert_eq!(full.deployment.run(&["master-key", "remove", &old]).code, Some(0));
        let files: Vec<_> =
            std::fs::read_dir(full.deployment.keys()).unwrap().map(|file| file.unwrap().file_name()).collect();
        let is_leftover = |name: &std::ffi::OsString| {
            let name = name.to_string_lossy();
            name.starts_with("master.") && name.ends_with(".tmp")
        };
        assert!(!files.iter().any(is_leftover), "no copy of a key lies about: {files:?}");
        assert!(cut_off >= rounds, "{cut_off} rotations were cut off");
        // Each version recorded each step once, in order.
        let all = events(&server, &full.admin).await;
        let last = full.status().pop().unwrap().0;
        for version in 2..last {
            let steps: Vec<_> =
                all.iter().filter(|(_, of)| *of == version.to_string()).map(|(kind, _)| kind.as_str()).collect();
            assert_eq!(steps, ["registered", "activated", "retired", "removed"], "version {version}");
        }
        until("the server is ready", LONG, || async { server.get("/readyz").await.status() == 200 }).await;
        server.stop();
        let again = full.deployment.serve();
        full.opens(&again, "started again").await;
        again.stop();
        let doctor = full.deployment.run(&["doctor"]);
        assert!(doctor.code == Some(0) && doctor.out.contains("hash chain intact"), "{doctor:?}");
        eprintln!("{cut_off} rotations of the master key were cut off in {rounds} rounds; version {last}");
    });
    panics::assert_none();
}

/// Starts a rotation unless one is in progress, and kills it while the old key is retiring. At that
/// point the command still runs for at least one second, because it waits until every server holds
/// the new key. Returns the number of commands that were killed.
fn cut_off_while_retiring(full: &Full) -> usize {
    let mut cut_off = 0;
    for (args, states) in [
        (&["master-key", "rotate"][..], "'incoming', 'retiring'"),
        (&["master-key", "rotate", "--continue"], "'retiring'"),
    ] {
        let process = Process::spawn(full.deployment.command(args));
        let begun = format!("SELECT state AS line FROM master_keys WHERE state IN ({states})");
        let started = Instant::now();
        while lines(&full.deployment, &begun).is_empty() {
            assert!(started.elapsed() < LONG, "{args:?} does not come to {states}: {}", process.log());
            thread::sleep(Duration::from_millis(1));
        }
        process.signal(Signal::KILL);
        cut_off += usize::from(process.end(LONG).code.is_none());
    }
    let states: Vec<_> = full.status().into_iter().map(|row| row.1).collect();
    assert_eq!(states.iter().filter(|state| *state == "retiring").count(), 1, "it was cut off: {states:?}");
    assert!(cut_off >= 1);
    cut_off
}

#[test]
fn killed_rotation_resumes_sqlite() {
    rounds(Kind::Sqlite, SAMPLE);
}

#[test]
fn killed_rotation_resumes_postgres() {
    rounds(Kind::Postgres, SAMPLE);
}

#[test]
#[ignore = "takes minutes: scripts/prove interruptions"]
fn fifty_killed_rotations_resume_sqlite() {
    rounds(Kind::Sqlite, FULL);
}

#[test]
#[ignore = "takes minutes: scripts/prove interruptions"]
fn fifty_killed_rotations_resume_postgres() {
    rounds(Kind::Postgres, FULL);
}
