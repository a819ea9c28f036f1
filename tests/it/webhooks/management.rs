//! Creation, changes and deletion of webhooks by an operator.

use serde_json::{Value, json};

use super::{
    hook, loopback, newest,
    receiver::{Receiver, Reply},
};
use crate::{
    support::calls::{call, events_after, read_pages, tagged_version},
    support::{both, wire::problem},
};

const HOOKS: &str = "/v1/webhooks";

loopback! {
    async fn webhook_is_created_changed_and_deleted(server: Server) {
        let before = server.events().await.len();
        let body = json!({ "url": "https://a.test/hook", "description": "first", "event_types": ["api_key.*", "audience.created"], "organization_id": "acme" });
        let mut made = server.manage("POST", HOOKS, Some(body.clone()), 201).await;
        let secret = made.as_object_mut().unwrap().remove("secret").unwrap();
        assert!(secret.as_str().unwrap().starts_with("whsec_"));
        for (name, value) in body.as_object().unwrap() {
            assert_eq!(&made[name], value, "{name}");
        }
        assert_eq!((&made["state"], &made["version"], &made["disabled_reason"]), (&json!("enabled"), &json!(1), &Value::Null));
        let path = format!("{HOOKS}/{}", made["id"].as_str().unwrap());
        assert_eq!(server.manage("GET", &path, None, 200).await, made, "the secret is shown once");
        for (body, version) in [
            (json!({}), 1), (json!({ "description": "first" }), 1), (json!({ "description": null }), 2),
            (json!({ "url": "https://b.test/" }), 3), (json!({ "event_types": null, "organization_id": null }), 4),
            (json!({ "state": "disabled" }), 5), (json!({ "state": "disabled" }), 5), (json!({ "state": "enabled" }), 6),
        ] {
            let changed = server.manage("PATCH", &path, Some(body.clone()), 200).await;
            assert_eq!(changed["version"], version, "{body}");
            assert!(changed.get("secret").is_none());
        }
        let rotated = server.manage("POST", &format!("{path}/rotate-secret"), None, 200).await;
        assert!(rotated["secret"].as_str().unwrap() != secret && rotated["version"] == 7 && rotated["old_secret_until"].is_string());
        server.manage("DELETE", &path, None, 204).await;
        for (method, path, body) in [
            ("GET", path.clone(), None), ("PATCH", path.clone(), Some(json!({}))), ("DELETE", path.clone(), None),
            ("POST", format!("{path}/test"), None), ("POST", format!("{path}/rotate-secret"), None),
            ("GET", format!("{path}/deliveries"), None),
        ] {
            server.manage(method, &path, body, 404).await;
        }
        assert_eq!(events_after(&server, before).await, [
            "webhook.created", "webhook.updated", "webhook.updated", "webhook.updated", "webhook.disabled", "webhook.enabled",
            "webhook.secret_rotated", "webhook.deleted",
        ]);
    }

    async fn replay_returns_the_webhook_without_its_secret(server: Server) {
        let send = async || {
            let body = json!({ "url": "https://a.test/" });
            call(&server, &server.admin, "POST", HOOKS, Some(body), &[("idempotency-key", "k")]).await
        };
        let first: Value = send().await.json().await.unwrap();
        let replay = send().await;
        assert_eq!((replay.status().as_u16(), &replay.headers()["idempotency-replayed"]), (201, &"true".parse().unwrap()));
        let replay: Value = replay.json().await.unwrap();
        assert!(first.get("secret").is_some() && replay.get("secret").is_none());
        assert_eq!(first["id"], replay["id"]);
    }

    async fn change_requires_the_current_version(server: Server) {
        let path = hook(&server, "https://a.test/", &[]).await.path();
        let stale = [("if-match", "\"7\"")];
        for (method, path, body) in [
            ("PATCH", path.clone(), Some(json!({ "description": "x" }))), ("DELETE", path.clone(), None),
            ("POST", format!("{path}/rotate-secret"), None),
        ] {
            problem(call(&server, &server.admin, method, &path, body, &stale).await, 412, "precondition_failed").await;
        }
        let fresh = [("if-match", "\"1\"")];
        let changed = call(&server, &server.admin, "PATCH", &path, Some(json!({ "description": "x" })), &fresh).await;
        assert_eq!((changed.status().as_u16(), tagged_version(&changed)), (200, 2));
    }

    async fn invalid_fields_are_named(server: Server) {
        let path = hook(&server, "https://a.test/", &[]).await.path();
        for (body, field) in [
            (json!({ "url": "ftp://a.test/" }), "url"), (json!({ "url": "https://u:p@a.test/" }), "url"),
            (json!({ "url": "https://a.test/\r\nX: y" }), "url"), (json!({ "url": "https://a.test:22/" }), "url"),
            (json!({ "url": "https://a.test/", "event_types": [] }), "event_types"),
            (json!({ "url": "https://a.test/", "event_types": ["no.such"] }), "event_types[0]"),
            (json!({ "url": "https://a.test/", "organization_id": ".." }), "organization_id"),
            (json!({ "url": "https://a.test/", "description": "a\u{202e}b" }), "description"),
            (json!({ "url": "https://a.test/", "secret": "mine" }), "secret"),
        ] {
            let refused = server.manage("POST", HOOKS, Some(body.clone()), 422).await;
            assert_eq!(refused["errors"][0]["field"], field, "{body}: {refused}");
            let refused = server.manage("PATCH", &path, Some(body.clone()), 422).await;
            assert_eq!(refused["errors"][0]["field"], field, "{body}: {refused}");
        }
        server.manage("PATCH", &path, Some(json!({ "state": "gone" })), 422).await;
        server.manage("POST", &format!("{path}/rotate-secret"), Some(json!({ "overlap": "31d" })), 422).await;
        for after in ["x", "-", "1.5"] {
            server.manage("GET", &format!("{path}/deliveries?after={after}"), None, 422).await;
        }
        server.manage("POST", &format!("{path}/deliveries/whd_01JD0000000000000000000000/retry"), None, 404).await;
    }

    async fn webhooks_require_the_administrator(server: Server) {
        let hook = hook(&server, "https://a.test/", &[]).await;
        let other = server.client_key(&["keyswap:keys", "keyswap:events", "keyswap:signing-keys"]).await;
        for (method, path) in [
            ("GET", HOOKS.to_owned()), ("POST", HOOKS.to_owned()), ("GET", hook.path()), ("PATCH", hook.path()),
            ("DELETE", hook.path()), ("GET", format!("{}/deliveries", hook.path())), ("POST", format!("{}/test", hook.path())),
            ("POST", format!("{}/rotate-secret", hook.path())),
            ("POST", format!("{}/deliveries/whd_01JD0000000000000000000000/retry", hook.path())),
        ] {
            problem(call(&server, &other.value, method, &path, None, &[]).await, 403, "forbidden").await;
        }
    }

    async fn webhooks_are_paged_newest_first(server: Server) {
        for i in 0..5 {
            hook(&server, &format!("https://{i}.test/"), &[]).await;
        }
        for limit in [1, 2, 100] {
            let all = read_pages(&server, HOOKS, limit).await;
            let ids: Vec<_> = all.iter().map(|one| one["id"].as_str().unwrap()).collect();
            assert!(ids.len() == 5 && ids.is_sorted_by(|a, b| a > b), "{ids:?}");
        }
    }

    async fn test_delivery_reports_the_response(server: Server) {
        let before = server.events().await.len();
        for (reply, status, delivered) in [
            (Reply::Status(200), json!(200), true), (Reply::Status(204), json!(204), true), (Reply::Status(500), json!(500), false),
            (Reply::With(302, "location: http://127.0.0.1:1/".to_owned()), json!(302), false), (Reply::Nonsense, Value::Null, false),
        ] {
            let receiver = Receiver::new(reply);
            let hook = hook(&server, &receiver.url, &["signing_key.removed"]).await;
            server.manage("PATCH", &hook.path(), Some(json!({ "state": "disabled" })), 200).await;
            let said = server.manage("POST", &format!("{}/test", hook.path()), None, 200).await;
            assert_eq!((&said["status"], &said["delivered"]), (&status, &json!(delivered)), "{said}");
            assert_eq!(said["error"].is_null(), delivered);
            assert!(said["took_ms"].as_u64().unwrap() < 20_000);
            let text = said.to_string();
            assert!(!text.contains("hello") && !text.contains("127.0.0.1"), "neither body nor address: {text}");
            let received = receiver.wait(1).await.swap_remove(0);
            assert!(hook.signed(&received));
            assert_eq!(received.json()["type"], "webhook.test");
            assert_eq!(received.json()["data"]["webhook_id"], hook.id);
        }
        let made = events_after(&server, before).await;
        assert!(made.iter().all(|kind| ["webhook.created", "webhook.disabled"].contains(&kind.as_str())), "{made:?}");
    }

    async fn metrics_count_attempts(server: Server) {
        let receiver = Receiver::new(Reply::Status(200));
        let hook = hook(&server, &receiver.url, &["permission.created"]).await;
        server.permissions(&["a"]).await;
        newest(&server, &hook, "delivered", 1).await;
        let text = server.get("/metrics").bearer_auth(&server.admin).send().await.unwrap().text().await.unwrap();
        assert!(text.contains(r#"keyswap_webhook_attempts_total{result="delivered"} 1"#), "{text}");
        assert!(text.contains("keyswap_webhook_longest_wait_seconds "), "{text}");
    }
}

both! {
    async fn private_addresses_require_permission(server: Server) {
        for url in [
            "http://a.test/", "https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/", "https://169.254.169.254/latest/meta-data",
            "https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1/", "https://[::ffff:127.0.0.1]/", "https://[fd00::1]/",
            "https://0/", "https://a.test:8443/", "https://a.test:80/",
        ] {
            let refused = server.manage("POST", HOOKS, Some(json!({ "url": url })), 422).await;
            assert_eq!(refused["errors"][0]["field"], "url", "{url}");
        }
        let all = server.manage("POST", HOOKS, Some(json!({ "url": "http://127.0.0.1:22/" })), 422).await;
        assert_eq!(all["errors"].as_array().unwrap().len(), 3, "every fault at once: {all}");
    }
}
