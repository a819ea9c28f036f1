//! Keys of every owner type: creation, listing, limits and end of life.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{acme, ann, as_user, call, key_of, product};
use crate::support::{Kind, Server, body_of, both};

fn carol() -> Value {
    json!({ "type": "user", "id": "carol" })
}

/// The fields and messages of a 422 response.
async fn faults(answer: reqwest::Response) -> Vec<(String, String)> {
    let body = body_of(answer, StatusCode::UNPROCESSABLE_ENTITY).await;
    let text = |fault: &Value, name: &str| fault[name].as_str().unwrap().to_owned();
    body["errors"].as_array().unwrap().iter().map(|fault| (text(fault, "field"), text(fault, "message"))).collect()
}

/// The entire contents of the database, as an attacker with a copy sees them.
fn dump(server: &Server) -> Vec<u8> {
    match server.database.kind {
        Kind::Sqlite => {
            let dir = server.database.dir.path().join("data");
            std::fs::read_dir(dir).unwrap().flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
        }
        Kind::Postgres => {
            let bin = std::env::var("KEYSWAP_TEST_PGBIN").unwrap();
            let program = std::path::Path::new(&bin).join("pg_dump");
            let dump = std::process::Command::new(program).args(["--inserts", &server.database.url]).output().unwrap();
            assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
            dump.stdout
        }
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

both! {
    // Features: A1.
    async fn service_clients_belong_to_users_organizations_and_the_account(server: Server) {
        product(&server).await;
        for (owner, shown) in [
            (ann(), json!({ "type": "user", "id": "ann", "organization_id": "acme" })),
            (carol(), json!({ "type": "user", "id": "carol", "organization_id": null })),
            (acme(), json!({ "type": "organization", "id": "acme", "organization_id": "acme" })),
            (json!({ "type": "account" }), json!({ "type": "account", "id": null, "organization_id": null })),
        ] {
            let body = json!({ "name": "robot", "owner": owner, "permissions": ["projects:read"] });
            let client = server.manage("POST", "/v1/service-clients", Some(body), 201).await;
            assert_eq!(client["owner"], shown);
            let key = key_of(&server, json!({ "type": "service_client", "id": client["id"] }), &["projects:read"]).await;
            server.fetch_token(&key.value).await;
        }
    }

    // Features: A2.
    async fn keys_of_every_owner_type_are_created_alike(server: Server) {
        product(&server).await;
        let body = json!({ "name": "robot", "permissions": ["projects:read"] });
        let client = server.manage("POST", "/v1/service-clients", Some(body), 201).await;
        let mut shapes = Vec::new();
        for owner in [ann(), carol(), acme(), json!({ "type": "service_client", "id": client["id"] }), json!({ "type": "none" })] {
            for permissions in [&["projects:read"][..], &[]] {
                let body = json!({ "name": "k", "owner": owner, "permissions": permissions });
                let made = server.manage("POST", "/v1/api-keys", Some(body), 201).await;
                server.fetch_token(made["value"].as_str().unwrap()).await;
                shapes.push(made.as_object().unwrap().keys().cloned().collect::<Vec<_>>());
            }
        }
        shapes.dedup();
        assert_eq!(shapes.len(), 1, "the same call, the same answer");
    }

    // Features: A14.
    async fn revoking_one_key_of_a_client_keeps_its_others(server: Server) {
        let first = server.client_key(&["projects:read"]).await;
        let owner = json!({ "type": "service_client", "id": first.client });
        let mut keys = vec![first];
        for _ in 0..6 {
            keys.push(key_of(&server, owner.clone(), &["projects:read"]).await);
        }
        let gone = keys.remove(3);
        server.manage("DELETE", &format!("/v1/api-keys/{}", gone.id), None, 204).await;
        assert_eq!(server.exchange(&gone.value).await.status(), 401);
        for key in &keys {
            server.fetch_token(&key.value).await;
        }
    }

    // Features: A22.
    async fn management_requires_an_administrative_credential(server: Server) {
        product(&server).await;
        let (of_user, generic) = (key_of(&server, carol(), &["projects:read"]).await, server.generic_key(&["projects:read"]).await);
        let token = server.fetch_token(&of_user.value).await;
        for (path, method) in [("/v1/organizations", "GET"), ("/v1/service-clients", "GET"), ("/v1/permissions/x", "PUT"), ("/v1/events", "GET")] {
            for credential in [&of_user.value, &generic.value] {
                let answer = call(&server, credential, method, path, Some(json!({})), &[]).await;
                assert_eq!(answer.status(), 403, "{method} {path}");
            }
            let answer = call(&server, &token, method, path, Some(json!({})), &[]).await;
            assert_eq!(answer.status(), 401, "a token for the product's services: {method} {path}");
        }
        let administrative = server.client_key(&["keyswap:keys"]).await;
        assert_eq!(call(&server, &administrative.value, "GET", "/v1/service-clients", None, &[]).await.status(), 200);
    }

    // Features: A26.
    async fn key_secrets_have_enough_entropy(server: Server) {
        let mut seen = std::collections::BTreeSet::new();
        let mut count = [0_usize; 256];
        for _ in 0..200 {
            let key = server.key(json!({ "name": "k", "owner": { "type": "none" } })).await;
            let (_, last) = key.value.rsplit_once('_').unwrap();
            let secret = last[..32].to_owned();
            secret.bytes().for_each(|byte| count[usize::from(byte)] += 1);
            assert!(seen.insert(secret), "twice the same");
        }
        // 6400 characters from 62 symbols: 103 of each are expected, with a standard deviation of
        // 10. The bounds are more than seven standard deviations away.
        let used: Vec<_> = count.into_iter().enumerate().filter(|(_, count)| *count > 0).collect();
        assert_eq!(used.len(), 62);
        for (byte, count) in used {
            assert!((30..180).contains(&count), "{} came {count} times", char::from(u8::try_from(byte).unwrap()));
        }
        // A secret has 62^32 possible values, which is more than 2^190.
        assert!(32.0 * 62_f64.log2() > 128.0);
    }

    // Features: W5.
    async fn personal_and_organization_keys_coexist(server: Server) {
        product(&server).await;
        let (personal, of_organization) =
            (key_of(&server, ann(), &["projects:read"]).await, key_of(&server, acme(), &["projects:read"]).await);
        server.fetch_token(&personal.value).await;
        server.fetch_token(&of_organization.value).await;
        let listed = body_of(as_user(&server, "ann", "GET", "/v1/api-keys", None).await, StatusCode::OK).await;
        let types: Vec<_> = listed["data"].as_array().unwrap().iter().map(|key| key["owner"]["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["organization", "user"]);
        // Their lifetimes are independent.
        archive(&server, "ann").await;
        assert_eq!(server.exchange(&personal.value).await.status(), 401);
        server.fetch_token(&of_organization.value).await;
    }

    // Features: W13.
    async fn value_is_returned_once_and_not_recoverable_from_the_database(server: Server) {
        product(&server).await;
        let answer = call(&server, &server.admin, "POST", "/v1/api-keys", Some(json!({ "name": "k", "owner": acme() })), &[]).await;
        let made = body_of(answer, StatusCode::CREATED).await;
        let value = made["value"].as_str().unwrap();
        let (prefix, last) = value.rsplit_once('_').unwrap();
        let secret = &last[..32];
        assert_eq!(made["masked"], format!("{prefix}_…"));
        let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
        server.manage("PATCH", &path, Some(json!({ "name": "l" })), 200).await;
        server.fetch_token(value).await;
        for path in [path.as_str(), "/v1/api-keys", "/v1/events?limit=100"] {
            let shown = server.manage("GET", path, None, 200).await;
            assert!(!shown.to_string().contains(secret) && shown.get("value").is_none(), "{path}");
        }
        let dump = dump(&server);
        assert!(holds(&dump, made["id"].as_str().unwrap()), "the dump holds the key's row");
        // The dump contains neither the secret nor an unkeyed digest of it, in
        // binary or hexadecimal.
        let digests = [value, secret].map(|text| {
            ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref().to_vec()
        });
        assert!(!holds(&dump, secret) && !holds(&dump, &server.admin[server.admin.len() - 38..]));
        for digest in digests {
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(!holds(&dump, &hex) && !dump.windows(32).any(|window| window == digest), "no way back, not even a guess confirmed");
        }
    }

    // Features: W20.
    async fn unused_keys_can_be_found(server: Server, "jobs=by_hand") {
        let (used, stale) = (server.generic_key(&["projects:read"]).await, server.generic_key(&["projects:read"]).await);
        for key in [&used, &stale] {
            server.fetch_token(&key.value).await;
        }
        server.services.last_used.flush().await.unwrap();
        server.advance(40 * 24 * 3600);
        server.fetch_token(&used.value).await;
        server.services.last_used.flush().await.unwrap();
        let since = server.services.store.now().await.unwrap().minus("30d".parse().unwrap());
        let listed = server.manage("GET", &format!("/v1/api-keys?owner_type=none&unused_since={since}"), None, 200).await;
        let ids: Vec<_> = listed["data"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap()).collect();
        assert_eq!(ids, [stale.id.as_str()]);
        assert!(listed["data"][0]["last_used_at"].is_string(), "{listed}");
    }

    // Features: W21.
    async fn keys_have_the_configured_prefix(server: Server, "api_keys.prefix=sk_live") {
        let key = server.generic_key(&["projects:read"]).await;
        assert!(key.value.starts_with("sk_live_"), "the type is visible");
        server.fetch_token(&key.value).await;
        let shown = server.manage("GET", &format!("/v1/api-keys/{}", key.id), None, 200).await;
        assert!(shown["masked"].as_str().unwrap().starts_with("sk_live_"), "{shown}");
    }

    // Features: W26.
    async fn key_list_contains_what_custom_pages_need(server: Server) {
        product(&server).await;
        put_other(&server).await;
        let mut ids = Vec::new();
        for owner in [ann(), acme(), json!({ "type": "user", "id": "bob", "organization_id": "acme" })] {
            ids.push(key_of(&server, owner, &["projects:read"]).await.id);
        }
        key_of(&server, carol(), &["projects:read"]).await;
        let outside = key_of(&server, json!({ "type": "organization", "id": "other" }), &["projects:read"]).await;
        ids.reverse();
        let seen = async |user: &str| {
            let listed = body_of(as_user(&server, user, "GET", "/v1/api-keys", None).await, StatusCode::OK).await;
            let data = listed["data"].as_array().unwrap().clone();
            assert!(data.iter().all(|key| key.get("value").is_none() && key["masked"].is_string()), "{listed}");
            data.iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(seen("ann").await, ids, "all of the organization, and no other's");
        assert_eq!(seen("bob").await, ids[..1], "the own ones");
        assert!(!seen("ann").await.contains(&outside.id));
        let all = server.manage("GET", "/v1/api-keys?organization=acme&state=active", None, 200).await;
        assert_eq!(all["data"].as_array().unwrap().len(), 3, "and for a back end, by filters");
    }

    // Features: D5.
    async fn lists_are_newest_first_in_pages_of_1_to_100(server: Server) {
        let mut made = Vec::new();
        for _ in 0..23 {
            made.push(server.key(json!({ "name": "k", "owner": { "type": "none" } })).await.id);
        }
        made.reverse();
        let first = server.manage("GET", "/v1/api-keys?owner_type=none", None, 200).await;
        assert_eq!(first["data"].as_array().unwrap().len(), 20, "unless asked for otherwise");
        for limit in [1, 7, 100] {
            let (mut all, mut after) = (Vec::new(), String::new());
            loop {
                let path = format!("/v1/api-keys?owner_type=none&limit={limit}{after}");
                let page = server.manage("GET", &path, None, 200).await;
                all.extend(page["data"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_owned()));
                match page["next"].as_str() {
                    Some(next) => after = format!("&after={next}"),
                    None => break,
                }
            }
            assert_eq!(all, made, "{limit}");
        }
        for limit in ["0", "101", "-1", "x"] {
            let answer = server.get(&format!("/v1/api-keys?limit={limit}")).bearer_auth(&server.admin).send().await.unwrap();
            assert!(answer.status().is_client_error(), "{limit}: {}", answer.status());
        }
    }

    // Features: D8.
    async fn administrator_sees_name_permissions_dates_and_use_and_can_revoke(server: Server, "jobs=by_hand") {
        product(&server).await;
        let body = json!({ "name": "Nightly build", "owner": { "type": "user" }, "permissions": ["projects:read"] });
        let made = body_of(as_user(&server, "bob", "POST", "/v1/api-keys", Some(body)).await, StatusCode::CREATED).await;
        server.fetch_token(made["value"].as_str().unwrap()).await;
        server.services.last_used.flush().await.unwrap();
        let listed = body_of(as_user(&server, "ann", "GET", "/v1/api-keys", None).await, StatusCode::OK).await;
        let key = &listed["data"][0];
        assert_eq!((&key["name"], &key["permissions"], &key["state"]), (&json!("Nightly build"), &json!(["projects:read"]), &json!("active")));
        assert_eq!(key["created_by"], json!({ "type": "user", "id": "bob" }));
        for date in ["created_at", "last_used_at"] {
            assert!(key[date].as_str().is_some_and(|time| time.ends_with('Z')), "{date}: {key}");
        }
        let path = format!("/v1/api-keys/{}/revoke", key["id"].as_str().unwrap());
        assert_eq!(as_user(&server, "ann", "POST", &path, None).await.status(), 200);
        assert_eq!(server.exchange(made["value"].as_str().unwrap()).await.status(), 401);
    }

    // Features: D10.
    async fn refusals_name_the_invalid_field(server: Server) {
        product(&server).await;
        let create = async |body: Value| faults(as_user(&server, "ann", "POST", "/v1/api-keys", Some(body)).await).await;
        let reported = create(json!({
            "name": "k", "owner": { "type": "organization" },
            "permissions": ["projects:read", "projects:drop", "projects:burn", "user-api-keys:manage-self", "keyswap:keys"],
        })).await;
        for (name, why) in [
            ("projects:drop", "cannot be assigned to an organization"),
            ("projects:burn", "is not in the catalog"),
            ("keyswap:keys", "cannot be assigned to an organization"),
        ] {
            let about: Vec<_> = reported.iter().filter(|(_, message)| message.starts_with(name)).collect();
            assert!(about.len() == 1 && about[0].0 == "permissions" && about[0].1.contains(why), "{name}: {reported:?}");
        }
        assert_eq!(reported.len(), 3, "no other fault is reported: {reported:?}");
        // A permission that the caller does not hold.
        let body = json!({ "name": "k", "owner": { "type": "user" }, "permissions": ["projects:read", "projects:write"] });
        let reported = faults(as_user(&server, "bob", "POST", "/v1/api-keys", Some(body)).await).await;
        assert!(!reported.is_empty() && reported.iter().all(|(_, message)| message.contains("projects:write")), "{reported:?}");
        for (member, value) in [
            ("name", json!("")), ("name", json!(" x")), ("name", json!("a\u{202e}b")), ("name", json!("x".repeat(201))),
            ("expires_at", json!("2001-01-01T00:00:00Z")), ("expires_at", json!("tomorrow")),
        ] {
            let mut body = json!({ "name": "k", "owner": { "type": "organization" }, "permissions": ["projects:read"] });
            body[member] = value.clone();
            let reported = create(body).await;
            assert!(reported.len() == 1 && reported[0].0 == member, "{member} {value}: {reported:?}");
        }
    }

    // Features: P3.
    async fn generic_key_is_created_by_the_back_end_only_and_expires(server: Server) {
        product(&server).await;
        let end = server.services.store.now().await.unwrap().plus("1h".parse().unwrap());
        let body = json!({ "name": "k", "owner": { "type": "none" }, "permissions": ["projects:read"], "expires_at": end });
        assert_eq!(as_user(&server, "ann", "POST", "/v1/api-keys", Some(body.clone())).await.status(), 422, "no user's to make");
        let key = server.key(body).await;
        server.fetch_token(&key.value).await;
        server.advance(3601);
        assert_eq!(server.exchange(&key.value).await.status(), 401);
    }

    // Features: P4.
    async fn disabled_key_types_are_refused(server: Server, "api_keys.owner_types=[\"organization\"]") {
        product(&server).await;
        for owner in [ann(), carol(), json!({ "type": "none" })] {
            let body = json!({ "name": "k", "owner": owner, "permissions": ["projects:read"] });
            let answer = call(&server, &server.admin, "POST", "/v1/api-keys", Some(body), &[]).await;
            let reported = faults(answer).await;
            assert!(reported.len() == 1 && reported[0].1.contains("are not enabled"), "{reported:?}");
        }
        let own = json!({ "name": "k", "owner": { "type": "user" }, "permissions": ["projects:read"] });
        assert_eq!(as_user(&server, "bob", "POST", "/v1/api-keys", Some(own)).await.status(), 422);
        server.fetch_token(&key_of(&server, acme(), &["projects:read"]).await.value).await;
    }

    // Features: P4.
    async fn both_key_types_can_be_enabled(server: Server, "api_keys.owner_types=[\"user\", \"organization\"]") {
        product(&server).await;
        for owner in [ann(), acme()] {
            server.fetch_token(&key_of(&server, owner, &["projects:read"]).await.value).await;
        }
    }

    // Features: P7.
    async fn users_and_the_back_end_create_keys(server: Server) {
        product(&server).await;
        let body = json!({ "name": "k", "owner": { "type": "user" }, "permissions": ["projects:read"] });
        let by_user = body_of(as_user(&server, "bob", "POST", "/v1/api-keys", Some(body)).await, StatusCode::CREATED).await;
        let owner = json!({ "type": "user", "id": "bob", "organization_id": "acme" });
        let body = json!({ "name": "k", "owner": owner, "permissions": ["projects:read"] });
        let by_product = server.manage("POST", "/v1/api-keys", Some(body), 201).await;
        assert_eq!(by_user["owner"], by_product["owner"]);
        assert_eq!(by_user["created_by"], json!({ "type": "user", "id": "bob" }));
        assert_eq!(by_product["created_by"]["type"], "api_key");
        for key in [by_user, by_product] {
            server.fetch_token(key["value"].as_str().unwrap()).await;
        }
    }
}

async fn archive(server: &Server, user: &str) {
    server.manage("DELETE", &format!("/v1/users/{user}"), None, 204).await;
}

/// Creates another organization, without members.
async fn put_other(server: &Server) {
    super::put(server, "/v1/organizations/other", json!({ "name": "Other" })).await;
}
