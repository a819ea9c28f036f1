//! Changes that PostgreSQL rolls back in favor of another transaction, and parameters of a session
//! that the configuration of a server can change.

use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
};

use diesel::{QueryableByName, RunQueryDsl, connection::SimpleConnection, sql_types::Text};
use futures_util::future::join_all;
use keyswap::{
    domain::{
        common::id::UserId,
        events::{EventType, NewEvent, Origin},
    },
    store::{self, Conn, Outcome, RetryReason, StoreError, Tx},
};
use serde_json::json;
use tokio::sync::oneshot;

use super::{
    outage::run,
    process::{LONG, until},
};
use crate::support::{Database, Kind, MANUAL_JOBS, Server, calls::plain_key};

const SERIALIZATION_FAILURE: (RetryReason, &str, &str) =
    (RetryReason::SerializationFailure, "40001", "could not serialize access");
const DEADLOCK: (RetryReason, &str, &str) = (RetryReason::Deadlock, "40P01", "deadlock detected");

/// Makes the next `times` insertions into `table` fail with an SQLSTATE: each statement, or with
/// `DEFERRED` its commit. A sequence counts them, because a rollback does not reset it.
fn collide(server: &Server, table: &str, when: &str, (state, message): (&str, &str), times: u32) {
    server.database.sql(&format!(
        "CREATE SEQUENCE IF NOT EXISTS collisions; ALTER SEQUENCE collisions RESTART; \
         CREATE OR REPLACE FUNCTION collide() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN \
         IF nextval('collisions') <= {times} THEN RAISE EXCEPTION '{message}' USING ERRCODE = '{state}'; END IF; \
         RETURN NULL; END $$; \
         DROP TRIGGER IF EXISTS collide ON {table}; \
         CREATE CONSTRAINT TRIGGER collide AFTER INSERT ON {table} DEFERRABLE INITIALLY {when} \
         FOR EACH ROW EXECUTE FUNCTION collide()"
    ));
}

async fn is_refused(server: &Server) {
    let refused = server.post("/v1/api-keys").bearer_auth(&server.admin).json(&plain_key("refused"));
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
}

#[test]
fn changes_are_repeated_a_few_times() {
    Server::run(Kind::Postgres, &[MANUAL_JOBS], |server| async move {
        let retries = |reason| server.services.store.retries().count(reason);
        for (reason, state, message) in [SERIALIZATION_FAILURE, DEADLOCK] {
            for when in ["IMMEDIATE", "DEFERRED"] {
                let (events, before) = (server.events().await.len(), retries(reason));
                collide(&server, "api_keys", when, (state, message), 5);
                server.manage("POST", "/v1/api-keys", Some(plain_key("repeated")), 201).await;
                assert_eq!(retries(reason) - before, 5, "{state} {when}");
                assert_eq!(server.events().await.len(), events + 1, "the change was made once: {state} {when}");
                collide(&server, "api_keys", when, (state, message), 6);
                is_refused(&server).await;
                assert_eq!(retries(reason) - before, 10, "{state} {when}");
                assert_eq!(server.events().await.len(), events + 1, "nothing was changed: {state} {when}");
            }
        }
        let metrics = server.get("/metrics").bearer_auth(&server.admin).send().await.unwrap().text().await.unwrap();
        for (reason, ..) in [SERIALIZATION_FAILURE, DEADLOCK] {
            let line = format!("keyswap_transaction_retries_total{{reason=\"{}\"}} 20", reason.as_str());
            assert!(metrics.lines().any(|found| found == line), "{metrics}");
        }
        // Any other error is answered at once.
        collide(&server, "api_keys", "IMMEDIATE", ("57014", "canceling statement due to user request"), 1);
        is_refused(&server).await;
        server.manage("POST", "/v1/api-keys", Some(plain_key("later")), 201).await;
        assert!(RetryReason::ALL.into_iter().all(|reason| retries(reason) == 20));
    });
}

/// The private key is generated before the change, and each attempt publishes the same one.
#[test]
fn repeated_change_publishes_its_signing_key() {
    Server::run(Kind::Postgres, &[MANUAL_JOBS], |server| async move {
        let (_, state, message) = SERIALIZATION_FAILURE;
        collide(&server, "audiences", "DEFERRED", (state, message), 2);
        let audience = json!({ "identifier": "https://a.test", "algorithm": "EdDSA" });
        server.manage("POST", "/v1/audiences", Some(audience), 201).await;
        assert_eq!(server.services.store.retries().count(RetryReason::SerializationFailure), 2);
        let jwks: serde_json::Value = server.get("/.well-known/jwks.json").send().await.unwrap().json().await.unwrap();
        let published = jwks["keys"].as_array().unwrap().iter().filter(|key| key["alg"] == "EdDSA");
        assert_eq!(published.count(), 1, "{jwks}");
    });
}

#[test]
fn victim_of_a_deadlock_is_repeated() {
    Server::run(Kind::Postgres, &[MANUAL_JOBS], |server| async move {
        server.manage("PUT", "/v1/users/ada", Some(json!({})), 201).await;
        // This transaction does not notice the deadlock, so the change does, a second later.
        let mut other = server.database.hold(i64::MIN);
        other.sql("SET LOCAL deadlock_timeout = '1h'; SELECT seq FROM event_chain_head FOR UPDATE");
        let (locked, has_locked) = oneshot::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let pause = Arc::new(Mutex::new(Some((locked, may_go_on))));
        let id: UserId = "ada".parse().unwrap();
        let change = move |tx: &mut Tx<'_>| {
            store::directory::users::find_for_change(tx, &id)?;
            // The first attempt only.
            if let Some((locked, may_go_on)) = pause.lock().unwrap().take() {
                locked.send(()).unwrap();
                may_go_on.recv().unwrap();
            }
            Ok::<_, StoreError>(Outcome::event((), NewEvent::new(EventType::UserUpdated, "ada")))
        };
        let store = server.services.store.clone();
        let change = tokio::spawn(async move { store.run_transaction(Origin::SYSTEM, change).await });
        has_locked.await.unwrap();
        let other = thread::spawn(move || {
            other.sql("UPDATE users SET blocked_at = blocked_at WHERE id = 'ada'");
            other.release();
        });
        until("the other transaction waits", LONG, || async { server.database.waiting_for_rows() == 1 }).await;
        go_on.send(()).unwrap();
        change.await.unwrap().unwrap();
        other.join().unwrap();
        assert_eq!(server.services.store.retries().count(RetryReason::Deadlock), 1);
    });
}

#[derive(QueryableByName)]
struct Parameter {
    #[diesel(sql_type = Text)]
    value: String,
}

/// The value of a parameter in the session of a pooled connection.
async fn parameter(server: &Server, name: &'static str) -> String {
    let read = move |connection: &mut Conn| {
        let Conn::Postgres(inner) = connection else { panic!("not PostgreSQL") };
        let query = diesel::sql_query(format!("SELECT current_setting('{name}') AS value"));
        Ok::<_, StoreError>(query.get_result::<Parameter>(inner)?.value)
    };
    server.services.store.read(read).await.unwrap()
}

#[test]
fn isolation_does_not_depend_on_the_database() {
    run(async {
        let database = Database::new(Kind::Postgres);
        for (name, value) in [("default_transaction_isolation", "serializable"), ("lc_messages", "POSIX")] {
            database.sql(&format!(
                "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {name} = %L', current_database(), '{value}'); END $$"
            ));
        }
        let server = Server::on(Arc::new(database), &[]).await;
        let create = |number: usize| {
            let request = server.post("/v1/api-keys").bearer_auth(&server.admin);
            request.json(&plain_key(&format!("key {number}"))).send()
        };
        for created in join_all((0..24).map(create)).await {
            assert_eq!(created.unwrap().status(), 201);
        }
        assert!(RetryReason::ALL.into_iter().all(|reason| server.services.store.retries().count(reason) == 0));
        assert_eq!(parameter(&server, "transaction_isolation").await, "read committed");
        assert_eq!(parameter(&server, "lc_messages").await, "C");
    });
}

/// Without the check, the connection that is returned last is the next one to be used.
#[test]
fn connection_with_another_session_is_not_used() {
    Server::run(Kind::Postgres, &[MANUAL_JOBS], |server| async move {
        let take_session_away = |connection: &mut Conn| {
            connection.batch_execute("SET keyswap.session = 'that of another connection'")?;
            Ok::<_, StoreError>(())
        };
        for _ in 0..3 {
            server.services.store.read(take_session_away).await.unwrap();
            for _ in 0..5 {
                assert_eq!(parameter(&server, "keyswap.session").await.len(), 48);
            }
        }
        server.manage("POST", "/v1/api-keys", Some(plain_key("a key")), 201).await;
    });
}
