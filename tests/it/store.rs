//! The contract of the store, tested on both databases.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use diesel::{Connection as _, PgConnection, connection::SimpleConnection as _};
use keyswap::{
    crypto::sha256,
    domain::{
        access::permission::{AssignableOwnerType, Permission, PermissionName},
        common::{
            derived_id::CredentialId,
            time::{Span, Timestamp},
        },
        events::{Actor, Event, EventType, NewEvent, Origin},
        exchange::usage::CredentialUses,
    },
    service::events,
    store::{
        self, DatabaseLeaseError, Lock, NoEvent, Outcome, StoreError, Tx, credentials::credential_usage::UseBatch,
    },
};

use crate::support::{Kind, MANUAL_JOBS, Server, both};

fn permission(name: &str) -> Permission {
    Permission {
        name: name.parse().unwrap(),
        description: None,
        assignable_to: [AssignableOwnerType::ServiceClient].into(),
        built_in: false,
        created_at: Timestamp::from_millis(0),
        version: 1,
    }
}

fn cli() -> Origin {
    Origin::of(Actor::Operator)
}

both! {
    async fn failed_change_is_rolled_back(server: Server) {
        let store = &server.services.store;
        let before = server.events().await.len();
        let result: Result<(), StoreError> = store
            .run_transaction(cli(), |tx| {
                store::access::permissions::insert(tx, &permission("a:b"))?;
                Err(StoreError::unavailable("on purpose"))
            })
            .await;
        assert!(result.is_err());
        let name: PermissionName = "a:b".parse().unwrap();
        assert!(store.read(move |connection| store::access::permissions::find(connection, &name)).await.unwrap().is_none());
        assert_eq!(server.events().await.len(), before);
    }

    async fn existing_row_is_a_conflict(server: Server) {
        let insert = || {
            server.services.store.run_transaction(cli(), |tx| {
                store::access::permissions::insert(tx, &permission("a:b"))?;
                Ok(Outcome::event((), NewEvent::new(EventType::PermissionCreated, "a:b")))
            })
        };
        assert!(insert().await.is_ok());
        assert!(matches!(insert().await, Err(StoreError::Conflict(_))));
    }

    async fn events_are_in_commit_order_with_concurrent_writers(server: Server) {
        let replica = server.replica().await;
        let before = server.events().await.len();
        let mut writers = Vec::new();
        for number in 0..8 {
            let store = if number % 2 == 0 { server.services.store.clone() } else { replica.services.store.clone() };
            writers.push(tokio::spawn(async move {
                for round in 0..25 {
                    let name = format!("w{number}:r{round}");
                    let change = store.run_transaction(cli(), move |tx| {
                        store::access::permissions::insert(tx, &permission(&name))?;
                        // Two resources produce two adjacent events.
                        let events = ["first", "second"].map(|part| {
                            NewEvent::new(EventType::PermissionCreated, &name).with_data("part", part)
                        });
                        Ok::<_, StoreError>(Outcome::events((), events.into()))
                    });
                    change.await.unwrap();
                }
            }));
        }
        for writer in writers {
            writer.await.unwrap();
        }
        let all = server.events().await;
        assert_eq!(all.len(), before + 8 * 25 * 2);
        for (place, event) in all.iter().enumerate() {
            assert_eq!(event["seq"], place + 1, "no gaps");
        }
        for pair in all[before..].chunks(2) {
            assert_eq!(pair[0]["subject"], pair[1]["subject"]);
        }
        assert!(all.windows(2).all(|pair| pair[0]["at"].as_str() <= pair[1]["at"].as_str()), "times follow the numbers");
        assert_eq!(events::verify_audit_log(&server.services).await.unwrap(), i64::try_from(all.len()).unwrap());
    }

    async fn altered_event_is_detected(server: Server) {
        server.permissions(&["a:b", "c:d"]).await;
        for (alter, restore) in [
            ("at = at + 1", "at = at - 1"),
            ("kind = kind || 'x'", "kind = substr(kind, 1, length(kind) - 1)"),
            ("data = ' ' || data", "data = substr(data, 2)"),
            ("seq = 1000", "seq = 5"),
        ] {
            events::verify_audit_log(&server.services).await.unwrap();
            let seq = if restore.starts_with("seq") { 1000 } else { 5 };
            server.database.sql(&format!("UPDATE events SET {alter} WHERE seq = 5"));
            let found = events::verify_audit_log(&server.services).await.is_err();
            // Leading whitespace does not change the JSON value, and the hash covers the value as
            // read.
            assert_eq!(found, !alter.starts_with("data"), "{alter}");
            server.database.sql(&format!("UPDATE events SET {restore} WHERE seq = {seq}"));
        }
        server.database.sql("UPDATE events SET data = '{\"forged\":1}' WHERE seq = 5");
        assert!(events::verify_audit_log(&server.services).await.is_err());
    }

    async fn deleted_event_is_detected(server: Server) {
        events::verify_audit_log(&server.services).await.unwrap();
        server.database.sql("DELETE FROM events WHERE seq = 4");
        assert!(events::verify_audit_log(&server.services).await.is_err());
    }

    async fn truncated_audit_log_is_detected(server: Server) {
        events::verify_audit_log(&server.services).await.unwrap();
        server.database.sql("DELETE FROM events WHERE seq > 6");
        assert!(events::verify_audit_log(&server.services).await.is_err());
    }

    async fn locks_are_taken_in_their_order(server: Server) {
        let takes = |first: Lock, second: Lock| {
            server.services.store.run_transaction(cli(), move |tx| {
                tx.lock(first)?;
                assert!(tx.try_lock(first)?, "it is held");
                tx.lock(second)?;
                Ok::<_, StoreError>(Outcome::without_event((), NoEvent::Unchanged))
            })
        };
        for (first, second) in [
            (Lock::IdempotencyKey(9), Lock::Provisioning),
            (Lock::Setup, Lock::SigningKeys),
            (Lock::SigningKeys, Lock::SigningKeys),
            (Lock::ImportedKey(1), Lock::StatusListCreation),
        ] {
            takes(first, second).await.unwrap();
            if first != second {
                let error = takes(second, first).await.unwrap_err().to_string();
                assert!(error.contains("locks are taken in the order"), "{error}");
            }
        }
    }

    /// The order is checked in development builds, for rows that exist and rows that do not.
    async fn rows_are_locked_in_their_order(server: Server) {
        server.permissions_for_all(&["a:b"]).await;
        let lock = |tx: &mut Tx<'_>, name: &str| -> Result<(), StoreError> {
            match name {
                "owner" => drop(store::directory::users::find_for_change(tx, &name.parse().unwrap())?),
                name => drop(store::access::permissions::find_many_for_update(tx, &name.parse().into_iter().collect())?),
            }
            Ok(())
        };
        let locks = |names: &'static [&'static str]| {
            server.services.store.run_transaction(cli(), move |tx| {
                names.iter().try_for_each(|name| lock(tx, name))?;
                Ok::<_, StoreError>(Outcome::without_event((), NoEvent::Unchanged))
            })
        };
        locks(&["owner", "a:b", "c:d", "a:b", "owner"]).await.unwrap();
        for wrong in [["a:b", "owner"], ["c:d", "a:b"]] {
            let wrong: &'static [&'static str] = Box::leak(Box::new(wrong));
            let error = locks(wrong).await.unwrap_err().to_string();
            assert!(error.contains("locks are taken in the order"), "{error}");
        }
    }

    async fn last_used_time_never_decreases(server: Server) {
        let key = server.generic_key(&[]).await;
        let id: CredentialId = key.value.split('_').nth(1).unwrap().parse().unwrap();
        let now = server.services.store.now().await.unwrap();
        let touch = |at: Timestamp| {
            let uses = CredentialUses { last_used_at: at, uses: 0 };
            let used = UseBatch { latest: vec![(id.number(), uses)], earlier: Vec::new() };
            server.services.store.run_transaction(cli(), move |tx| {
                store::credentials::credential_usage::add(tx, &used)?;
                Ok::<_, StoreError>(Outcome::without_event((), NoEvent::Unchanged))
            })
        };
        let shown = || server.manage("GET", "/v1/api-keys", None, 200);
        touch(now).await.unwrap();
        touch(Timestamp::from_millis(now.millis() - 5_000)).await.unwrap();
        assert_eq!(shown().await["data"][0]["last_used_at"], now.to_string());
        let later = now.plus(Span::from_secs(5));
        touch(later).await.unwrap();
        assert_eq!(shown().await["data"][0]["last_used_at"], later.to_string());
    }

    async fn time_is_the_database_clock(server: Server) {
        let before = server.services.store.now().await.unwrap();
        server.advance(3600);
        let after = server.services.store.now().await.unwrap();
        let moved = after.elapsed_since(before).as_secs();
        assert!((3600..3660).contains(&moved), "{moved}");
    }

    // `faults::durability` counts that each change is synced.
    async fn database_syncs_each_commit(server: Server) {
        let faults = server.services.store.read(store::durability_faults).await.unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        if server.database.kind == Kind::Sqlite {
            let settings = server.services.store.read(store::read_sqlite_settings).await.unwrap();
            assert_eq!(settings.journal_mode, "wal");
            assert_eq!(settings.synchronous, 2, "FULL");
            assert_eq!(settings.foreign_keys, 1);
            let version: Vec<u32> = settings.version.split('.').map(|part| part.parse().unwrap()).collect();
            assert!(version >= vec![3, 51, 3], "{}", settings.version);
        }
    }

    async fn readers_are_not_blocked_by_a_writer(server: Server) {
        let store = server.services.store.clone();
        let (started, running) = tokio::sync::oneshot::channel();
        let (release, released) = mpsc::channel::<()>();
        // A change can be repeated, so what it captures can be cloned.
        let channels = Arc::new(Mutex::new((Some(started), released)));
        let writer = tokio::spawn(async move {
            let change = store.run_transaction(cli(), move |tx| {
                store::access::permissions::insert(tx, &permission("slow:one"))?;
                let (started, released) = &mut *channels.lock().unwrap();
                started.take().unwrap().send(()).unwrap();
                // The write lock is held until the reader has its result.
                released.recv_timeout(Duration::from_secs(30)).expect("the reader waited for the writer");
                Ok::<_, StoreError>(Outcome::event((), NewEvent::new(EventType::PermissionCreated, "slow:one")))
            });
            change.await.unwrap();
        });
        running.await.unwrap();
        let name: PermissionName = "slow:one".parse().unwrap();
        let read = server.services.store.read(move |connection| store::access::permissions::find(connection, &name));
        let seen = tokio::time::timeout(Duration::from_secs(15), read).await.expect("the reader waits for the writer");
        assert!(seen.unwrap().is_none(), "what is not committed is not seen");
        release.send(()).unwrap();
        writer.await.unwrap();
    }
}

/// Waits until an exchange of `key` is answered with `status`.
async fn until_exchange_is(server: &Server, key: &str, status: u16) {
    let started = Instant::now();
    while server.exchange(key).await.status() != status {
        assert!(started.elapsed() < Duration::from_secs(60), "not answered {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn stuck_heartbeat_ends_the_lease() {
    Server::run(Kind::Postgres, &["database.lease=2s"], |server| async move {
        let key = server.generic_key(&["a:b"]).await.value;
        until_exchange_is(&server, &key, 200).await;
        assert_eq!(server.services.store.lease_fault(), None);
        // Reads work. Only the commit of the heartbeat waits.
        let mut other = PgConnection::establish(&server.database.url).unwrap();
        other.batch_execute("BEGIN; SELECT heartbeats FROM replica_heartbeats FOR UPDATE").unwrap();
        until_exchange_is(&server, &key, 503).await;
        assert!(server.services.store.now().await.is_err(), "no read is trusted");
        assert!(matches!(server.services.store.lease_fault(), Some(DatabaseLeaseError::Expired { .. })));
        let change = server.services.store.run_transaction(cli(), |tx| {
            store::access::permissions::insert(tx, &permission("a:late"))?;
            Ok::<_, StoreError>(Outcome::event((), NewEvent::new(EventType::PermissionCreated, "a:late")))
        });
        assert!(change.await.is_err());
        other.batch_execute("COMMIT").unwrap();
        until_exchange_is(&server, &key, 200).await;
        let name: PermissionName = "a:late".parse().unwrap();
        let found = server.services.store.read(move |connection| store::access::permissions::find(connection, &name));
        assert!(found.await.unwrap().is_none(), "no change begins without the lease");
    });
}

/// A server whose identity was read without one of its parts, because of an error that passes, would
/// look like another server.
#[test]
fn system_id_is_absent_only_if_the_server_refuses_it() {
    Server::run(Kind::Postgres, &[MANUAL_JOBS], |server| async move {
        // A function of a schema before `pg_catalog` takes the place of that of the server.
        let read = |sqlstate: &'static str| {
            server.services.store.read(move |connection| {
                connection.batch_execute(&format!(
                    "CREATE SCHEMA IF NOT EXISTS other; \
                     CREATE OR REPLACE FUNCTION other.pg_control_system() RETURNS TABLE (system_identifier BIGINT) \
                     LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{sqlstate}'; END $$; \
                     SET search_path = other, pg_catalog, public"
                ))?;
                let found = store::read_system_id(connection);
                connection.batch_execute("RESET search_path")?;
                found
            })
        };
        for sqlstate in ["42501", "42883", "0A000"] {
            assert_eq!(read(sqlstate).await.unwrap(), None, "{sqlstate}");
        }
        for sqlstate in ["57014", "40001", "25006", "53200"] {
            assert!(read(sqlstate).await.is_err(), "{sqlstate}");
        }
        assert!(server.services.store.read(store::read_system_id).await.unwrap().is_some());
    });
}

#[test]
fn event_hash_is_reproducible_by_outsiders() {
    let json = r#"{"id":"evt_01JD0000000000000000000000","seq":1,"type":"permission.created","at":"2030-01-01T00:00:00.000Z","actor":{"type":"cli","id":null},"on_behalf_of":null,"subject":{"type":"permission","id":"a:b"},"organization_id":null,"cause":null,"request_id":null,"address":null,"data":{"a":1,"b":"two"},"prev_hash":"0000000000000000000000000000000000000000000000000000000000000000"}"#;
    let event: Event = serde_json::from_str(json).unwrap();
    let expected: String = sha256(json.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(event.hash(sha256).unwrap(), expected);
}
