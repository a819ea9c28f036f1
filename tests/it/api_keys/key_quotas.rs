//! Quotas of keys: `limits.keys_per_owner` and `limits.keys_per_organization`.

use keyswap::{crypto::sha256_hex, domain::common::time::Span};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{Kind, Server, body_of, both, race::race, wire::problem};

const PER_OWNER: &str = "limits.keys_per_owner";
const PER_ORGANIZATION: &str = "limits.keys_per_organization";

fn user(id: &str, organization: Option<&str>) -> Value {
    json!({ "type": "user", "id": id, "organization_id": organization })
}

fn organization(id: &str) -> Value {
    json!({ "type": "organization", "id": id })
}

/// Creates two organizations, and two users who are members of both.
async fn directory(server: &Server) {
    for user in ["alice", "bob"] {
        server.user(user, &[]).await;
    }
    for organization in ["acme", "umbrella"] {
        server.organization(organization).await;
        for user in ["alice", "bob"] {
            server.member(organization, user, &[]).await;
        }
    }
}

/// Creates a service client and returns it as the owner of a key.
async fn client_of(server: &Server, owner: Value) -> Value {
    let client = server.manage("POST", "/v1/service-clients", Some(json!({ "name": "a", "owner": owner })), 201).await;
    json!({ "type": "service_client", "id": client["id"] })
}

/// A request of the administrator to import a key of the organization `acme`.
fn import_request(server: &Server, text: &str) -> RequestBuilder {
    let import = json!({ "sha256": sha256_hex(text.as_bytes()) });
    let body = json!({ "name": "a key", "owner": organization("acme"), "permissions": [], "import": import });
    server.post("/v1/api-keys").bearer_auth(&server.admin).json(&body)
}

fn expiration_patch(server: &Server, key: &str, end: Option<&str>) -> RequestBuilder {
    server.http.patch(server.url(key)).bearer_auth(&server.admin).json(&json!({ "expires_at": end }))
}

/// The time in so many seconds, by the clock of the database.
async fn time_in(server: &Server, seconds: u64) -> String {
    server.services.store.now().await.unwrap().plus(Span::from_secs(seconds)).to_string()
}

/// A request of the administrator for a key of this owner.
fn request(server: &Server, owner: &Value) -> RequestBuilder {
    let body = json!({ "name": "a key", "owner": owner, "permissions": [] });
    server.post("/v1/api-keys").bearer_auth(&server.admin).json(&body)
}

async fn create_key(server: &Server, owner: &Value) -> String {
    let key = body_of(request(server, owner).send().await.unwrap(), StatusCode::CREATED).await;
    format!("/v1/api-keys/{}", key["id"].as_str().unwrap())
}

async fn assert_refused(server: &Server, owner: &Value, setting: &str) {
    assert_limit_reached(request(server, owner).send().await.unwrap(), setting).await;
}

/// Asserts that the problem names the setting and its value.
async fn assert_limit_reached(answer: Response, setting: &str) {
    let detail = problem(answer, 409, "limit_reached").await["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(setting) && detail.contains(" has reached the maximum of "), "{detail}");
}

both! {
    async fn each_owner_has_at_most_the_configured_number_of_keys(server: Server, "limits.keys_per_owner=2") {
        directory(&server).await;
        let owners = [
            user("alice", None), user("alice", Some("acme")), user("alice", Some("umbrella")), user("bob", Some("acme")),
            organization("acme"), organization("umbrella"), client_of(&server, json!({ "type": "account" })).await,
            client_of(&server, organization("acme")).await,
        ];
        for owner in &owners {
            create_key(&server, owner).await;
            create_key(&server, owner).await;
            let before = server.events().await.len();
            assert_refused(&server, owner, PER_OWNER).await;
            assert_eq!(server.events().await.len(), before, "{owner}");
        }
        // A key without an owner counts for none.
        for _ in 0..3 {
            create_key(&server, &json!({ "type": "none" })).await;
        }
    }

    async fn keys_of_service_clients_of_a_user_count_for_the_user(server: Server, "limits.keys_per_owner=3") {
        directory(&server).await;
        for organization in [None, Some("acme")] {
            let alice = user("alice", organization);
            let clients = [client_of(&server, alice.clone()).await, client_of(&server, alice.clone()).await];
            for owner in [&alice, &clients[0], &clients[1]] {
                create_key(&server, owner).await;
            }
            for owner in [&alice, &clients[0], &clients[1]] {
                assert_refused(&server, owner, PER_OWNER).await;
            }
            create_key(&server, &user("bob", organization)).await;
        }
        create_key(&server, &client_of(&server, organization("acme")).await).await;
    }

    async fn keys_that_ended_make_room(server: Server, "limits.keys_per_owner=1") {
        directory(&server).await;
        let owner = organization("acme");
        let first = create_key(&server, &owner).await;
        // A suspended key can be resumed. A rotation makes no key.
        server.manage("POST", &format!("{first}/suspend"), None, 200).await;
        assert_refused(&server, &owner, PER_OWNER).await;
        server.manage("POST", &format!("{first}/resume"), None, 200).await;
        server.manage("POST", &format!("{first}/rotate"), Some(json!({ "grace": "1h" })), 200).await;
        server.manage("POST", &format!("{first}/revoke"), None, 200).await;
        let second = create_key(&server, &owner).await;
        assert_refused(&server, &owner, PER_OWNER).await;
        server.manage("DELETE", &second, None, 204).await;
        let third = create_key(&server, &owner).await;
        // A key that has not expired is counted once when it gets a later expiration.
        for seconds in [60, 90] {
            let end = time_in(&server, seconds).await;
            assert_eq!(expiration_patch(&server, &third, Some(&end)).send().await.unwrap().status(), 200);
        }
        assert_refused(&server, &owner, PER_OWNER).await;
        server.advance(91);
        let fourth = create_key(&server, &owner).await;
        // A later expiration would make the expired key count again.
        let patch = || expiration_patch(&server, &third, None).send();
        assert_limit_reached(patch().await.unwrap(), PER_OWNER).await;
        server.manage("POST", &format!("{fourth}/revoke"), None, 200).await;
        assert_eq!(patch().await.unwrap().status(), 200);
        assert_refused(&server, &owner, PER_OWNER).await;
    }

    async fn owner_with_more_keys_than_a_lowered_limit_cannot_prolong_them(server: Server, "limits.keys_per_owner=0") {
        directory(&server).await;
        let owner = organization("acme");
        let key = create_key(&server, &owner).await;
        create_key(&server, &owner).await;
        let limited = Server::on(server.database.clone(), &["limits.keys_per_owner=1"]).await;
        for (seconds, is_accepted) in [(90, true), (60, true), (90, false)] {
            let end = time_in(&server, seconds).await;
            let answer = expiration_patch(&limited, &key, Some(&end)).send().await.unwrap();
            match is_accepted {
                true => assert_eq!(answer.status(), 200),
                false => assert_limit_reached(answer, PER_OWNER).await,
            }
        }
        limited.manage("PATCH", &key, Some(json!({ "name": "another name" })), 200).await;
    }

    async fn organization_is_limited_with_its_members_and_service_clients(
        server: Server, "jobs=by_hand", "limits.keys_per_organization=3"
    ) {
        directory(&server).await;
        let client = client_of(&server, user("bob", Some("acme"))).await;
        let owners = [organization("acme"), user("alice", Some("acme")), client];
        for owner in &owners {
            create_key(&server, owner).await;
        }
        for owner in &owners {
            assert_refused(&server, owner, PER_ORGANIZATION).await;
        }
        for other in [organization("umbrella"), user("alice", Some("umbrella")), user("alice", None)] {
            create_key(&server, &other).await;
        }
        // The keys of a member who left have ended, once their events are recorded.
        server.manage("DELETE", "/v1/organizations/acme/members/alice", None, 204).await;
        server.run_jobs().await;
        create_key(&server, &organization("acme")).await;
        assert_refused(&server, &organization("acme"), PER_ORGANIZATION).await;
    }

    async fn every_way_to_create_a_key_is_counted(
        server: Server, "limits.keys_per_owner=1", "api_keys.imported=true"
    ) {
        directory(&server).await;
        server.offer_management_permissions().await;
        server.role("self", &["user-api-keys:manage-self"]).await;
        server.member("acme", "bob", &["self"]).await;
        let import = |text: &str| import_request(&server, text).send();
        assert_eq!(import("acme.live.0123456789abcdef").await.unwrap().status(), 201);
        assert_limit_reached(import("acme.live.fedcba9876543210").await.unwrap(), PER_OWNER).await;
        let as_bob = || server.on_behalf("bob; organization=acme", "POST", "/v1/api-keys").json(&json!({ "name": "a", "permissions": [] })).send();
        assert_eq!(as_bob().await.unwrap().status(), 201);
        assert_limit_reached(as_bob().await.unwrap(), PER_OWNER).await;
        // The first key of a service client.
        let bundle = json!({ "name": "a client", "owner": organization("acme"), "api_key": { "name": "a", "permissions": [] } });
        let client = server.manage("POST", "/v1/service-clients", Some(bundle), 201).await;
        assert_refused(&server, &json!({ "type": "service_client", "id": client["id"] }), PER_OWNER).await;
        // A repeated request creates no key.
        let keyed = || request(&server, &user("alice", None)).header("idempotency-key", "a").send();
        assert_eq!(keyed().await.unwrap().status(), 201);
        assert_eq!(keyed().await.unwrap().status(), 201);
    }

    async fn zero_is_no_limit(server: Server, "limits.keys_per_owner=0", "limits.keys_per_organization=0") {
        directory(&server).await;
        for _ in 0..3 {
            create_key(&server, &user("alice", Some("acme"))).await;
        }
    }

    async fn concurrent_creations_do_not_exceed_the_limit_of_an_owner(server: Server, "limits.keys_per_owner=1") {
        directory(&server).await;
        let replica = server.replica().await;
        for owner in [
            user("alice", None), user("alice", Some("acme")), organization("acme"),
            client_of(&server, json!({ "type": "account" })).await, client_of(&server, user("bob", None)).await,
        ] {
            let answers = race([(&server, request(&server, &owner)), (&replica, request(&replica, &owner))]).await;
            one_succeeds(&server, answers, PER_OWNER).await;
        }
        // The service clients are different rows: only that of the user orders the changes.
        server.user("carol", &[]).await;
        let clients = [client_of(&server, user("carol", None)).await, client_of(&server, user("carol", None)).await];
        let answers = race([(&server, request(&server, &clients[0])), (&replica, request(&replica, &clients[1]))]).await;
        one_succeeds(&server, answers, PER_OWNER).await;
    }

    async fn concurrent_imports_and_client_bundles_do_not_exceed_the_limit(
        server: Server, "limits.keys_per_owner=1", "api_keys.imported=true"
    ) {
        directory(&server).await;
        let replica = server.replica().await;
        let (one, other) = ("acme.live.0123456789abcdef", "acme.live.fedcba9876543210");
        let answers = race([(&server, import_request(&server, one)), (&replica, import_request(&replica, other))]).await;
        one_succeeds(&server, answers, PER_OWNER).await;
        let body = json!({ "name": "a client", "owner": user("alice", None), "api_key": { "name": "a", "permissions": [] } });
        let bundle = |to: &Server| to.post("/v1/service-clients").bearer_auth(&to.admin).json(&body);
        let answers = race([(&server, bundle(&server)), (&replica, bundle(&replica))]).await;
        one_succeeds(&server, answers, PER_OWNER).await;
    }

    async fn concurrent_later_expirations_do_not_exceed_the_limit(server: Server, "limits.keys_per_owner=1") {
        directory(&server).await;
        let replica = server.replica().await;
        let owners = [user("alice", None), user("alice", Some("acme")), client_of(&server, json!({ "type": "account" })).await];
        let mut expired = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..2 {
            for (owner, keys) in owners.iter().zip(&mut expired) {
                let key = create_key(&server, owner).await;
                let end = time_in(&server, 60).await;
                assert_eq!(expiration_patch(&server, &key, Some(&end)).send().await.unwrap().status(), 200);
                keys.push(key);
            }
            server.advance(61);
        }
        for keys in &expired {
            let (one, other) = (expiration_patch(&server, &keys[0], None), expiration_patch(&replica, &keys[1], None));
            let answers = race([(&server, one), (&replica, other)]).await;
            one_succeeds(&server, answers, PER_OWNER).await;
        }
    }

    async fn concurrent_creations_do_not_exceed_the_limit_of_an_organization(server: Server, "limits.keys_per_organization=1") {
        directory(&server).await;
        let replica = server.replica().await;
        let client = client_of(&server, organization("acme")).await;
        let other = client_of(&server, user("alice", Some("acme"))).await;
        // The service clients are different rows: only that of the organization orders the changes.
        let answers = race([(&server, request(&server, &client)), (&replica, request(&replica, &other))]).await;
        one_succeeds(&server, answers, PER_ORGANIZATION).await;
        let (one, other) = (user("alice", Some("umbrella")), user("bob", Some("umbrella")));
        let answers = race([(&replica, request(&replica, &one)), (&server, request(&server, &other))]).await;
        one_succeeds(&server, answers, PER_ORGANIZATION).await;
    }
}

/// Asserts that one of two concurrent requests succeeded: the first one, where their order is
/// defined.
async fn one_succeeds(server: &Server, [one, other]: [Response; 2], setting: &str) {
    let refused = match [one.status(), other.status()].map(|status| status.is_success()) {
        [true, false] => other,
        [false, true] if server.database.kind == Kind::Sqlite => one,
        succeeded => panic!("the first succeeds, and the other does not: {succeeded:?}"),
    };
    assert_limit_reached(refused, setting).await;
}
