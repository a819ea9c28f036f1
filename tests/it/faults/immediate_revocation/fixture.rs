//! The servers and the objects that a grant depends on. Each cause removes or changes one of them,
//! and `restore` restores it.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    super::{
        process::{Deployment, Running},
        tables,
    },
    cause::{API, Cause, DEFAULT, Owner},
};

/// The time from setting an expiry to the expiry, of a key or a credential.
const LEFT: Duration = Duration::from_millis(300);

#[derive(Default)]
struct Key {
    id: String,
    value: String,
}

pub struct Fixture {
    pub servers: Vec<Running>,
    pub admin: String,
    /// The paths of the audiences.
    api: String,
    default_audience: String,
    client: String,
    /// The path of the access record that grants the permission of the record-bound key.
    record: String,
    /// One key for each owner, indexed by `Owner`.
    keys: [Key; Owner::ALL.len()],
}

const ORGANIZATION: &str = "/v1/organizations/acme";
const MEMBER: &str = "/v1/organizations/acme/members/member";
const ROLE: &str = "/v1/roles/worker";
const PERMISSION: &str = "/v1/permissions/a:b";

/// The user who owns the key.
const fn user(owner: Owner) -> &'static str {
    match owner {
        Owner::Member => "/v1/users/member",
        _ => "/v1/users/someone",
    }
}

impl Fixture {
    pub async fn new(deployment: &Deployment, processes: usize) -> Self {
        let deployment = deployment.with(&["brute_force.per_source=1000000", "brute_force.per_credential=1000000"]);
        let servers = (0..processes).map(|_| deployment.serve()).collect();
        let mut fixture = Self {
            servers,
            admin: deployment.admin(),
            api: String::new(),
            default_audience: String::new(),
            client: String::new(),
            record: String::new(),
            keys: std::array::from_fn(|_| Key::default()),
        };
        let permission = json!({ "assignable_to": ["user", "organization", "service_client"] });
        fixture.manage(0, "PUT", PERMISSION, permission).await;
        fixture.manage(0, "PUT", ROLE, json!({ "permissions": ["a:b"] })).await;
        fixture.manage(0, "POST", "/v1/audiences", json!({ "identifier": API, "permissions": ["a:b"] })).await;
        fixture.api = fixture.audience_path(API).await;
        fixture.default_audience = fixture.audience_path(DEFAULT).await;
        fixture.put_user(0).await;
        fixture.put_organization(0).await;
        fixture.put_client(0).await;
        fixture.make_key(0, Owner::RecordBound).await;
        fixture.put_record(0).await;
        for &owner in Owner::WITH_NARROW_ROWS {
            let key = &fixture.keys[owner as usize].id;
            let rows = format!("SELECT key_id AS line FROM narrow_credentials WHERE key_id = '{key}'");
            assert_eq!(tables::lines(&deployment, &rows).len(), 1, "the key of {owner:?} has a narrow row");
        }
        fixture
    }

    async fn audience_path(&self, identifier: &str) -> String {
        let all = self.manage(0, "GET", "/v1/audiences", Value::Null).await;
        let found = all["data"].as_array().unwrap().iter().find(|one| one["identifier"] == identifier);
        format!("/v1/audiences/{}", found.expect("the audience exists")["id"].as_str().unwrap())
    }

    /// The value of the key of `owner`.
    pub fn value(&self, owner: Owner) -> &str {
        &self.keys[owner as usize].value
    }

    async fn manage(&self, at: usize, method: &str, path: &str, body: Value) -> Value {
        let body = (!body.is_null()).then_some(body);
        let answer = self.servers[at].call(&self.admin, method, path, body).await;
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Exchanges a key for a token with an audience of the test.
    pub async fn token(&self, at: usize, key: &str, audience: &str) -> String {
        let body = json!({ "audience": audience });
        let answer = self.servers[at].call(key, "POST", "/v1/exchange", Some(body)).await;
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn put_user(&mut self, at: usize) {
        self.manage(at, "PUT", user(Owner::User), json!({ "roles": ["worker"] })).await;
        self.make_key(at, Owner::User).await;
    }

    /// Creates the organization, and its member if they are missing.
    async fn put_organization(&mut self, at: usize) {
        self.manage(at, "PUT", ORGANIZATION, json!({ "name": "Acme" })).await;
        self.make_key(at, Owner::Organization).await;
        self.put_member(at).await;
    }

    async fn put_member(&mut self, at: usize) {
        self.manage(at, "PUT", user(Owner::Member), json!({})).await;
        self.manage(at, "PUT", MEMBER, json!({ "roles": ["worker"] })).await;
        self.make_key(at, Owner::Member).await;
    }

    async fn put_client(&mut self, at: usize) {
        let client = json!({ "name": "a client", "permissions": ["a:b"] });
        let client = self.manage(at, "POST", "/v1/service-clients", client).await;
        client["id"].as_str().unwrap().clone_into(&mut self.client);
        self.make_key(at, Owner::Client).await;
    }

    async fn put_record(&mut self, at: usize) {
        let record = json!({
            "name": "a record",
            "principals": [{ "type": "api_key", "id": self.keys[Owner::RecordBound as usize].id }],
            "statements": [{ "roles": ["worker"], "resources": ["/a/*"] }],
        });
        let record = self.manage(at, "POST", "/v1/access-records", record).await;
        self.record = format!("/v1/access-records/{}", record["id"].as_str().unwrap());
    }

    async fn make_key(&mut self, at: usize, owner: Owner) {
        let of = match owner {
            Owner::User => json!({ "type": "user", "id": "someone" }),
            Owner::Member => json!({ "type": "user", "id": "member", "organization_id": "acme" }),
            Owner::Organization => json!({ "type": "organization", "id": "acme" }),
            Owner::Client => json!({ "type": "service_client", "id": self.client }),
            Owner::RecordBound => json!({ "type": "none" }),
        };
        let record_bound = owner == Owner::RecordBound;
        let key = json!({ "name": "k", "owner": of, "permissions": ["a:b"], "record_bound": record_bound });
        let key = self.manage(at, "POST", "/v1/api-keys", key).await;
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        self.keys[owner as usize] = Key { id: text("id"), value: text("value") };
    }

    fn key_path(&self, owner: Owner) -> String {
        format!("/v1/api-keys/{}", self.keys[owner as usize].id)
    }

    fn client_path(&self) -> String {
        format!("/v1/service-clients/{}", self.client)
    }

    /// Applies the cause to the key of `owner` on one of the servers. Returns the moment after
    /// which no request may be granted, and the response to the change.
    pub async fn end(&self, cause: Cause, owner: Owner, at: usize) -> (Instant, Value) {
        let key = self.key_path(owner);
        let step = |step: &str| format!("{key}/{step}");
        let (method, path, body) = match cause {
            Cause::Revoked => ("POST", step("revoke"), Value::Null),
            Cause::Suspended => ("POST", step("suspend"), Value::Null),
            Cause::Rotated => ("POST", step("rotate"), json!({ "grace": "0s" })),
            Cause::GraceOver => ("POST", step("rotate"), json!({ "grace": format!("{}ms", LEFT.as_millis()) })),
            Cause::Expired => {
                let done = self.expire(at, &key).await;
                reached(&done["expires_at"]).await;
                return (Instant::now(), done);
            }
            Cause::Patched => ("PATCH", key, json!({ "permissions": [] })),
            Cause::Deleted => ("DELETE", key, Value::Null),
            Cause::Blocked => ("PATCH", user(owner).to_owned(), json!({ "blocked": true })),
            Cause::Locked => ("POST", format!("{}/lock", user(owner)), Value::Null),
            Cause::UserRoles => ("PATCH", user(owner).to_owned(), json!({ "roles": [] })),
            Cause::UserDeleted => ("DELETE", user(owner).to_owned(), Value::Null),
            Cause::MemberRoles => ("PUT", MEMBER.to_owned(), json!({ "roles": [] })),
            Cause::MemberLeft => ("DELETE", MEMBER.to_owned(), Value::Null),
            Cause::OrganizationDeleted => ("DELETE", ORGANIZATION.to_owned(), Value::Null),
            Cause::ClientCut => ("PATCH", self.client_path(), json!({ "permissions": [] })),
            Cause::ClientDeleted => ("DELETE", self.client_path(), Value::Null),
            Cause::AccessRecord => ("DELETE", self.record.clone(), Value::Null),
            Cause::Audience => ("PATCH", self.api.clone(), json!({ "permissions": [] })),
            Cause::DefaultAudience => ("PATCH", self.default_audience.clone(), json!({ "permissions": [] })),
            Cause::Permission => ("PUT", PERMISSION.to_owned(), json!({ "assignable_to": ["user", "service_client"] })),
            Cause::Role => ("PUT", ROLE.to_owned(), json!({ "permissions": [] })),
        };
        let done = self.manage(at, method, &path, body).await;
        let answered = Instant::now();
        if cause == Cause::GraceOver {
            let credentials = done["credentials"].as_array().unwrap();
            let old = credentials.iter().find(|one| !one["expires_at"].is_null());
            reached(&old.expect("the old credential has an end")["expires_at"]).await;
            return (Instant::now(), done);
        }
        (answered, done)
    }

    /// Sets an expiry in the near future. The server refuses an expiry that has passed before it
    /// reads the request; the call then retries with a later one.
    async fn expire(&self, at: usize, key: &str) -> Value {
        for times in [1, 4, 16, 64] {
            let end = DateTime::<Utc>::from(SystemTime::now() + LEFT * times);
            let body = json!({ "expires_at": end.to_rfc3339_opts(SecondsFormat::Millis, true) });
            let answer = self.servers[at].call(&self.admin, "PATCH", key, Some(body)).await;
            match answer.status().as_u16() {
                200 => return answer.json().await.unwrap(),
                422 => {}
                other => panic!("{other}: {}", answer.text().await.unwrap()),
            }
        }
        panic!("no end is late enough");
    }

    /// Restores the state before the cause, for the next round.
    pub async fn restore(&mut self, cause: Cause, owner: Owner, at: usize, done: &Value) {
        let (method, path, body) = match cause {
            Cause::Revoked | Cause::Deleted | Cause::Expired | Cause::Patched => {
                return self.make_key(at, owner).await;
            }
            Cause::Rotated | Cause::GraceOver => {
                done["value"].as_str().unwrap().clone_into(&mut self.keys[owner as usize].value);
                return;
            }
            Cause::UserDeleted if owner == Owner::User => return self.put_user(at).await,
            Cause::UserDeleted | Cause::MemberLeft => return self.put_member(at).await,
            Cause::OrganizationDeleted => return self.put_organization(at).await,
            Cause::ClientDeleted => return self.put_client(at).await,
            Cause::AccessRecord => return self.put_record(at).await,
            Cause::Suspended => ("POST", format!("{}/resume", self.key_path(owner)), Value::Null),
            Cause::Blocked => ("PATCH", user(owner).to_owned(), json!({ "blocked": false })),
            Cause::Locked => ("POST", format!("{}/unlock", user(owner)), Value::Null),
            Cause::UserRoles => ("PATCH", user(owner).to_owned(), json!({ "roles": ["worker"] })),
            Cause::MemberRoles => ("PUT", MEMBER.to_owned(), json!({ "roles": ["worker"] })),
            Cause::ClientCut => ("PATCH", self.client_path(), json!({ "permissions": ["a:b"] })),
            Cause::Audience => ("PATCH", self.api.clone(), json!({ "permissions": ["a:b"] })),
            Cause::DefaultAudience => ("PATCH", self.default_audience.clone(), json!({ "permissions": null })),
            Cause::Permission => {
                ("PUT", PERMISSION.to_owned(), json!({ "assignable_to": ["user", "organization", "service_client"] }))
            }
            Cause::Role => ("PUT", ROLE.to_owned(), json!({ "permissions": ["a:b"] })),
        };
        self.manage(at, method, &path, body).await;
    }
}

/// Waits until the given time of the database clock. The test and the database use the same system
/// clock.
async fn reached(moment: &Value) {
    let moment: DateTime<Utc> = moment.as_str().unwrap().parse().unwrap();
    while let Ok(left) = SystemTime::from(moment).duration_since(SystemTime::now()) {
        sleep(left.max(Duration::from_micros(100))).await;
    }
}
