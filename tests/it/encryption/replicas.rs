//! Replicas with separate key directories: the behavior of a replica that lacks a master key file.

use std::{fs, path::Path};

use keyswap::{
    crypto::random::SystemEntropy,
    domain::{
        common::time::Span,
        events::{Actor, Origin},
        signing::master_key::MasterKeyState,
    },
    service::encryption::master_keys::{self, MissingKeyPolicy},
};
use serde_json::Value;

use super::{Full, quick, refused};
use crate::{
    faults::process::{Deployment, LONG, Running, until},
    support::{Kind, both},
};

fn copy(from: &Path, to: &Path, version: i32) {
    let name = format!("master.{version}");
    fs::create_dir_all(to).unwrap();
    // `fs::copy` also copies the file mode.
    fs::copy(from.join(&name), to.join(&name)).unwrap();
}

async fn ready(server: &Running) -> (u16, String) {
    let answer = server.get("/readyz").await;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["notes"].to_string())
}

#[test]
fn replica_without_a_master_key_file_reports_it_and_answers_503() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let here = quick(Kind::Postgres);
        let one = here.serve();
        let there = Deployment { database: here.database.clone(), settings: here.settings.clone() };
        let dir = here.database.dir.path().join("elsewhere");
        let there = there.with(&[&format!("keys.dir={}", dir.display()), "keys.create=false"]);
        copy(&here.keys(), &dir, 1);
        let two = there.serve();
        let full = Full::on(here, &one, 12).await;
        full.opens(&two, "before").await;

        // Version 2 is registered and not used for encryption yet. The replica reports the missing
        // file, keeps working and can be restarted.
        let report = full.deployment.json(&["master-key", "rotate"]);
        assert_eq!(report["waits_for"], "the file on every replica");
        assert!(full.deployment.keys().join("master.2").exists());
        let lacks = || async { ready(&two).await.1.contains("the file of a master key is missing") };
        until("the replica says what it lacks", LONG, lacks).await;
        until("it is ready: nothing is encrypted with it yet", LONG, || async { ready(&two).await.0 == 200 }).await;
        full.opens(&two, "on its way").await;
        until("the other lacks nothing", LONG, || async { ready(&one).await == (200, "null".to_owned()) }).await;
        assert_eq!(two.exchange("acme.live.absent-key-here").await.status(), 401);
        two.stop();
        let two = there.serve();
        full.opens(&two, "on its way, started again").await;

        // Without the copied file, the command names the replica that lacks it and
        // does not activate the key.
        let said = full.deployment.run(&["master-key", "rotate", "--continue"]);
        refused(&said, &["do not have master.2", "(rep_", "--force"]);
        assert_eq!(said.err.lines().last().unwrap().matches("(rep_").count(), 1, "the other has it: {said:?}");
        assert_eq!(full.status()[1].1, "incoming");

        // After `--force` the replica is not ready. It answers 503 instead of reporting
        // a valid key as unknown.
        assert_eq!(full.deployment.run(&["master-key", "rotate", "--continue", "--force"]).code, Some(0));
        until("it is not ready", LONG, || async { ready(&two).await.0 == 503 }).await;
        for key in [&full.keys[0], &full.imported[0]] {
            let answer = two.exchange(key).await;
            assert_eq!(answer.status(), 503, "{}", answer.text().await.unwrap());
            assert!(one.exchange_succeeds(key).await);
        }
        let refused = there.refuses();
        assert!(refused.contains(&format!("{} is missing", dir.join("master.2").display())), "{refused}");

        // Copying the file makes the replica ready without a restart.
        copy(&full.deployment.keys(), &dir, 2);
        until("it is ready", LONG, || async { ready(&two).await.0 == 200 }).await;
        full.opens(&two, "with the file").await;
        two.stop();
        one.stop();
    });
}

both! {
    async fn master_key_is_not_activated_while_a_live_replica_lacks_it(server: Server, "jobs=by_hand") {
        // The command and the server use separate directories.
        let (here, there) = (server.database.dir.path().join("elsewhere"), server.database.dir.path().join("keys"));
        copy(&there, &here, 1);
        let (store, cli) = (&server.services.store, || Origin::of(Actor::Operator));
        let begun = master_keys::begin(store, &here, cli(), &SystemEntropy::default()).await.unwrap();
        assert!(begun.file_created && begun.registered);
        let refused = master_keys::activate(store, &here, cli(), MissingKeyPolicy::Refuse).await;
        let refused = refused.expect_err("the server lacks it").to_string();
        assert!(refused.contains("do not have master.2") && refused.contains("(rep_"), "{refused}");
        let states = async || {
            let listed = store.read(keyswap::store::encryption::master_keys::list).await.unwrap();
            listed.into_iter().map(|info| info.state).collect::<Vec<_>>()
        };
        assert_eq!(states().await, [MasterKeyState::Current, MasterKeyState::Incoming]);
        copy(&here, &there, 2);
        assert_eq!(master_keys::list_replicas_without_incoming_key(store).await.unwrap().len(), 1, "it has not looked");
        server.run_jobs().await;
        assert!(master_keys::list_replicas_without_incoming_key(store).await.unwrap().is_empty(), "the server tells that it holds it");
        let activated = master_keys::activate(store, &here, cli(), MissingKeyPolicy::Refuse).await.unwrap().unwrap();
        assert_eq!(activated.version, 2);
        assert_eq!(states().await, [MasterKeyState::Retiring, MasterKeyState::Current]);
    }

    async fn activation_waits_for_the_staleness_of_each_replica(server: Server, "signing_keys.replica_staleness=9s") {
        for (own, longest) in [(1, 9), (60, 60)] {
            let found = master_keys::max_replica_staleness(&server.services.store, Span::from_secs(own)).await.unwrap();
            assert_eq!(found, Span::from_secs(longest));
        }
    }
}
