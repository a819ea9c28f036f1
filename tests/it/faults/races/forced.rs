//! Both orders of two concurrent changes, each forced. SQLite has no lock queue, so either change
//! may come first there; both are in progress in that case as well.

use keyswap::service::{
    caller::Caller,
    provisioning::{self, DesiredConfiguration},
};
use reqwest::StatusCode;
use serde_json::json;

use super::{file, made_by, revoke, two_administrators};
use crate::support::{
    Kind, Server, body_of, both,
    race::{Work, hold_up, race, race_while},
    wire::problem,
};

both! {
    async fn exchange_succeeds_before_a_pending_revocation_and_fails_after_its_response(server: Server) {
        let replica = server.replica().await;
        let key = server.generic_key(&["a:b"]).await;
        let path = format!("/v1/api-keys/{}/revoke", key.id);
        let [revoked] = race_while([(&server, server.post(&path).bearer_auth(&server.admin))], async || {
            for one in [&server, &replica] {
                assert_eq!(one.exchange(&key.value).await.status(), StatusCode::OK, "the revoke is not answered yet");
            }
        })
        .await;
        assert_eq!(revoked.status(), StatusCode::OK);
        for one in [&replica, &server] {
            assert_eq!(one.exchange(&key.value).await.status(), StatusCode::UNAUTHORIZED);
        }
    }

    async fn key_created_while_its_user_is_blocked_does_not_work(server: Server) {
        let replica = server.replica().await;
        server.permissions_for_all(&["a:b"]).await;
        server.role("worker", &["a:b"]).await;
        for is_made_first in [true, false] {
            let user = if is_made_first { "made-first" } else { "blocked-first" };
            server.user(user, &["worker"]).await;
            let body = json!({ "name": "k", "owner": { "type": "user", "id": user }, "permissions": ["a:b"] });
            let create = (&replica, replica.post("/v1/api-keys").bearer_auth(&replica.admin).json(&body));
            let block = server.http.patch(server.url(&format!("/v1/users/{user}"))).bearer_auth(&server.admin);
            let block = (&server, block.json(&json!({ "blocked": true })));
            let [created, blocked] = if is_made_first {
                race([create, block]).await
            } else {
                let [blocked, created] = race([block, create]).await;
                [created, blocked]
            };
            assert_eq!(blocked.status(), StatusCode::OK);
            let was_made = created.status() == StatusCode::CREATED;
            if server.database.kind == Kind::Postgres {
                assert_eq!(was_made, is_made_first);
            }
            if was_made {
                let value = body_of(created, StatusCode::CREATED).await["value"].as_str().unwrap().to_owned();
                for one in [&server, &replica] {
                    assert_eq!(one.exchange(&value).await.status(), StatusCode::UNAUTHORIZED);
                }
            } else {
                let refusal = problem(created, 422, "invalid").await;
                assert_eq!(refusal["errors"][0]["field"], "owner", "{refusal}");
            }
        }
    }

    async fn loser_of_two_concurrent_creations_learns_which_object_exists_now(server: Server) {
        let replica = server.replica().await;
        server.organization("acme").await;
        server.user("alice", &[]).await;
        for (path, body, name) in [
            ("permissions/new:one", json!({ "assignable_to": [] }), "permission new:one"),
            ("roles/editor", json!({ "permissions": [] }), "role editor"),
            ("users/bob", json!({}), "user bob"),
            ("organizations/initech", json!({}), "organization initech"),
            ("organizations/acme/members/alice", json!({}), "member alice"),
        ] {
            let put = |server: &Server| {
                server.http.put(server.url(&format!("/v1/{path}"))).bearer_auth(&server.admin).json(&body)
            };
            let [one, other] = race([(&server, put(&server)), (&replica, put(&replica))]).await;
            // SQLite has one writer: the second request reads what the first has created.
            if server.database.kind == Kind::Postgres {
                assert_eq!(one.status(), StatusCode::CREATED, "{name}");
                if path.contains("/members/") {
                    // The second request waits for the lock on the organization.
                    assert_eq!(other.status(), StatusCode::OK, "{name}");
                    continue;
                }
                let detail = problem(other, 409, "conflict").await["detail"].as_str().unwrap().to_owned();
                assert!(detail.contains(&format!("the {name} was changed")), "{detail}");
            }
        }
    }

    async fn one_of_two_administrators_that_revoke_each_other_remains(server: Server) {
        let replica = server.replica().await;
        let mut pair = two_administrators(&server).await;
        for first in [0, 1] {
            let second = 1 - first;
            let [one, other] = race([
                (&server, revoke(&server, &pair[first], &pair[second])),
                (&replica, revoke(&replica, &pair[second], &pair[first])),
            ])
            .await;
            let statuses = [one.status(), other.status()];
            let (stays, gone, refused) = match statuses.map(|status| status == StatusCode::OK) {
                [true, false] => (first, second, other),
                [false, true] => (second, first, one),
                _ => panic!("one of them is refused, and one alone: {statuses:?}"),
            };
            if server.database.kind == Kind::Postgres {
                assert_eq!(stays, first);
            }
            // Both requests were authenticated: the second one is refused because of its effect,
            // not because of its caller.
            problem(refused, 409, "conflict").await;
            let late = revoke(&replica, &pair[gone], &pair[stays]).send().await.unwrap();
            problem(late, 401, "invalid_token").await;
            pair[gone] = made_by(&server, &pair[stays].value).await;
        }
        let alone = revoke(&server, &pair[1], &pair[0]).send().await.unwrap();
        assert_eq!(alone.status(), StatusCode::OK);
        let last = revoke(&server, &pair[1], &pair[1]).send().await.unwrap();
        problem(last, 409, "conflict").await;
    }
}

#[test]
fn concurrent_applies_leave_one_whole_file() {
    Server::run(Kind::Postgres, &[], |server| async move {
        let replica = server.replica().await;
        for (round, first) in [(0, &server), (1, &replica)] {
            let second = if round == 0 { &replica } else { &server };
            let files = [file(round, "one"), file(round, "other")];
            let work = [apply(first, &files[0]), apply(second, &files[1])];
            let applied = hold_up(&server.database, || 0, work, async || {}).await;
            assert!(applied.iter().all(|changes| *changes > 0), "each changed what the other had written: {applied:?}");
            let [one, other] = files.map(|wanted| provisioning::plan(&server.services, &CLI, wanted, false));
            assert!(!one.await.unwrap().is_empty() && other.await.unwrap().is_empty());
        }
    });
}

static CLI: std::sync::LazyLock<Caller> = std::sync::LazyLock::new(Caller::cli);

/// Applies a configuration file and returns the number of changes.
fn apply(server: &Server, wanted: &DesiredConfiguration) -> Work<usize> {
    let (services, wanted) = (server.services.clone(), wanted.clone());
    Box::pin(async move { provisioning::apply(&services, &CLI, wanted, false).await.unwrap().len() })
}
