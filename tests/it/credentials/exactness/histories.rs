//! Random histories: after each step, every credential is exchanged on each server.
//! `KEYSWAP_HISTORY_SEED` runs a single seed.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Servers, is_remembered};
use crate::{
    credentials::key_context::random::Random,
    introspection::revoke::revoke,
    support::{Kind, Server, both},
};

const STEPS: usize = 30;
const FULL_STEPS: usize = 400;
const FULL_SEEDS: u64 = 10;

/// Keys that are not in force are exchanged after each step.
const SETTINGS: [&str; 2] = ["brute_force.per_source=1000000", "brute_force.per_credential=1000000"];

const PERMISSIONS: [&str; 3] = ["a:b", "a:c", "a:d"];
const ROLES: [&str; 2] = ["one", "two"];

/// Writes by SQL to columns that decide and that no tag authenticates.
const WRITES: [&str; 7] = [
    "UPDATE users SET blocked_at = CASE WHEN blocked_at IS NULL THEN 1 END WHERE id = 'alice'",
    "UPDATE users SET locked_at = CASE WHEN locked_at IS NULL THEN 1 END WHERE id = 'bob'",
    "DELETE FROM user_roles WHERE user_id = 'alice'",
    "DELETE FROM member_roles WHERE user_id = 'bob'",
    "DELETE FROM role_permissions WHERE role = 'one'",
    "UPDATE service_clients SET permissions = 'a:b'",
    "UPDATE permissions SET assignable_to = 'user' WHERE name = 'a:c'",
];

struct History {
    servers: Servers,
    random: Random,
    client: String,
    /// The id and value of each credential, in force or not.
    credentials: Vec<(String, String)>,
    /// Tokens, each with whether it was revoked.
    tokens: Vec<(String, bool)>,
}

impl History {
    async fn new(server: Server, seed: u64) -> Self {
        server.permissions_for_all(&PERMISSIONS).await;
        for role in ROLES {
            server.role(role, &PERMISSIONS).await;
        }
        server.organization("acme").await;
        server.user("alice", &ROLES).await;
        server.user("bob", &[]).await;
        server.member("acme", "bob", &ROLES).await;
        let servers = Servers::new(server, &SETTINGS).await;
        let (random, client) = (Random::new(seed), String::new());
        let mut history = Self { servers, random, client, credentials: Vec::new(), tokens: Vec::new() };
        history.create_client().await;
        assert!(!history.client.is_empty());
        for number in 0..5 {
            history.create(number).await;
        }
        history
    }

    /// Makes a change on a random server. Returns the body if it was accepted: a random history
    /// contains changes that are refused.
    async fn change(&mut self, method: &str, path: &str, body: Value) -> Option<Value> {
        let server = &self.servers.narrow[self.random.below(2)];
        let request = server.http.request(method.parse().unwrap(), server.url(path)).bearer_auth(&server.admin);
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(!status.is_server_error(), "{method} {path}: {status} {text}");
        status.is_success().then(|| serde_json::from_str(&text).unwrap_or_default())
    }

    async fn create(&mut self, owner: usize) {
        let owner = match owner {
            0 => json!({ "type": "none" }),
            1 => json!({ "type": "user", "id": "alice" }),
            2 => json!({ "type": "user", "id": "bob", "organization_id": "acme" }),
            3 => json!({ "type": "organization", "id": "acme" }),
            _ => json!({ "type": "service_client", "id": self.client }),
        };
        let body = json!({ "name": "k", "owner": owner, "permissions": PERMISSIONS });
        if let Some(key) = self.change("POST", "/v1/api-keys", body).await {
            self.add_credential(&key);
        }
    }

    async fn create_client(&mut self) {
        let body = json!({ "name": "a client", "permissions": PERMISSIONS });
        if let Some(client) = self.change("POST", "/v1/service-clients", body).await {
            client["id"].as_str().unwrap().clone_into(&mut self.client);
        }
    }

    /// Deletes the service client, and creates another one with a key, unless the catalog does not
    /// offer the permissions at present. The credentials of the deleted one stay in the history.
    async fn replace_client(&mut self) -> String {
        let path = format!("/v1/service-clients/{}", self.client);
        self.change("DELETE", &path, Value::Null).await;
        self.create_client().await;
        self.create(4).await;
        format!("DELETE {path}, and another service client")
    }

    /// Exchanges a random credential for a token, and may revoke it.
    async fn add_token(&mut self) -> String {
        let number = self.random.below(self.credentials.len());
        let (id, key) = &self.credentials[number];
        let server = &self.servers.narrow[self.random.below(2)];
        let is_revoked = self.random.one_in(2);
        let response = server.exchange(key).await;
        if response.status() == StatusCode::OK {
            let body: Value = response.json().await.unwrap();
            let token = body["access_token"].as_str().unwrap().to_owned();
            if is_revoked {
                revoke(server, key, &token).await;
            }
            self.tokens.push((token, is_revoked));
        }
        format!("a token of {id}, revoked: {is_revoked}")
    }

    fn add_credential(&mut self, key: &Value) {
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        self.credentials.push((text("id"), text("value")));
    }

    fn random_names(&mut self, of: &[&'static str]) -> Vec<&'static str> {
        of.iter().copied().filter(|_| self.random.one_in(2)).collect()
    }

    fn random_key(&mut self) -> String {
        let number = self.random.below(self.credentials.len());
        format!("/v1/api-keys/{}", self.credentials[number].0)
    }

    /// A change of one key. Returns its name.
    async fn change_key(&mut self) -> String {
        let key = self.random_key();
        let permissions = self.random_names(&PERMISSIONS);
        let patch = match self.random.below(12) {
            0 => json!({ "permissions": permissions }),
            1 => json!({ "metadata": { "plan": "gold" } }),
            2 => json!({ "metadata": { "plan": null } }),
            3 => json!({ "max_token_ttl": "1m" }),
            4 => json!({ "audiences": [] }),
            5 => json!({ "audiences": null }),
            6 => json!({ "exchanges_per_minute": 100_000 }),
            7 => json!({ "exchanges_per_minute": null }),
            8 => {
                self.change("POST", &format!("{key}/suspend"), Value::Null).await;
                return format!("suspend {key}");
            }
            9 => {
                self.change("POST", &format!("{key}/resume"), Value::Null).await;
                return format!("resume {key}");
            }
            10 => {
                let grace = if self.random.one_in(2) { "0s" } else { "1m" };
                let rotated = self.change("POST", &format!("{key}/rotate"), json!({ "grace": grace })).await;
                if let Some(rotated) = rotated {
                    self.add_credential(&rotated);
                }
                return format!("rotate {key}");
            }
            _ => {
                if self.random.one_in(3) {
                    self.change("POST", &format!("{key}/revoke"), Value::Null).await;
                }
                return format!("revoke {key}");
            }
        };
        self.change("PATCH", &key, patch.clone()).await;
        format!("PATCH {key} {patch}")
    }

    /// One step. Returns its name.
    async fn step(&mut self) -> String {
        let (permissions, roles) = (self.random_names(&PERMISSIONS), self.random_names(&ROLES));
        let role = format!("/v1/roles/{}", ROLES[self.random.below(2)]);
        let client = format!("/v1/service-clients/{}", self.client);
        let is_blocked = self.random.one_in(3);
        let (method, path, body) = match self.random.below(19) {
            0..6 => return self.change_key().await,
            6 => {
                let owner = self.random.below(5);
                self.create(owner).await;
                return format!("create a key of owner {owner}");
            }
            7 => ("PATCH", "/v1/users/alice".to_owned(), json!({ "blocked": is_blocked, "roles": roles })),
            8 => ("PATCH", "/v1/users/bob".to_owned(), json!({ "blocked": is_blocked })),
            9 if is_blocked => ("DELETE", "/v1/organizations/acme/members/bob".to_owned(), Value::Null),
            9 | 10 => ("PUT", "/v1/organizations/acme/members/bob".to_owned(), json!({ "roles": roles })),
            11 => ("PUT", role, json!({ "permissions": permissions })),
            12 => {
                let owners = ["user", "service_client", "organization"];
                let owners = &owners[..=self.random.below(3)];
                ("PUT", "/v1/permissions/a:c".to_owned(), json!({ "assignable_to": owners }))
            }
            13 => ("PATCH", client, json!({ "permissions": permissions })),
            14 => {
                let write = WRITES[self.random.below(WRITES.len())];
                self.servers.narrow[0].database.sql(write);
                return write.to_owned();
            }
            15 | 16 => return self.add_token().await,
            17 => return self.replace_client().await,
            _ => {
                self.servers.narrow[0].advance(20);
                return "20 s pass".to_owned();
            }
        };
        self.change(method, &path, body.clone()).await;
        format!("{method} {path} {body}")
    }

    /// Runs the steps. Returns how many of the exchanges that were compared read a narrow row.
    async fn run(mut self, seed: u64, steps: usize) -> usize {
        let mut narrow = 0;
        for number in 0..steps {
            let step = self.step().await;
            let context = format!("KEYSWAP_HISTORY_SEED={seed}, step {number}: {step}");
            for (_, key) in &self.credentials {
                self.servers.compare(key, &context).await;
                for server in &self.servers.narrow {
                    narrow += usize::from(is_remembered(server, key).await);
                }
            }
            for (token, is_revoked) in &self.tokens {
                let is_active = self.servers.compare_token(token, &context).await;
                assert!(!(*is_revoked && is_active), "{context}: a revoked token is active");
            }
            // The cost of a step grows with the number of credentials.
            if self.credentials.len() > 12 {
                self.credentials.drain(..4);
            }
            if self.tokens.len() > 4 {
                self.tokens.drain(..2);
            }
        }
        narrow
    }
}

async fn compare_history(server: Server, seed: u64, steps: usize) {
    let narrow = History::new(server, seed).await.run(seed, steps).await;
    eprintln!("seed {seed}: {narrow} exchanges of narrow rows in {steps} steps");
    assert!(narrow > steps, "seed {seed}: only {narrow} exchanges read a narrow row");
}

fn seed_or(default: u64) -> u64 {
    std::env::var("KEYSWAP_HISTORY_SEED").map_or(default, |seed| seed.parse().unwrap())
}

both! {
    async fn narrow_rows_equal_all_tables_after_each_step(server: Server) {
        compare_history(server, seed_or(1), STEPS).await;
    }
}

fn many(kind: Kind) {
    for seed in 0..FULL_SEEDS {
        Server::run(kind, &SETTINGS, |server| compare_history(server, seed_or(seed + 100), FULL_STEPS));
    }
}

#[test]
#[ignore = "takes minutes: scripts/prove key_context"]
fn long_histories_on_sqlite() {
    many(Kind::Sqlite);
}

#[test]
#[ignore = "takes minutes: scripts/prove key_context"]
fn long_histories_on_postgres() {
    many(Kind::Postgres);
}
