//! One million keys: `scripts/prove status`. It takes minutes and gigabytes, so it does
//! not run for every change.

use std::time::{Duration, Instant};

use super::*;
use crate::{
    scale::seed::{Size, fill},
    support::Kind,
};

const KEYS: u32 = 1_000_000;
const ROUNDS: usize = 5;

#[test]
#[ignore = "scripts/prove status"]
fn sqlite() {
    prove(Kind::Sqlite);
}

#[test]
#[ignore = "scripts/prove status"]
fn postgres() {
    prove(Kind::Postgres);
}

fn prove(kind: Kind) {
    Server::run(kind, &["signing_keys.replica_staleness=10m"], |server| async move {
        let key = server.generic_key(&["a:b"]).await;
        fill(&server.database, Size { organizations: 1000, users: 10_000, keys: KEYS, others: 1 });
        // One key in a hundred is revoked at random, so that no regular pattern makes
        // the lists compressible.
        let by_lot = if kind == Kind::Sqlite { "abs(random()) % 100 = 0" } else { "random() < 0.01" };
        server.database.sql(&format!(
            "UPDATE api_keys SET revoked_at = NULL, deleted_at = NULL WHERE revoked_at IS NOT NULL; \
             UPDATE api_keys SET revoked_at = 1732000000000 WHERE {by_lot}; ANALYZE"
        ));
        build_lists(&server).await;
        // Five builds, each after a change of one status.
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            step(&server, &key.id, if round % 2 == 0 { "suspend" } else { "resume" }).await;
            let started = Instant::now();
            status_lists::build_lists(&server.services).await.unwrap();
            times.push(started.elapsed());
            status_lists::refresh(&server.services).await.unwrap();
        }
        // The first build, which compresses and signs every list.
        server.database.sql("DELETE FROM status_list_tokens");
        let started = Instant::now();
        status_lists::build_lists(&server.services).await.unwrap();
        let all = started.elapsed();
        status_lists::refresh(&server.services).await.unwrap();
        times.sort();
        let (lists, bytes) = server.services.status_lists.size();
        let uri = place(&server, &server.generic_key(&["a:b"]).await.value).await.0;
        let etag = server.get(path(&uri)).send().await.unwrap().headers()["etag"].clone();
        let again = server.get(path(&uri)).header("if-none-match", etag).send().await.unwrap();
        assert_eq!(again.status(), 304);
        eprintln!(
            "{kind:?}: {KEYS} keys, one in a hundred revoked: {lists} lists, {:.1} KB on the wire together; all built in {:.1} ms, \
             after a change in {:.1} ms (median of {ROUNDS})",
            bytes as f64 / 1000.0,
            all.as_secs_f64() * 1000.0,
            times[ROUNDS / 2].as_secs_f64() * 1000.0,
        );
        assert!(bytes < 60_000, "60 KB were promised");
        assert!(cfg!(debug_assertions) || all < Duration::from_millis(100), "100 ms were promised");
    });
}
