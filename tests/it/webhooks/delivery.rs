//! Selection, timing and mutual independence of deliveries.

use std::{collections::BTreeSet, sync::Arc};

use keyswap::app::jobs::webhooks;
use serde_json::json;

use super::{
    hook, log, logged, loopback, newest,
    receiver::{Receiver, Reply},
};
use crate::support::both;

loopback! {
    async fn only_selected_event_types_are_sent(server: Server) {
        let receivers = [Receiver::new(Reply::Status(200)), Receiver::new(Reply::Status(200)), Receiver::new(Reply::Status(200))];
        hook(&server, &receivers[0].url, &["permission.*"]).await;
        hook(&server, &receivers[1].url, &["permission.deleted", "audience.created"]).await;
        let body = json!({ "url": receivers[2].url, "organization_id": "acme" });
        server.manage("POST", "/v1/webhooks", Some(body), 201).await;
        server.permissions(&["a", "b"]).await;
        server.manage("DELETE", "/v1/permissions/a", None, 204).await;
        server.audience("https://a.test/", None).await;
        server.deliver().await;
        let kinds = |receiver: &Receiver| {
            let mut all: Vec<_> = receiver.all().iter().map(|one| one.json()["type"].as_str().unwrap().to_owned()).collect();
            all.sort();
            all
        };
        assert_eq!(kinds(&receivers[0]), ["permission.created", "permission.created", "permission.deleted"]);
        assert_eq!(kinds(&receivers[1]), ["audience.created", "permission.deleted"]);
        assert_eq!(receivers[2].all().len(), 0);
    }

    async fn events_can_be_limited_to_an_organization(server: Server) {
        let receiver = Receiver::new(Reply::Status(200));
        let body = json!({ "url": receiver.url, "organization_id": "acme" });
        let made = server.manage("POST", "/v1/webhooks", Some(body), 201).await;
        let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
        // Disabled while the test edits the events, before the delivery worker reads them.
        server.manage("PATCH", &path, Some(json!({ "state": "disabled" })), 200).await;
        server.permissions(&["a", "b", "c"]).await;
        for (subject, organization) in [("a", "other"), ("b", "acme")] {
            server.database.sql(&format!("UPDATE events SET organization_id = '{organization}' WHERE subject = 'permission:{subject}'"));
        }
        server.manage("PATCH", &path, Some(json!({ "state": "enabled" })), 200).await;
        server.deliver().await;
        let all = receiver.all();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].json()["data"]["subject"]["id"], "b");
    }

    async fn events_before_creation_are_not_sent(server: Server) {
        server.permissions(&["before"]).await;
        let receiver = Receiver::new(Reply::Status(200));
        let hook = hook(&server, &receiver.url, &[]).await;
        server.permissions(&["after"]).await;
        server.deliver().await;
        let kinds: BTreeSet<_> = receiver.all().iter().map(|one| one.json()["data"]["subject"]["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(kinds, ["after".to_owned(), hook.id].into(), "its own making is the first it hears of");
    }

    async fn attempts_follow_the_clock_of_the_database(server: Server) {
        let receiver = Receiver::new(Reply::Status(500));
        let hook = hook(&server, &receiver.url, &["permission.created"]).await;
        server.permissions(&["a"]).await;
        newest(&server, &hook, "waiting", 1).await;
        server.advance(-600);
        server.deliver().await;
        assert_eq!(receiver.all().len(), 1, "not before its time");
        server.advance(607);
        newest(&server, &hook, "waiting", 2).await;
        server.deliver().await;
        assert_eq!(receiver.all().len(), 2, "the second wait is longer");
        receiver.now(Reply::Status(200));
        // The delivery that has waited longest is sent first.
        server.permissions(&["b"]).await;
        server.deliver().await;
        assert_eq!(receiver.all().len(), 3);
        server.advance(37);
        logged(&server, &hook, "all", |found| found.iter().all(|one| one["state"] == "delivered")).await;
        let subjects: Vec<_> = receiver.all().iter().map(|one| one.json()["data"]["subject"]["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(subjects, ["a", "a", "b", "a"]);
    }

    async fn delivery_log_is_paged_and_kept_for_thirty_days(server: Server) {
        let receiver = Receiver::new(Reply::Status(200));
        let hook = hook(&server, &receiver.url, &["permission.created"]).await;
        server.permissions(&["a", "b", "c", "d", "e"]).await;
        let all = logged(&server, &hook, "five", |found| found.len() == 5 && found.iter().all(|one| one["state"] == "delivered")).await;
        let walked = crate::support::calls::read_pages(&server, &format!("{}/deliveries", hook.path()), 2).await;
        assert_eq!(walked, all);
        let seqs: Vec<_> = all.iter().map(|one| one["event_seq"].as_i64().unwrap()).collect();
        assert!(seqs.is_sorted_by(|a, b| a > b), "{seqs:?}");
        assert_eq!((&all[0]["last_status"], &all[0]["attempts"], &all[0]["event_type"]), (&json!(200), &json!(1), &json!("permission.created")));
        server.advance(29 * 24 * 3600);
        server.run_jobs().await;
        assert_eq!(log(&server, &hook).await.len(), 5);
        server.advance(2 * 24 * 3600);
        server.run_jobs().await;
        assert_eq!(log(&server, &hook).await.len(), 0, "forgotten");
    }

    async fn leased_delivery_is_not_sent_twice(server: Server) {
        let receiver = Receiver::new(Reply::Held);
        let hook = hook(&server, &receiver.url, &["permission.created"]).await;
        server.permissions(&["a"]).await;
        let services = Arc::clone(&server.services);
        let sends = tokio::spawn(async move { webhooks::deliver_once(&services).await });
        receiver.wait(1).await;
        let delivery = log(&server, &hook).await.swap_remove(0);
        let retry = format!("{}/deliveries/{}/retry", hook.path(), delivery["id"].as_str().unwrap());
        let refused = server.manage("POST", &retry, None, 409).await;
        assert!(refused["detail"].as_str().unwrap().contains("being sent now"), "{refused}");
        server.deliver().await;
        assert_eq!(receiver.all().len(), 1, "nor by another replica");
        receiver.release();
        sends.await.unwrap().unwrap();
        newest(&server, &hook, "delivered", 1).await;
        server.manage("POST", &retry, None, 200).await;
        newest(&server, &hook, "delivered", 1).await;
        let all = receiver.all();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].id(), all[1].id());
    }

    async fn queue_is_bounded_and_further_events_stay_in_the_audit_log(server: Server) {
        let receiver = Receiver::new(Reply::Status(500));
        let hook = hook(&server, &receiver.url, &["permission.created"]).await;
        server.permissions(&["a"]).await;
        newest(&server, &hook, "waiting", 1).await;
        // Emulates 999 other waiting deliveries.
        let columns = "webhook_id, event_id, event_type, state, attempts, next_attempt_at, created_at";
        let one = |number: i64| {
            format!(
                "INSERT INTO webhook_deliveries (id, event_seq, {columns}) \
                 SELECT 'whd_01JD{number:022}', -{number}, webhook_id, event_id, event_type, state, 1, \
                 next_attempt_at + 1000000000000, created_at \
                 FROM webhook_deliveries WHERE webhook_id = '{}' AND event_seq > 0;",
                hook.id
            )
        };
        server.database.sql(&format!("BEGIN; {} COMMIT;", (1..1000).map(one).collect::<String>()));
        server.permissions(&["b"]).await;
        server.deliver().await;
        assert!(!log(&server, &hook).await.iter().any(|one| one["event_seq"].as_i64().unwrap() > 0 && one["attempts"] == 0), "no room");
        receiver.now(Reply::Status(200));
        server.advance(7);
        server.deliver().await;
        assert_eq!(receiver.all().len(), 3);
    }
}

// Uses the job itself, because its work for one webhook must not wait for another.
both! {
    async fn slow_receiver_does_not_delay_others(server: Server, r#"webhooks.allowed_networks=["127.0.0.0/8"]"#, r#"webhooks.allowed_ports=["1024-65535"]"#, "webhooks.allow_http=true") {
        let hanging = Receiver::new(Reply::Hang);
        let mut hooks = Vec::new();
        for _ in 0..3 {
            hooks.push(hook(&server, &hanging.url, &["permission.*"]).await);
        }
        let good = Receiver::new(Reply::Status(200));
        hook(&server, &good.url, &["permission.*"]).await;
        // Disabled until all events exist, so that each hanging webhook has exactly four
        // deliveries in progress.
        let set = async |state: &str| {
            for hook in &hooks {
                server.manage("PATCH", &hook.path(), Some(json!({ "state": state })), 200).await;
            }
        };
        set("disabled").await;
        let names: Vec<_> = (0..30).map(|number| format!("p{number}")).collect();
        server.permissions(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        good.wait(30).await;
        set("enabled").await;
        hanging.wait(12).await;
        // When this event arrives, the job has run again.
        server.permissions(&["last"]).await;
        good.wait(31).await;
        for hook in &hooks {
            let ended = log(&server, hook).await.iter().filter(|one| !one["last_error"].is_null()).count();
            assert_eq!(ended, 0, "all this while the others hang");
        }
        assert_eq!(hanging.connections(), 12, "four at once for each");
    }
}
