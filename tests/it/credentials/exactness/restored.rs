//! A restored backup has events with the same numbers and another history. What a server remembers
//! belongs to the id of an event, so nothing from before the restore is used.

use keyswap::service::encryption::rollback_guard;
use serde_json::json;

use super::{Answer, Servers};
use crate::{
    faults::tables::lines_of,
    support::{Database, Kind, MANUAL_JOBS, Server, both},
};

fn tables(database: &Database) -> Vec<String> {
    let query = match database.kind {
        Kind::Sqlite => {
            "SELECT name AS line FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
        }
        Kind::Postgres => {
            "SELECT tablename::TEXT AS line FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        }
    };
    let is_restored = |name: &String| !name.starts_with("copy_") && name != "__diesel_schema_migrations";
    lines_of(database, query).into_iter().filter(is_restored).collect()
}

/// Copies all rows, as a backup does.
fn back_up(database: &Database, name: &str) {
    for table in tables(database) {
        database.sql(&format!("CREATE TABLE copy_{name}_{table} AS SELECT * FROM {table}"));
    }
}

/// Replaces all rows in one transaction. A restore runs no triggers; those of SQLite run here and
/// clear the authority event, which is therefore written last.
fn restore(database: &Database, name: &str) {
    let unbound = match database.kind {
        Kind::Sqlite => "PRAGMA foreign_keys = OFF",
        Kind::Postgres => "SET session_replication_role = replica",
    };
    let replace =
        |table: String| format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM copy_{name}_{table};");
    let rows: String = tables(database).into_iter().map(replace).collect();
    let event = format!(
        "UPDATE event_chain_head SET authority_event = (SELECT authority_event FROM copy_{name}_event_chain_head)"
    );
    database.sql(&format!("{unbound}; BEGIN; {rows} {event}; COMMIT"));
}

/// The number and the authority event of the last event.
pub fn last_event(database: &Database) -> (String, String) {
    let one = |column: &str| {
        lines_of(database, &format!("SELECT CAST({column} AS TEXT) AS line FROM event_chain_head")).remove(0)
    };
    (one("seq"), one("authority_event"))
}

/// The servers of a database that is backed up as `before`, and a key of a user whose role permits
/// `a:c` there.
async fn backed_up(server: Server) -> (Servers, String) {
    server.permissions_for_all(&["a:b", "a:c"]).await;
    server.role("worker", &["a:b", "a:c"]).await;
    server.user("alice", &["worker"]).await;
    let key = server.key_of(json!({ "type": "user", "id": "alice" }), &["a:b", "a:c"]).await.value;
    server.role("worker", &["a:c"]).await;
    let servers = Servers::new(server, &[MANUAL_JOBS]).await;
    let server = &servers.narrow[0];
    rollback_guard::update(&server.services).await.unwrap();
    back_up(&server.database, "before");
    (servers, key)
}

both! {
    async fn facts_of_another_history_are_not_used(server: Server, "jobs=by_hand") {
        let (servers, key) = backed_up(server).await;
        let server = &servers.narrow[0];
        let database = &server.database;
        let histories = [("wider", &["a:b", "a:c"][..]), ("narrower", &["a:b"][..])];
        for (name, permissions) in histories {
            restore(database, "before");
            server.role("worker", permissions).await;
            back_up(database, name);
        }
        // Remembers the facts of one history, and restores the other one.
        for (remembered, other, scope) in [("wider", "narrower", "a:b"), ("narrower", "wider", "a:b a:c")] {
            restore(database, remembered);
            let (number, event) = last_event(database);
            servers.remember(&key, remembered).await;
            restore(database, other);
            let (other_number, other_event) = last_event(database);
            assert_eq!(number, other_number, "the same number");
            assert!(event != other_event && !event.is_empty() && !other_event.is_empty(), "{event}, {other_event}");
            servers.compare(&key, other).await;
            assert_eq!(Answer::of(server, &key).await.body["scope"], scope, "{other} in place of {remembered}");
        }
        // The server has seen the end of one history, and the other one takes its place.
        restore(database, "narrower");
        rollback_guard::update(&server.services).await.unwrap();
        restore(database, "wider");
        rollback_guard::update(&server.services).await.unwrap();
        assert_eq!(server.exchange(&key).await.status(), 503, "until an operator accepts the restore");
    }

    /// The last commit is lost, as in a failover without synchronous replication, and another change
    /// gets its number.
    async fn facts_of_a_lost_change_are_not_used(server: Server, "jobs=by_hand") {
        let (servers, key) = backed_up(server).await;
        let [first, second] = &servers.narrow;
        let database = &first.database;
        let changes: [(&[&str], &[&str], &str); 3] = [
            (&["a:b", "a:c"], &["a:b"], "a:b"),
            (&["a:b"], &["a:b", "a:c"], "a:b a:c"),
            (&["a:b", "a:c"], &["a:b", "a:c"], "a:b a:c"),
        ];
        for (lost, next, scope) in changes {
            first.role("worker", lost).await;
            let (number, event) = last_event(database);
            servers.remember(&key, "the change that is lost").await;
            restore(database, "before");
            servers.compare(&key, "the change is lost").await;
            // Made by a server that did not make the lost one.
            second.role("worker", next).await;
            let (next_number, next_event) = last_event(database);
            assert_eq!(number, next_number, "the same number");
            assert_ne!(event, next_event);
            servers.compare(&key, "another change").await;
            for server in &servers.narrow {
                assert_eq!(Answer::of(server, &key).await.body["scope"], scope, "{next:?} in place of {lost:?}");
            }
            restore(database, "before");
            servers.compare(&key, "before both").await;
            assert_eq!(Answer::of(first, &key).await.body["scope"], "a:c");
        }
    }
}
