//! The requirements of Standard Webhooks (standards section 1.22), verified with the
//! library that receivers use.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    Hook, hook, log, logged, loopback, newest,
    receiver::{Received, Receiver, Reply},
};

loopback! {
    // Requirements: wh-01.
    async fn delivery_verifies_with_the_standard_library(server: Server) {
        let receiver = Receiver::new(Reply::Status(200));
        let hook = hook(&server, &receiver.url, &[]).await;
        server.permissions(&["a:b"]).await;
        let stock = standardwebhooks::Webhook::new(&hook.secret).unwrap();
        server.deliver().await;
        let all = receiver.wait(2).await;
        for received in &all {
            stock.verify(&received.body, &received.headers).unwrap();
            let mut altered = received.body.clone();
            altered[10] ^= 1;
            assert!(stock.verify(&altered, &received.headers).is_err());
            assert_eq!(received.line, "POST /hook HTTP/1.1");
            assert_eq!(received.header("content-type"), "application/json");
            assert!(received.header("user-agent").starts_with("Keyswap/"));
            let timestamp: i64 = received.header("webhook-timestamp").parse().unwrap();
            let now = server.services.store.now().await.unwrap().seconds();
            assert!((now - 30..=now).contains(&timestamp), "seconds, of the attempt");
        }
        // The body is the event as the audit log returns it.
        let events = server.events().await;
        let last = events.last().unwrap();
        let received = all.iter().find(|one| one.header("webhook-id") == last["id"].as_str().unwrap()).unwrap();
        let body = received.json();
        assert_eq!(body, json!({ "type": last["type"], "timestamp": last["at"], "data": last }));
        let text = String::from_utf8(received.body.clone()).unwrap();
        assert!(text.starts_with(r#"{"type":"permission.created","timestamp":""#), "{text}");
        assert!(!text.contains(": ") && !text.contains('\n'), "compact: {text}");
    }

    // Requirements: wh-02.
    async fn secrets_are_random_and_distinct_per_endpoint(server: Server) {
        let mut seen = BTreeSet::new();
        for i in 0..5 {
            let made = hook(&server, &format!("https://{i}.test/"), &[]).await;
            let bytes = STANDARD.decode(made.secret.strip_prefix("whsec_").unwrap()).unwrap();
            assert_eq!(bytes.len(), 32, "24 to 64 are asked for");
            assert!(seen.insert(bytes));
        }
    }

    // Requirements: wh-03.
    async fn both_secrets_sign_during_the_overlap(server: Server) {
        let receiver = Receiver::new(Reply::Status(200));
        let old = hook(&server, &receiver.url, &["permission.created"]).await;
        let rotate = async |overlap: &str| {
            let made = server.manage("POST", &format!("{}/rotate-secret", old.path()), Some(json!({ "overlap": overlap })), 200).await;
            Hook { secret: made["secret"].as_str().unwrap().to_owned(), ..old.clone() }
        };
        let new = rotate("1h").await;
        server.permissions(&["a"]).await;
        server.deliver().await;
        let received = receiver.wait(1).await.swap_remove(0);
        assert_eq!(received.header("webhook-signature").split(' ').count(), 2);
        assert!(old.signed(&received) && new.signed(&received));
        for hook in [&old, &new] {
            standardwebhooks::Webhook::new(&hook.secret).unwrap().verify(&received.body, &received.headers).unwrap();
        }
        server.advance(3601);
        server.permissions(&["b"]).await;
        server.deliver().await;
        let received = receiver.wait(2).await.swap_remove(1);
        assert!(!old.signed(&received) && new.signed(&received), "the overlap has ended");
        let newest = rotate("0s").await;
        server.permissions(&["c"]).await;
        server.deliver().await;
        let received = receiver.wait(3).await.swap_remove(2);
        assert!(!old.signed(&received) && !new.signed(&received) && newest.signed(&received), "without overlap");
        let read = server.manage("GET", &old.path(), None, 200).await;
        assert!(read["old_secret_until"].is_null());
    }

    // Requirements: wh-04.
    async fn ids_have_no_dot_and_stay_the_same_at_each_attempt(server: Server) {
        let receiver = Receiver::answering(|place| Reply::Status(if place < 2 { 500 } else { 200 }));
        let hook = hook(&server, &receiver.url, &["permission.created"]).await;
        server.permissions(&["a.b.c"]).await;
        for attempts in 1..=2 {
            newest(&server, &hook, "waiting", attempts).await;
            server.advance(40);
        }
        newest(&server, &hook, "delivered", 3).await;
        let all = receiver.wait(3).await;
        let ids: BTreeSet<_> = all.iter().map(Received::id).collect();
        let event = server.events().await.pop().unwrap();
        assert_eq!(ids, [event["id"].as_str().unwrap().to_owned()].into(), "the event's own id");
        for received in &all {
            assert!(!received.header("webhook-id").contains('.') && !received.header("webhook-timestamp").contains('.'));
            assert!(hook.signed(received), "each attempt is signed for its own time");
        }
        let times: BTreeSet<_> = all.iter().map(|one| one.header("webhook-timestamp").to_owned()).collect();
        assert_eq!(times.len(), 3);
    }

    // Requirements: wh-05.
    async fn redirect_is_a_failure_and_never_followed(server: Server) {
        let elsewhere = Receiver::new(Reply::Status(200));
        for status in [301, 302, 303, 307, 308] {
            let receiver = Receiver::new(Reply::With(status, format!("location: {}", elsewhere.url)));
            let hook = hook(&server, &receiver.url, &["permission.created"]).await;
            server.permissions(&[&format!("p{status}")]).await;
            let delivery = newest(&server, &hook, "waiting", 1).await;
            assert_eq!(delivery["last_status"], status);
            assert!(delivery["next_attempt_at"].is_string());
            server.manage("DELETE", &hook.path(), None, 204).await;
        }
        assert_eq!(elsewhere.connections(), 0);
    }

    // Requirements: wh-05.
    async fn status_410_disables_and_enabling_continues_from_the_cursor(server: Server) {
        let receiver = Receiver::new(Reply::Status(410));
        let hook = hook(&server, &receiver.url, &["permission.created"]).await;
        server.permissions(&["a"]).await;
        newest(&server, &hook, "waiting", 1).await;
        let read = server.manage("GET", &hook.path(), None, 200).await;
        assert_eq!((&read["state"], &read["disabled_reason"]), (&json!("disabled"), &json!("gone")));
        let event = server.events().await.pop().unwrap();
        assert_eq!((&event["type"], &event["data"]["reason"]), (&json!("webhook.disabled"), &json!("gone")));
        assert_eq!(event["actor"]["type"], "system");
        let delivery = log(&server, &hook).await.swap_remove(0);
        let retry = format!("{}/deliveries/{}/retry", hook.path(), delivery["id"].as_str().unwrap());
        server.manage("POST", &retry, None, 409).await;
        server.permissions(&["b"]).await;
        server.advance(3600);
        server.deliver().await;
        assert_eq!(receiver.all().len(), 1, "nothing is sent to a disabled webhook");
        receiver.now(Reply::Status(200));
        server.manage("PATCH", &hook.path(), Some(json!({ "state": "enabled" })), 200).await;
        server.deliver().await;
        let all = receiver.wait(3).await;
        let subjects: BTreeSet<_> = all[1..].iter().map(|one| one.json()["data"]["subject"]["id"].to_string()).collect();
        assert_eq!(subjects, [r#""a""#.to_owned(), r#""b""#.to_owned()].into(), "nothing is missed");
    }

    // Requirements: wh-05.
    async fn retry_after_of_a_receiver_is_respected(server: Server) {
        let receiver = Receiver::new(Reply::With(429, "retry-after: 3600".to_owned()));
        let hook = hook(&server, &receiver.url, &["permission.created"]).await;
        server.permissions(&["a"]).await;
        let delivery = newest(&server, &hook, "waiting", 1).await;
        let now = server.services.store.now().await.unwrap();
        let next: keyswap::domain::common::time::Timestamp = delivery["next_attempt_at"].as_str().unwrap().parse().unwrap();
        assert!((3590..=3600).contains(&next.elapsed_since(now).as_secs()), "{delivery}");
        receiver.now(Reply::Status(200));
        server.permissions(&["b"]).await;
        server.advance(1800);
        server.deliver().await;
        assert_eq!(receiver.all().len(), 1, "other events wait too");
        server.advance(1801);
        server.deliver().await;
        receiver.wait(3).await;
    }

    // Requirements: wh-05.
    async fn exhausted_attempts_disable_the_webhook_with_an_event(server: Server) {
        let receiver = Receiver::answering(|place| Reply::Status([500, 400, 404, 200 + 300][place % 4]));
        let hook = hook(&server, &receiver.url, &["permission.created"]).await;
        let observer = Receiver::new(Reply::Status(200));
        crate::webhooks::hook(&server, &observer.url, &["webhook.disabled"]).await;
        server.permissions(&["a"]).await;
        for attempts in 1..14 {
            newest(&server, &hook, "waiting", attempts).await;
            assert_eq!(server.manage("GET", &hook.path(), None, 200).await["state"], "enabled");
            server.advance(20 * 3600);
        }
        let delivery = newest(&server, &hook, "failed", 14).await;
        assert!(delivery["next_attempt_at"].is_null() && delivery["finished_at"].is_string());
        let read = server.manage("GET", &hook.path(), None, 200).await;
        assert_eq!((&read["state"], &read["disabled_reason"]), (&json!("disabled"), &json!("exhausted")));
        server.deliver().await;
        let notice = observer.wait(1).await.swap_remove(0).json();
        assert_eq!(notice["data"]["data"]["reason"], "exhausted");
        assert_eq!(notice["data"]["subject"]["id"], hook.id);
        assert_eq!(notice["data"]["data"]["event_id"], delivery["event_id"]);
        assert_eq!(receiver.all().len(), 14);
        // A delivery that was given up can be retried.
        receiver.now(Reply::Status(200));
        server.manage("PATCH", &hook.path(), Some(json!({ "state": "enabled" })), 200).await;
        server.deliver().await;
        assert_eq!(receiver.all().len(), 14);
        let retry = format!("{}/deliveries/{}/retry", hook.path(), delivery["id"].as_str().unwrap());
        let again: Value = server.manage("POST", &retry, None, 200).await;
        assert_eq!((&again["state"], &again["attempts"]), (&json!("waiting"), &json!(0)));
        server.deliver().await;
        assert_eq!(receiver.wait(15).await[14].id(), delivery["event_id"].as_str().unwrap());
    }

    // Requirements: wh-05.
    async fn one_failing_event_does_not_disable_a_working_receiver(server: Server) {
        let receiver = Receiver::new(Reply::Status(400));
        let hook = hook(&server, &receiver.url, &["permission.created"]).await;
        server.permissions(&["a"]).await;
        newest(&server, &hook, "waiting", 1).await;
        receiver.now(Reply::Status(200));
        server.permissions(&["b"]).await;
        newest(&server, &hook, "delivered", 1).await;
        receiver.now(Reply::Status(400));
        for attempts in 2..=14 {
            server.advance(20 * 3600);
            logged(&server, &hook, "the old one", |found| found[1]["attempts"] == attempts && found[1]["last_status"] == 400).await;
        }
        logged(&server, &hook, "the old one", |found| found[1]["state"] == "failed").await;
        assert_eq!(server.manage("GET", &hook.path(), None, 200).await["state"], "enabled");
    }
}
