//! Random walks of an actor that holds keys, tokens and sessions of one user and obtains others.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    ALL, PRODUCT,
    actor::{Actor, Credentials},
    powers::{DEFAULT, Limits, MANAGEMENT, NARROW, Powers, Tokens},
};
use crate::support::{
    Kind, Server, both,
    seeds::{Random, seeds},
};

/// The initial credential of an actor.
#[derive(Debug, Clone, Copy)]
enum Start {
    /// A user's personal key with every limit set.
    Limited,
    /// A user's personal key that may also manage the organization's keys.
    Manager,
    /// An organization's key with some limits.
    Organization,
    /// A session opened by a back end that may open sessions and nothing else.
    Session,
}

const STARTS: [Start; 4] = [Start::Limited, Start::Manager, Start::Organization, Start::Session];
const WORKER: [&str; 5] =
    ["projects:read", "projects:write", "tasks:read", "user-api-keys:manage-self", "api-keys:manage"];

async fn prepare(server: &Server) -> Vec<String> {
    server.offer_management_permissions().await;
    server.permissions_for_all(&PRODUCT).await;
    server.audience(NARROW, Some(&["projects:read", "tasks:write"])).await;
    server.role("boss", &ALL).await;
    server.role("worker", &WORKER).await;
    server.role("reader", &["projects:read"]).await;
    server.organization("acme").await;
    let mut others = Vec::new();
    for (user, role) in [("boss", "boss"), ("alice", "worker")] {
        server.user(user, &[]).await;
        server.member("acme", user, &[role]).await;
        let permissions = if user == "boss" { ALL.to_vec() } else { WORKER.to_vec() };
        let owner = json!({ "type": "user", "id": user, "organization_id": "acme" });
        others.push(server.key_of(owner, &permissions).await.id);
    }
    others.push(server.key_of(json!({ "type": "organization", "id": "acme" }), &PRODUCT).await.id);
    others
}

async fn begin<'a>(server: &'a Server, start: Start, mut chance: Random, others: &[String]) -> Actor<'a> {
    let personal = json!({ "type": "user", "id": "alice", "organization_id": "acme" });
    let (owner, permissions) = match start {
        Start::Limited => (personal, vec!["projects:read", "tasks:read", "user-api-keys:manage-self"]),
        Start::Manager => (personal, vec!["projects:read", "user-api-keys:manage-self", "api-keys:manage"]),
        Start::Organization => (
            json!({ "type": "organization", "id": "acme" }),
            vec!["tasks:write", "api-keys:manage", "user-api-keys:manage-all"],
        ),
        Start::Session => (personal, WORKER.to_vec()),
    };
    let mut actor = Actor {
        server,
        keys: Vec::new(),
        sessions: Vec::new(),
        clients: Vec::new(),
        records: Vec::new(),
        others: others.to_vec(),
        permissions: permissions.clone(),
        had: Powers::default(),
        tried: Vec::new(),
        chance: chance.clone(),
    };
    if let Start::Session = start {
        let opener = server.client_key(&["keyswap:sessions"]).await;
        let body = json!({ "user_id": "alice", "organization_id": "acme" });
        let open = server.post("/v1/portal-sessions").bearer_auth(&opener.value).json(&body);
        let session = crate::support::body_of(open.send().await.unwrap(), reqwest::StatusCode::CREATED).await;
        actor.sessions.push(session["token"].as_str().unwrap().to_owned());
        // The permissions of the user's roles.
        let all = |names: &[&str]| Tokens {
            scope: names.iter().map(|name| (*name).to_owned()).collect(),
            life: 3600,
            ..Tokens::default()
        };
        let product: Vec<_> = PRODUCT.into_iter().filter(|name| WORKER.contains(name)).collect();
        let management: Vec<_> = WORKER.into_iter().filter(|name| !PRODUCT.contains(name)).collect();
        actor.had.tokens.insert(DEFAULT.to_owned(), all(&product));
        actor.had.tokens.insert(MANAGEMENT.to_owned(), all(&management));
        actor.had.tokens.insert(NARROW.to_owned(), all(&["projects:read"]));
        actor.had.limits = Limits::default();
        return actor;
    }
    let mut body = json!({ "name": "start", "owner": owner, "permissions": permissions });
    if !matches!(start, Start::Manager) {
        body["expires_at"] = json!(format!("20{}-01-01T00:00:00Z", 70 + chance.below(20)));
        body["audiences"] = json!([DEFAULT, MANAGEMENT]);
    }
    if matches!(start, Start::Limited) {
        body["exchanges_per_minute"] = json!(1000 + chance.below(100));
        body["max_token_ttl"] = json!("5m");
    }
    let key = server.key(body).await;
    actor.had = Powers::of(server, &key.id, &key.value, true).await;
    let names: BTreeSet<_> = actor.had.tokens.values().flat_map(|tokens| &tokens.scope).collect();
    assert_eq!(names.len(), permissions.len(), "{:?}", actor.had);
    actor.keys.push(Credentials { id: key.id, values: vec![key.value] });
    actor
}

/// Runs walks for `fixed` seeds and `of_today` daily seeds. Each has a random length below `most`
/// steps.
async fn walks(server: &Server, fixed: std::ops::Range<u64>, of_today: u64, most: u64) {
    let others = prepare(server).await;
    let mut accepted = BTreeSet::new();
    for seed in seeds(fixed, of_today) {
        let mut chance = Random::new(seed);
        let start = STARTS[usize::try_from(seed % 4).unwrap()];
        let steps = most / 2 + chance.below(most / 2);
        eprintln!("seed {seed}: {start:?}, {steps} steps");
        let mut actor = begin(server, start, chance, &others).await;
        for _ in 0..steps {
            actor.step().await;
        }
        for key in &actor.keys {
            actor.check(&key.id).await;
        }
        accepted.extend(actor.accepted());
        // Deletes the records so that they do not affect the next actor.
        for id in &actor.records {
            let path = server.url(&format!("/v1/access-records/{id}"));
            let deleted = server.http.delete(path).bearer_auth(&server.admin).send().await.unwrap();
            assert!(matches!(deleted.status().as_u16(), 204 | 404), "{deleted:?}");
        }
    }
    eprintln!("accepted: {accepted:?}");
    assert!(accepted.len() > 8, "hardly anything was allowed: {accepted:?}");
}

both! {
    async fn no_sequence_of_operations_widens_an_actor(
        server: Server, "api_keys.imported=true", r#"access_records.user_resources=["/any/{user}/*"]"#
    ) {
        walks(&server, 0..8, 8, 100).await;
    }
}

#[test]
#[ignore = "takes minutes: scripts/prove privileges"]
fn no_long_sequence_of_operations_widens_an_actor() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let settings = ["api_keys.imported=true", r#"access_records.user_resources=["/any/{user}/*"]"#];
        Server::run(kind, &settings, |server| async move { walks(&server, 0..0, 200, 400).await });
    }
}
