//! The effect of owner changes on keys. It is derived from the owner and never stored in the key.

use serde_json::{Value, json};

use super::{acme, events_after_jobs, events_of, of_acme, of_acme_by_ada, of_client_of, personal, put, state, works};
use crate::support::{Key, Server, both, run_jobs_of, verify};

async fn all_work(server: &Server, keys: &[&Key]) {
    for key in keys {
        assert!(works(server, key).await, "{}: {:?}", key.id, state(server, key).await);
    }
}

/// Asserts that the keys are refused and reported as revoked for this reason.
async fn assert_all_revoked(server: &Server, keys: &[&Key], why: &str) {
    for key in keys {
        assert!(!works(server, key).await, "{}", key.id);
        assert_eq!(state(server, key).await, ("revoked".to_owned(), Some(why.to_owned())), "{}", key.id);
    }
}

/// Asserts that each revocation is recorded once, with its cause.
async fn assert_events_of_all(server: &Server, keys: &[&Key], cause: &str, organization: Value) {
    for key in keys {
        let event = events_after_jobs(server, key, "api_key.revoked", 1).await.pop().unwrap();
        assert_eq!((&event["cause"], &event["organization_id"]), (&json!(cause), &organization), "{event}");
        assert_eq!(event["actor"], json!({ "type": "system", "id": null }));
    }
    server.run_jobs().await;
    for key in keys {
        assert_eq!(events_of(server, key, "api_key.revoked").await.len(), 1, "once: {}", key.id);
    }
}

async fn patch(server: &Server, path: &str, body: Value) {
    server.manage("PATCH", path, Some(body), 200).await;
}

async fn delete(server: &Server, path: &str) {
    server.manage("DELETE", path, None, 204).await;
}

/// Asserts what the last event of a type says about the keys of organizations that the user created.
async fn assert_created_keys(server: &Server, kind: &str, state: &str) {
    let events = server.events().await;
    let event = events.iter().rfind(|event| event["type"] == kind).unwrap();
    assert_eq!(event["data"]["created_organization_keys"], state, "{event}");
}

both! {
    // Features: P1.
    async fn keys_of_a_blocked_user_are_suspended_until_the_user_is_unblocked(server: Server, "jobs=by_hand") {
        acme(&server).await;
        let replica = server.replica().await;
        let of_client = of_client_of(&server, json!({ "type": "user", "id": "ada" })).await;
        let (within, without, by_hand) = (personal(&server, Some("acme")).await, personal(&server, None).await, personal(&server, None).await);
        let (others, made) = (of_acme(&server).await, of_acme_by_ada(&server).await);
        server.step(&by_hand, "suspend").await;
        all_work(&server, &[&within, &without, &of_client, &others, &made]).await;
        let before = server.events().await.len();

        patch(&server, "/v1/users/ada", json!({ "blocked": true })).await;
        for key in [&within, &without, &of_client] {
            assert!(!works(&server, key).await && !works(&replica, key).await, "at once, everywhere");
            assert_eq!(state(&server, key).await, ("suspended".to_owned(), Some("user_blocked".to_owned())));
        }
        assert_eq!(state(&server, &by_hand).await, ("suspended".to_owned(), None));
        all_work(&server, &[&others, &made]).await;
        assert_created_keys(&server, "user.blocked", "kept").await;

        patch(&server, "/v1/users/ada", json!({ "blocked": false })).await;
        all_work(&server, &[&within, &without, &of_client]).await;
        assert_eq!(state(&server, &by_hand).await.0, "suspended", "that one someone suspended");
        assert!(!works(&server, &by_hand).await);
        run_jobs_of(&[&server, &replica]).await;
        let kinds: Vec<_> = server.events().await[before..].iter().map(|event| event["type"].clone()).collect();
        assert_eq!(kinds, ["user.blocked", "user.unblocked"], "nothing happened to the keys");
    }

    // Features: W3.
    async fn keys_of_a_deleted_user_stay_invalid_when_the_user_is_recreated(server: Server, "jobs=by_hand") {
        acme(&server).await;
        let of_client = of_client_of(&server, json!({ "type": "user", "id": "ada" })).await;
        let (within, without) = (personal(&server, Some("acme")).await, personal(&server, None).await);
        let revoked = personal(&server, None).await;
        server.step(&revoked, "revoke").await;
        let others = of_acme_by_ada(&server).await;
        delete(&server, "/v1/users/ada").await;
        assert_all_revoked(&server, &[&within, &without, &of_client], "user_deleted").await;
        assert!(works(&server, &others).await, "the organization's key has no user");
        assert_created_keys(&server, "user.deleted", "kept").await;
        assert_created_keys(&server, "member.deleted", "kept").await;
        assert_events_of_all(&server, &[&without, &of_client], "user_deleted", Value::Null).await;
        assert_events_of_all(&server, &[&within], "user_deleted", json!("acme")).await;
        assert_eq!(events_of(&server, &revoked, "api_key.revoked").await.len(), 1, "it was revoked before, by hand");
        // A key that is already revoked records no further revocation.
        server.step(&without, "revoke").await;
        delete(&server, &format!("/v1/api-keys/{}", within.id)).await;
        for key in [&within, &without] {
            assert_eq!(events_of(&server, key, "api_key.revoked").await.len(), 1);
        }

        put(&server, "/v1/users/ada", json!({ "roles": ["writer"] })).await;
        put(&server, "/v1/organizations/acme/members/ada", json!({ "roles": ["writer"] })).await;
        for key in [&within, &without, &of_client] {
            assert!(!works(&server, key).await, "another ada has these");
        }
        let new = personal(&server, Some("acme")).await;
        assert!(works(&server, &new).await);
    }

    // Features: P2.
    async fn keys_of_a_deleted_organization_stay_invalid_when_it_is_recreated(server: Server, "jobs=by_hand") {
        acme(&server).await;
        let of_client = of_client_of(&server, json!({ "type": "organization", "id": "acme" })).await;
        let (within, without, own) = (personal(&server, Some("acme")).await, personal(&server, None).await, of_acme(&server).await);
        delete(&server, "/v1/organizations/acme").await;
        assert_all_revoked(&server, &[&within, &own, &of_client], "organization_deleted").await;
        assert!(works(&server, &without).await, "this one has nothing to do with it");
        // The organization is recreated before the jobs run. Its new keys must not
        // be recorded as revoked.
        put(&server, "/v1/organizations/acme", json!({})).await;
        put(&server, "/v1/organizations/acme/members/ada", json!({ "roles": ["writer"] })).await;
        let (new, new_within) = (of_acme(&server).await, personal(&server, Some("acme")).await);
        assert_events_of_all(&server, &[&within, &own, &of_client], "organization_deleted", json!("acme")).await;
        for key in [&within, &own, &of_client] {
            assert!(!works(&server, key).await);
        }
        all_work(&server, &[&new, &new_within, &without]).await;
        for key in [&new, &new_within, &without] {
            assert_eq!(events_of(&server, key, "api_key.revoked").await, [Value::Null; 0]);
        }
    }

    // Features: W4.
    async fn membership_end_revokes_personal_keys_but_not_organization_keys(server: Server, "jobs=by_hand") {
        acme(&server).await;
        let (within, without) = (personal(&server, Some("acme")).await, personal(&server, None).await);
        let made = of_acme_by_ada(&server).await;
        let member = "/v1/organizations/acme/members/ada";
        delete(&server, member).await;
        assert_all_revoked(&server, &[&within], "member_left").await;
        assert_created_keys(&server, "member.deleted", "kept").await;
        all_work(&server, &[&without, &made]).await;
        assert_events_of_all(&server, &[&within], "member_left", json!("acme")).await;
        put(&server, member, json!({ "roles": ["writer"] })).await;
        assert!(!works(&server, &within).await, "another membership has none of the old keys");
        assert_eq!(events_of(&server, &made, "api_key.revoked").await, [Value::Null; 0]);
    }

    async fn organization_keys_are_suspended_with_their_creator_if_configured(server: Server, "api_keys.end_with_creator=true") {
        acme(&server).await;
        let (made, others) = (of_acme_by_ada(&server).await, of_acme(&server).await);
        patch(&server, "/v1/users/ada", json!({ "blocked": true })).await;
        assert!(!works(&server, &made).await && works(&server, &others).await);
        assert_eq!(state(&server, &made).await, ("suspended".to_owned(), Some("user_blocked".to_owned())));
        assert_created_keys(&server, "user.blocked", "suspended").await;
        patch(&server, "/v1/users/ada", json!({ "blocked": false })).await;
        all_work(&server, &[&made, &others]).await;
        server.manage("POST", "/v1/users/ada/lock", None, 200).await;
        assert!(!works(&server, &made).await);
        assert_created_keys(&server, "user.locked", "suspended").await;
        server.manage("POST", "/v1/users/ada/unlock", None, 200).await;
        // An import says the same.
        let line = json!({ "type": "user", "id": "ada", "blocked": true, "profile": {}, "metadata": {}, "roles": ["writer"] }).to_string();
        let import = server.post("/v1/import").bearer_auth(&server.admin).header("content-type", "application/x-ndjson");
        let report = import.body(line).send().await.unwrap().text().await.unwrap();
        assert!(report.contains("\"updated\":1"), "{report}");
        assert!(!works(&server, &made).await);
        assert_created_keys(&server, "user.blocked", "suspended").await;
    }

    // Features: P2.
    async fn organization_keys_end_with_their_creator_if_configured(server: Server, "jobs=by_hand", "api_keys.end_with_creator=true") {
        acme(&server).await;
        let (made, others) = (of_acme_by_ada(&server).await, of_acme(&server).await);
        all_work(&server, &[&made, &others]).await;
        delete(&server, "/v1/organizations/acme/members/ada").await;
        assert_all_revoked(&server, &[&made], "creator_left").await;
        assert_created_keys(&server, "member.deleted", "ended").await;
        assert!(works(&server, &others).await);
        assert_events_of_all(&server, &[&made], "creator_left", json!("acme")).await;
        put(&server, "/v1/organizations/acme/members/ada", json!({ "roles": ["writer"] })).await;
        assert!(!works(&server, &made).await);
    }

    // Features: W3.
    async fn demotion_removes_permissions_at_the_next_exchange(server: Server) {
        acme(&server).await;
        let replica = server.replica().await;
        let (within, without) = (personal(&server, Some("acme")).await, personal(&server, None).await);
        let scope = async |key: &Key| {
            let token = replica.fetch_token(&key.value).await;
            verify(&replica, &token, "http://keyswap.test").await["scope"].clone()
        };
        assert_eq!(scope(&within).await, "projects:read projects:write");
        patch(&server, "/v1/organizations/acme/members/ada", json!({ "roles": ["reader"] })).await;
        assert_eq!(scope(&within).await, "projects:read");
        assert_eq!(scope(&without).await, "projects:read projects:write", "other roles");
        put(&server, "/v1/roles/writer", json!({ "permissions": ["projects:write"] })).await;
        assert_eq!(scope(&without).await, "projects:write", "the role itself has changed");
        patch(&server, "/v1/organizations/acme/members/ada", json!({ "roles": [] })).await;
        let nothing = server.exchange(&within.value).await;
        assert_eq!(nothing.status(), 400, "known, and nothing is left of its scope");
        patch(&server, "/v1/organizations/acme/members/ada", json!({ "roles": ["reader"] })).await;
        assert_eq!(scope(&within).await, "projects:read");
    }

    // Features: W19.
    async fn keys_of_a_deleted_service_client_are_refused_at_once_with_events(server: Server, "jobs=by_hand") {
        let key = server.client_key(&["a"]).await;
        let other = server.client_key(&["a"]).await;
        delete(&server, &format!("/v1/service-clients/{}", key.client)).await;
        assert_all_revoked(&server, &[&key], "service_client_deleted").await;
        assert_events_of_all(&server, &[&key], "service_client_deleted", Value::Null).await;
        assert!(works(&server, &other).await);
    }

    // Features: W23.
    async fn each_ended_key_has_one_event_with_several_replicas(server: Server, "jobs=by_hand") {
        acme(&server).await;
        let replica = server.replica().await;
        let mut keys = Vec::new();
        // More keys than one transaction records.
        for _ in 0..210 {
            keys.push(of_acme(&server).await);
        }
        delete(&server, "/v1/organizations/acme").await;
        run_jobs_of(&[&server, &replica]).await;
        let mut events_of: Vec<_> = server.events().await.into_iter().filter(|event| event["type"] == "api_key.revoked").map(|event| event["subject"]["id"].clone()).collect();
        events_of.sort_by_key(ToString::to_string);
        let mut wanted: Vec<_> = keys.iter().map(|key| json!(key.id)).collect();
        wanted.sort_by_key(ToString::to_string);
        assert_eq!(events_of, wanted);
    }
}
