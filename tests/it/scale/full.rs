//! The guaranteed size: `scripts/prove scale`. It takes minutes and gigabytes, so it does
//! not run for every change.

use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    operations, plans,
    seed::{self, Size},
};
use crate::support::{Kind, Server};

const ORGANIZATIONS: u32 = 10_000;
const USERS: u32 = 100_000;
const KEYS: u32 = 1_000_000;
/// The number of list calls that are measured.
const LISTS: u32 = 2_000;

#[test]
#[ignore = "scripts/prove scale"]
fn sqlite() {
    prove(Kind::Sqlite);
}

#[test]
#[ignore = "scripts/prove scale"]
fn postgres() {
    prove(Kind::Postgres);
}

fn prove(kind: Kind) {
    Server::run(kind, &[], |server| async move {
        operations::prepare(&server).await;
        import(&server);
        let size = Size { organizations: ORGANIZATIONS, users: USERS, keys: KEYS, others: 100_000 };
        // The imported rows served only to measure the import. The other measurements need
        // ids with known numbers.
        server.database.sql("DELETE FROM members; DELETE FROM users; DELETE FROM organizations; DELETE FROM events");
        seed::fill(&server.database, size);
        list(&server).await;
        plans::watch(&server.database);
        let replica = server.replica().await;
        operations::call_everything(&replica).await;
        plans::check(&replica).await;
        eprintln!("{kind:?}: every plan uses an index");
    });
}

/// Imports 10,000 organizations, 100,000 users and one membership per user with the real program.
fn import(server: &Server) {
    let mut text = String::new();
    for n in 1..=ORGANIZATIONS {
        let row = json!({ "type": "organization", "id": format!("tenant-{n}"), "name": format!("Tenant {n}"), "metadata": { "plan": "pro" } });
        writeln!(text, "{row}").unwrap();
    }
    for n in 1..=USERS {
        let profile = json!({ "email": format!("person-{n}@acme.example"), "name": format!("Person {n}") });
        writeln!(text, "{}", json!({ "type": "user", "id": format!("person-{n}"), "profile": profile })).unwrap();
    }
    for n in 1..=USERS {
        let organization = format!("tenant-{}", n % ORGANIZATIONS + 1);
        let row = json!({ "type": "member", "organization_id": organization, "user_id": format!("person-{n}"), "roles": ["editor"] });
        writeln!(text, "{row}").unwrap();
    }
    for what in ["new", "again"] {
        let started = Instant::now();
        let report = command(server, &text);
        let took = started.elapsed();
        let rows = report["rows"].as_u64().unwrap();
        assert_eq!(report[if what == "new" { "created" } else { "unchanged" }], rows, "{report}");
        let rate = rows as f64 / took.as_secs_f64();
        eprintln!(
            "{:?}: import, {what}: {rows} rows in {:.1} s, {rate:.0} a second",
            server.database.kind,
            took.as_secs_f64()
        );
        assert!(cfg!(debug_assertions) || rate >= 10_000.0, "10,000 a second were promised");
    }
}

fn command(server: &Server, text: &str) -> Value {
    let mut child = Command::new(env!("CARGO_BIN_EXE_keyswap"))
        .args(["import", "-", "--json"])
        .args(["--set", &format!("database.url={}", server.database.url)])
        .args(["--set", &format!("keys.dir={}", server.database.dir.path().join("keys").display())])
        .args(["--set", "server.public_url=http://keyswap.test"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Lists the keys of one organization after another through HTTP.
async fn list(server: &Server) {
    let mut times = Vec::new();
    for n in 0..LISTS {
        let organization = n * 7919 % ORGANIZATIONS + 1;
        let started = Instant::now();
        let page = server.manage("GET", &format!("/v1/api-keys?organization=org-{organization}"), None, 200).await;
        times.push(started.elapsed());
        assert_eq!(page["data"].as_array().unwrap().len(), 20);
    }
    times.sort();
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1000.0;
    eprintln!(
        "{:?}: listing one organization's keys, {KEYS} in all: median {:.2} ms, p99 {:.2} ms",
        server.database.kind,
        at(50),
        at(99)
    );
    assert!(cfg!(debug_assertions) || times[times.len() / 2] < Duration::from_millis(5), "5 ms were promised");
}
