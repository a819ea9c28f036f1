//! Each job runs on its schedule. Most tests call the jobs directly and would not detect a job
//! that is never started.

use diesel::{QueryableByName, RunQueryDsl, sql_types::BigInt};
use keyswap::{
    crypto::random::SystemEntropy,
    domain::{
        common::derived_id::CredentialId,
        events::{Actor, Origin},
    },
    service::encryption::master_keys,
    store::StoreError,
};
use serde_json::{Value, json};

use crate::{
    faults::process::{LONG, until},
    support::{Server, both},
    webhooks::{
        hook,
        receiver::{Receiver, Reply},
    },
};

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

async fn rows(server: &Server, table: &str) -> i64 {
    let query = format!("SELECT count(*) AS count FROM {table}");
    let read = server
        .services
        .store
        .read(move |connection| diesel::sql_query(query).get_result::<Count>(connection).map_err(StoreError::from));
    read.await.unwrap().count
}

async fn has_event(server: &Server, kind: &str) -> bool {
    let found = server.manage("GET", &format!("/v1/events?type={kind}"), None, 200).await;
    !found["data"].as_array().unwrap().is_empty()
}

both! {
    async fn every_job_runs_on_its_schedule(server: Server, "usage.flush_interval=100ms", "signing_keys.rotation_period=2h", r#"webhooks.allowed_networks=["127.0.0.0/8"]"#, r#"webhooks.allowed_ports=["1024-65535"]"#, "webhooks.allow_http=true") {
        let receiver = Receiver::new(Reply::Status(200));
        hook(&server, &receiver.url, &["api_key.expired", "signing_key.activated"]).await;
        let end = (chrono::Utc::now() + chrono::Duration::hours(1)).to_rfc3339();
        let key = server.key(json!({ "name": "ends", "owner": { "type": "none" }, "expires_at": end })).await;
        server.fetch_token(&key.value).await;
        let shown = async || server.manage("GET", &format!("/v1/api-keys/{}", key.id), None, 200).await["last_used_at"].clone();
        until("when it was used is written", LONG, async || shown().await.is_string()).await;
        until("live tokens are", LONG, async || rows(&server, "signing_key_tokens").await > 0).await;
        until("what became of exchanges is", LONG, async || rows(&server, "exchange_counts").await > 0).await;

        let guard_file = server.services.settings.keys.rollback_guard();
        // Each job first runs at startup. Effects of later changes show that the jobs run
        // repeatedly.
        let head = server.events().await.last().unwrap()["seq"].as_i64().unwrap();
        let seen = || {
            let text = std::fs::read(&guard_file).unwrap_or_default();
            serde_json::from_slice::<Value>(&text).ok()?["seq"].as_i64()
        };
        until("the rollback guard has seen this", LONG, async || seen() >= Some(head)).await;
        let (store, dir) = (&server.services.store, &server.services.settings.keys.dir);
        master_keys::begin(store, dir, Origin::of(Actor::Operator), &SystemEntropy::default()).await.unwrap();
        until("the new master key is held", LONG, async || server.services.master_keys.snapshot().fingerprints().contains_key(&2)).await;

        let before = server.services.keys.view();
        until("the keys are read again", LONG, async || server.services.keys.view().age() < before.age()).await;
        server.advance(2 * 3600 + 1);
        until("the next key signs", LONG, async || has_event(&server, "signing_key.retired").await).await;
        until("the expiry event is recorded", LONG, async || has_event(&server, "api_key.expired").await).await;
        receiver.wait(2).await;
    }

    async fn liveness_reports_a_job_that_does_not_run(server: Server, "jobs=by_hand") {
        let monitor = &server.services.job_monitor;
        let probe = async || {
            let probed = server.get("/healthz").send().await.unwrap();
            (probed.status().as_u16(), probed.text().await.unwrap())
        };
        assert_eq!(probe().await, (200, "ok\n".to_owned()), "the test runs the jobs itself");
        monitor.expect_jobs();
        let must_restart = (503, "the process must be restarted\n".to_owned());
        assert_eq!(probe().await, must_restart);
        let describe_fault = || monitor.find_fault().unwrap().to_string();
        assert_eq!(describe_fault(), "the background jobs were not started; restart the server");
        let job = monitor.add_job("count the stars", LONG);
        assert_eq!(probe().await.0, 200);
        drop(job);
        assert_eq!(probe().await, must_restart);
        assert_eq!(describe_fault(), "background job \"count the stars\" has ended; restart the server");
        monitor.stop();
        assert_eq!(probe().await.0, 200, "the server stops");
    }

    async fn old_rows_are_deleted_at_start_and_full_use_buffers_flushed_early(server: Server, "jobs=by_hand") {
        server.database.sql("INSERT INTO key_usage (key_id, day, uses) VALUES ('key', 0, 1)");
        let server = Server::on(server.stop().await, &["usage.flush_interval=1h"]).await;
        until("it is deleted", LONG, async || rows(&server, "key_usage").await == 0).await;
        // The job that flushes on a schedule precedes the one that deletes: its first run is over,
        // and its next run is in an hour.
        let now = server.services.store.now().await.unwrap();
        for _ in 0..131_072 {
            let credential = CredentialId::generate(&server.services.entropy).unwrap();
            server.services.last_used.record_credential_use(credential, now, true);
        }
        until("some are written", LONG, async || server.services.last_used.count_waiting() < 131_072).await;
    }
}
