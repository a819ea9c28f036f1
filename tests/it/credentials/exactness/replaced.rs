//! A backup is restored under servers that run: the whole database is replaced by one with the same
//! number of events and another history. SQLite copies its pages, without triggers; PostgreSQL drops
//! the database and its connections.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use keyswap::service::database_server;
use serde_json::json;

use super::{Answer, Servers, restored::last_event};
use crate::support::{Database, Kind, MANUAL_JOBS, Server, both};

/// Changes the role of the user in a copy of `database`, to which no server may be connected.
async fn another_history(database: &Database, permissions: &[&str]) -> Arc<Database> {
    let server = Server::on(Arc::new(database.copy_with_keys()), &[MANUAL_JOBS]).await;
    server.role("worker", permissions).await;
    server.stop().await
}

/// Waits until each server answers again, on PostgreSQL after the rollback check of its new
/// connection. Every answer is by the database that is there.
async fn wait_for_answers(servers: &Servers, key: &str, scope: &str) {
    for server in servers.narrow.iter().chain([&servers.all_tables]) {
        let started = Instant::now();
        let mut is_checked = server.database.kind == Kind::Sqlite;
        loop {
            if server.services.store.server_to_check().is_some() {
                is_checked = database_server::check_new(&server.services).await.is_ok();
            }
            let answer = Answer::of(server, key).await;
            if answer.status == 200 {
                assert_eq!(answer.body["scope"], scope);
                if is_checked {
                    break;
                }
            }
            assert!([200, 503].contains(&answer.status), "{answer:#?}");
            assert!(started.elapsed() < Duration::from_secs(60), "checked: {is_checked}, {answer:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

both! {
    async fn facts_of_a_replaced_database_are_not_used(server: Server, "jobs=by_hand") {
        server.permissions_for_all(&["a:b", "a:c"]).await;
        server.role("worker", &["a:b", "a:c"]).await;
        server.user("alice", &["worker"]).await;
        let key = server.key_of(json!({ "type": "user", "id": "alice" }), &["a:b", "a:c"]).await.value;
        server.role("worker", &["a:c"]).await;
        let database = server.stop().await;
        let other = another_history(&database, &["a:b"]).await;

        let servers = Servers::new(Server::on(database, &[MANUAL_JOBS]).await, &[MANUAL_JOBS]).await;
        let database = &servers.narrow[0].database;
        // The servers that exchange the key did not make the change themselves, so their rollback
        // guards do not know it.
        let writer = servers.narrow[0].replica().await;
        writer.role("worker", &["a:b", "a:c"]).await;
        writer.stop().await;
        servers.remember(&key, "the history that is replaced").await;
        let (number, event) = last_event(database);

        database.replace_with(&other);
        let (other_number, other_event) = last_event(database);
        assert_eq!(number, other_number, "the same number");
        assert!(event != other_event && !event.is_empty() && !other_event.is_empty(), "{event}, {other_event}");
        wait_for_answers(&servers, &key, "a:b").await;
        servers.compare(&key, "the other history").await;
        servers.narrow[1].role("worker", &["a:c"]).await;
        servers.compare(&key, "a change in the other history").await;
        assert_eq!(Answer::of(&servers.narrow[0], &key).await.body["scope"], "a:c");
    }
}
