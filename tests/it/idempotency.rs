//! `Idempotency-Key`: a creation request that is sent twice creates one object.

use serde_json::{Value, json};

use crate::support::calls::{call, events_after, plain_key};
use crate::support::{both, wire::problem};

both! {
    async fn a_replay_answers_the_object_without_its_secret(server: Server) {
        let before = server.events().await.len();
        for (path, body) in [
            ("/v1/api-keys", plain_key("a")), ("/v1/service-clients", json!({ "name": "a" })),
            ("/v1/audiences", json!({ "identifier": "https://a.test/" })),
        ] {
            let send = async || call(&server, &server.admin, "POST", path, Some(body.clone()), &[("idempotency-key", path)]).await;
            let first = send().await;
            assert_eq!(first.status(), 201);
            assert!(first.headers().get("idempotency-replayed").is_none());
            let mut first: Value = first.json().await.unwrap();
            first.as_object_mut().unwrap().remove("value");
            for _ in 0..2 {
                let replay = send().await;
                assert_eq!((replay.status().as_u16(), &replay.headers()["idempotency-replayed"]), (201, &"true".parse().unwrap()));
                assert_eq!(replay.json::<Value>().await.unwrap(), first);
            }
        }
        assert_eq!(events_after(&server, before).await, ["api_key.created", "service_client.created", "audience.created"]);
    }

    async fn another_request_under_the_same_key_is_refused(server: Server) {
        let send = async |credential: &str, path: &str, body: Value| {
            call(&server, credential, "POST", path, Some(body), &[("idempotency-key", "k")]).await
        };
        assert_eq!(send(&server.admin, "/v1/api-keys", plain_key("a")).await.status(), 201);
        problem(send(&server.admin, "/v1/api-keys", plain_key("b")).await, 422, "idempotency_mismatch").await;
        problem(send(&server.admin, "/v1/service-clients", json!({ "name": "a" })).await, 422, "idempotency_mismatch").await;
        // Idempotency keys are scoped to the caller.
        let other = server.client_key(&["keyswap:keys"]).await;
        let made = send(&other.value, "/v1/api-keys", plain_key("a")).await;
        assert_eq!(made.status(), 201);
        assert!(made.headers().get("idempotency-replayed").is_none());
    }

    async fn a_refusal_is_not_remembered(server: Server) {
        let body = json!({ "name": "a", "permissions": ["late"] });
        let send = async || call(&server, &server.admin, "POST", "/v1/service-clients", Some(body.clone()), &[("idempotency-key", "k")]).await;
        assert_eq!(send().await.status(), 422);
        server.permissions(&["late"]).await;
        let made = send().await;
        assert_eq!(made.status(), 201);
        assert!(made.headers().get("idempotency-replayed").is_none());
    }

    async fn many_at_once_make_one_object(server: Server) {
        let before = server.events().await.len();
        let replica = server.replica().await;
        let mut tasks = Vec::new();
        for i in 0..10 {
            let to = if i % 2 == 0 { &server } else { &replica };
            let request = to.post("/v1/api-keys").bearer_auth(&server.admin).header("idempotency-key", "k").json(&plain_key("a"));
            tasks.push(tokio::spawn(async move {
                let answer = request.send().await.unwrap();
                (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
            }));
        }
        let (mut values, mut ids) = (0, Vec::new());
        for task in tasks {
            let (status, body) = task.await.unwrap();
            assert!([201, 409].contains(&status), "{body}");
            if status == 201 {
                values += usize::from(body.get("value").is_some());
                ids.push(body["id"].clone());
            } else {
                assert_eq!(body["code"], "in_flight");
            }
        }
        ids.dedup();
        assert_eq!((values, ids.len()), (1, 1), "one object, and its value in one answer");
        assert_eq!(events_after(&server, before).await, ["api_key.created"]);
    }
}
