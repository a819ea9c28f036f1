//! Servers that start, or whose registration is deleted, while signing keys are moved.

use std::sync::{Arc, Mutex, mpsc};

use keyswap::{
    domain::{events::Origin, signing::SigningKeyState},
    store::{
        Lock, NoEvent, Outcome, StoreError, Tx,
        signing::{manifest, signing_keys},
    },
};
use serde_json::json;
use tokio::sync::oneshot;

use super::rotation::{in_state, keys, kid_of_next, until};
use crate::support::{Kind, MANUAL_JOBS, Server, both};

both! {
    async fn replica_does_not_register_during_a_key_change(server: Server, "jobs=by_hand") {
        let replicas = async || keys(&server).await["replicas"].as_array().unwrap().len();
        let new = kid_of_next(&server).await;
        let (begun, has_begun) = oneshot::channel();
        let (end, may_end) = mpsc::channel();
        // A change can be repeated, so what it captures can be cloned.
        let channels = Arc::new(Mutex::new((Some(begun), may_end)));
        let store = server.services.store.clone();
        // A key becomes active, with the settings of the running replicas.
        let change = move |tx: &mut Tx<'_>| {
            tx.lock(Lock::SigningKeys)?;
            let (begun, may_end) = &mut *channels.lock().unwrap();
            begun.take().unwrap().send(()).unwrap();
            may_end.recv().unwrap();
            let (now, keys) = (tx.now(), manifest::list_for_change(tx)?);
            for (from, to) in [(SigningKeyState::Active, SigningKeyState::Retiring), (SigningKeyState::Next, SigningKeyState::Active)] {
                let key = keys.iter().find(|key| key.info.state == from).unwrap();
                assert!(signing_keys::transition_state(tx, &key.info, to, now)?);
            }
            Ok::<_, StoreError>(Outcome::without_event((), NoEvent::InternalState))
        };
        let changes = tokio::spawn(async move { store.run_transaction(Origin::SYSTEM, change).await });
        has_begun.await.unwrap();
        let (database, settings) = (Arc::clone(&server.database), [MANUAL_JOBS, "tokens.max_ttl=4h"]);
        let joins = tokio::spawn(async move { Server::on(database, &settings).await });
        if server.database.kind == Kind::Postgres {
            until("it waits for the lock", async || server.database.waiting_for_locks() == 1).await;
        }
        assert_eq!((replicas().await, joins.is_finished()), (1, false), "it has not come up");
        end.send(()).unwrap();
        changes.await.unwrap().unwrap();
        let replica = joins.await.unwrap();
        assert_eq!(replicas().await, 2);
        let active = in_state(&replica, "active").await;
        assert_eq!((&active[0]["kid"], &active[0]["longest_ttl"]), (&json!(new), &json!("4h")), "the new settings hold for it");
    }

    async fn replica_with_a_deleted_registration_registers_again(server: Server, "jobs=by_hand", "signing_keys.replica_staleness=3s", "tokens.max_ttl=4h") {
        let longest = async || in_state(&server, "active").await[0]["longest_ttl"].clone();
        assert_eq!(longest().await, "4h");
        server.database.sql("DELETE FROM replicas; UPDATE signing_keys SET longest_ttl = 3600000");
        server.accept_altered_rows().await;
        assert_eq!(longest().await, "1h");
        // After more than a third of the staleness limit, the replica registers again.
        server.advance(2);
        server.run_jobs().await;
        assert_eq!(longest().await, "4h", "its tokens count");
        assert_eq!(keys(&server).await["replicas"].as_array().unwrap().len(), 1);
    }
}
