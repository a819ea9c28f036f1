//! Random requests of an actor, permitted or not.

use keyswap::crypto::sha256_hex;
use serde_json::{Value, json};

use super::{
    ALL,
    actor::Actor,
    powers::{DEFAULT, MANAGEMENT, NARROW},
};

pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub body: Value,
    pub headers: Vec<(&'static str, &'static str)>,
    /// The value of a key that the request imports.
    pub imported: Option<String>,
}

impl Request {
    fn new(method: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self { method, path: path.into(), body, headers: Vec::new(), imported: None }
    }
}

impl Actor<'_> {
    /// Picks mostly permissions that the actor holds, because other requests are refused.
    fn random_permissions(&mut self) -> Vec<&'static str> {
        let all = if self.chance.one_in(3) { ALL.to_vec() } else { self.permissions.clone() };
        self.chance.subset(&all)
    }

    /// Adds limits to a body. For a new key they are mostly equal to those of its creator.
    fn limits(&mut self, body: &mut Value, is_new: bool) {
        let had = self.had.limits.clone();
        let end = |millis: i64| json!(keyswap::domain::common::time::Timestamp::from_millis(millis).to_string());
        let own = [
            ("expires_at", had.expires_at.map_or(Value::Null, end)),
            ("exchanges_per_minute", json!(had.exchanges_per_minute)),
            ("max_token_ttl", had.max_token_ttl.map_or(Value::Null, |seconds| json!(format!("{seconds}s")))),
            ("audiences", json!(had.audiences)),
            ("record_bound", json!(false)),
        ];
        let far = json!("2099-01-01T00:00:00Z");
        let wild = [
            [Value::Null, far.clone(), end(had.expires_at.unwrap_or(4_000_000_000_000) - 60_000)],
            [Value::Null, json!(50), json!(100_000)],
            [Value::Null, json!("1m"), json!("1h")],
            [Value::Null, json!([DEFAULT]), json!([DEFAULT, MANAGEMENT, NARROW])],
            [json!(true), json!(false), json!(true)],
        ];
        for ((name, own), wild) in own.into_iter().zip(wild) {
            if is_new && !self.chance.one_in(6) {
                body[name] = own;
            } else if self.chance.one_in(3) {
                body[name] = self.chance.pick(&wild).clone();
            }
        }
    }

    fn owner(&mut self) -> Value {
        match self.chance.below(6) {
            0 => Value::Null,
            1 => json!({ "type": "user" }),
            2 => json!({ "type": "organization" }),
            3 => json!({ "type": "user", "id": "boss", "organization_id": "acme" }),
            4 => json!({ "type": "none" }),
            _ => match self.clients.last() {
                Some(id) => json!({ "type": "service_client", "id": id }),
                None => json!({ "type": "user", "id": "alice", "organization_id": "acme" }),
            },
        }
    }

    fn create(&mut self) -> Request {
        let mut body = json!({ "name": "k", "permissions": self.random_permissions() });
        let owner = self.owner();
        if !owner.is_null() {
            body["owner"] = owner;
        }
        self.limits(&mut body, true);
        let mut request = Request::new("POST", "/v1/api-keys", Value::Null);
        match self.chance.below(8) {
            0 => {
                let value = format!("elsewhere.{}.{}", self.chance.below(1 << 40), self.tried.len());
                body["import"] = json!({ "sha256": sha256_hex(value.as_bytes()), "masked": "elsewhere.…" });
                request.imported = Some(value);
            }
            // Later calls reuse these idempotency keys, possibly with another credential.
            1 => request.headers.push(("idempotency-key", *self.chance.pick(&["one", "two"]))),
            _ => {}
        }
        Request { body, ..request }
    }

    /// Picks an operation that the actor is never authorized for.
    fn forbidden(&mut self) -> Request {
        let everything = json!({ "roles": ["boss"] });
        match self.chance.below(7) {
            0 => Request::new("PUT", "/v1/organizations/acme/members/alice", everything),
            1 => Request::new("PUT", "/v1/users/alice", everything),
            2 => Request::new("PUT", "/v1/roles/worker", json!({ "permissions": ALL })),
            3 => Request::new("PUT", "/v1/permissions/tasks:write", json!({ "assignable_to": ["user"] })),
            4 => {
                let row = json!({ "type": "member", "organization_id": "acme", "user_id": "alice", "roles": ["boss"] });
                Request::new("POST", "/v1/import", row)
            }
            5 => {
                let user = *self.chance.pick(&["alice", "boss"]);
                Request::new("POST", "/v1/portal-sessions", json!({ "user_id": user, "organization_id": "acme" }))
            }
            _ => {
                let mut request = self.create();
                request.headers.push(("keyswap-on-behalf-of", "boss; organization=acme"));
                request
            }
        }
    }

    fn record(&mut self) -> Request {
        let key = self.target();
        let principal = match self.chance.below(3) {
            0 => json!({ "type": "user", "id": "alice" }),
            1 => json!({ "type": "user", "id": "boss" }),
            _ => json!({ "type": "api_key", "id": key }),
        };
        let role = *self.chance.pick(&["reader", "boss", "worker"]);
        let statements = json!([{ "roles": [role], "resources": [self.chance.pick(&["/any/alice/*", "/any/*"])] }]);
        match self.records.last().cloned() {
            Some(id) if self.chance.one_in(2) => {
                let path = format!("/v1/access-records/{id}");
                if self.chance.one_in(3) {
                    Request::new("DELETE", path, Value::Null)
                } else {
                    Request::new("PATCH", path, json!({ "statements": statements }))
                }
            }
            _ => {
                let body = json!({ "name": "r", "principals": [principal], "statements": statements });
                Request::new("POST", "/v1/access-records", body)
            }
        }
    }

    pub fn next(&mut self) -> Request {
        if self.keys.len() < 3 {
            return self.create();
        }
        let path = format!("/v1/api-keys/{}", self.target());
        match self.chance.below(40) {
            0..12 => self.create(),
            12..15 => Request::new("PATCH", path, json!({ "permissions": self.random_permissions() })),
            15..19 => {
                let mut body = json!({});
                self.limits(&mut body, false);
                Request::new("PATCH", path, body)
            }
            19..22 => {
                let grace = *self.chance.pick(&["0s", "1h"]);
                Request::new("POST", format!("{path}/rotate"), json!({ "grace": grace }))
            }
            22..24 => Request::new("POST", format!("{path}/cancel-rotation"), Value::Null),
            24 => Request::new("POST", format!("{path}/suspend"), Value::Null),
            25..28 => Request::new("POST", format!("{path}/resume"), Value::Null),
            28..31 => {
                let body = json!({ "name": "c", "permissions": self.random_permissions() });
                Request::new("POST", "/v1/service-clients", body)
            }
            31..33 => match self.clients.last().cloned() {
                Some(id) => {
                    let body = json!({ "permissions": self.random_permissions() });
                    Request::new("PATCH", format!("/v1/service-clients/{id}"), body)
                }
                None => Request::new("GET", "/v1/api-keys", Value::Null),
            },
            33..36 => self.record(),
            _ => self.forbidden(),
        }
    }
}
