//! Two servers and the objects that a grant depends on. Each cause removes or changes one of them,
//! and `restore` restores it.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::process::{Deployment, Running};

/// The time from setting an expiry to the expiry, of a key or a credential.
const LEFT: Duration = Duration::from_millis(300);

/// A change that ends a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Revoked,
    Suspended,
    Rotated,
    GraceOver,
    Expired,
    Patched,
    Deleted,
    Blocked,
    Locked,
    UserDeleted,
    MemberLeft,
    OrganizationDeleted,
    ClientCut,
    ClientDeleted,
    Audience,
    Role,
}

impl Cause {
    pub const ALL: [Self; 16] = [
        Self::Revoked,
        Self::Suspended,
        Self::Rotated,
        Self::GraceOver,
        Self::Expired,
        Self::Patched,
        Self::Deleted,
        Self::Blocked,
        Self::Locked,
        Self::UserDeleted,
        Self::MemberLeft,
        Self::OrganizationDeleted,
        Self::ClientCut,
        Self::ClientDeleted,
        Self::Audience,
        Self::Role,
    ];

    /// The causes that occur most often in operation.
    pub const FREQUENT: [Self; 6] =
        [Self::Revoked, Self::Suspended, Self::Rotated, Self::Blocked, Self::Audience, Self::Role];

    /// Introspection of a key is independent of any audience, so it does not show that an audience
    /// has lost a permission. A token carries its audience.
    pub const fn shows_in_tokens_alone(self) -> bool {
        matches!(self, Self::Audience)
    }

    fn owner(self) -> Owner {
        match self {
            Self::MemberLeft | Self::OrganizationDeleted => Owner::Member,
            Self::ClientCut | Self::ClientDeleted => Owner::Client,
            _ => Owner::User,
        }
    }
}

/// The owner of the key.
#[derive(Debug, Clone, Copy)]
enum Owner {
    User,
    Member,
    Client,
}

#[derive(Default)]
struct Key {
    id: String,
    value: String,
}

pub struct Fixture {
    pub servers: [Running; 2],
    pub admin: String,
    audience: String,
    client: String,
    /// One key for each owner, indexed by `Owner`.
    keys: [Key; 3],
}

const USER: &str = "/v1/users/someone";
const ORGANIZATION: &str = "/v1/organizations/acme";
const MEMBER: &str = "/v1/organizations/acme/members/member";
const ROLE: &str = "/v1/roles/worker";

impl Fixture {
    pub async fn new(deployment: &Deployment) -> Self {
        let deployment = deployment.with(&["brute_force.per_source=1000000", "brute_force.per_credential=1000000"]);
        let servers = [deployment.serve(), deployment.serve()];
        let admin = deployment.admin();
        let mut fixture = Self {
            admin,
            servers,
            audience: String::new(),
            client: String::new(),
            keys: std::array::from_fn(|_| Key::default()),
        };
        let permission = json!({ "assignable_to": ["user", "service_client"] });
        fixture.manage(0, "PUT", "/v1/permissions/a:b", permission).await;
        fixture.manage(0, "PUT", ROLE, json!({ "permissions": ["a:b"] })).await;
        fixture.manage(0, "PUT", "/v1/users/member", json!({})).await;
        let audience = json!({ "identifier": "api", "permissions": ["a:b"] });
        let audience = fixture.manage(0, "POST", "/v1/audiences", audience).await;
        fixture.audience = format!("/v1/audiences/{}", audience["id"].as_str().unwrap());
        fixture.put_user(0).await;
        fixture.put_member(0).await;
        fixture.put_client(0).await;
        fixture
    }

    /// The value of the key that `cause` affects.
    pub fn value(&self, cause: Cause) -> &str {
        &self.keys[cause.owner() as usize].value
    }

    async fn manage(&self, at: usize, method: &str, path: &str, body: Value) -> Value {
        let body = (!body.is_null()).then_some(body);
        let answer = self.servers[at].call(&self.admin, method, path, body).await;
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Exchanges a key for a token with the audience of the test.
    pub async fn token(&self, at: usize, key: &str) -> String {
        let answer = self.servers[at].call(key, "POST", "/v1/exchange", Some(json!({ "audience": "api" }))).await;
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn put_user(&mut self, at: usize) {
        self.manage(at, "PUT", USER, json!({ "roles": ["worker"] })).await;
        self.make_key(at, Owner::User).await;
    }

    async fn put_member(&mut self, at: usize) {
        self.manage(at, "PUT", ORGANIZATION, json!({ "name": "Acme" })).await;
        self.manage(at, "PUT", MEMBER, json!({ "roles": ["worker"] })).await;
        self.make_key(at, Owner::Member).await;
    }

    async fn put_client(&mut self, at: usize) {
        let client = json!({ "name": "a client", "permissions": ["a:b"] });
        let client = self.manage(at, "POST", "/v1/service-clients", client).await;
        client["id"].as_str().unwrap().clone_into(&mut self.client);
        self.make_key(at, Owner::Client).await;
    }

    async fn make_key(&mut self, at: usize, owner: Owner) {
        let of = match owner {
            Owner::User => json!({ "type": "user", "id": "someone" }),
            Owner::Member => json!({ "type": "user", "id": "member", "organization_id": "acme" }),
            Owner::Client => json!({ "type": "service_client", "id": self.client }),
        };
        let key = json!({ "name": "k", "owner": of, "permissions": ["a:b"] });
        let key = self.manage(at, "POST", "/v1/api-keys", key).await;
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        self.keys[owner as usize] = Key { id: text("id"), value: text("value") };
    }

    /// Applies the cause on one of the servers. Returns the moment after which no request may be
    /// granted, and the response to the change.
    pub async fn end(&self, cause: Cause, at: usize) -> (Instant, Value) {
        let key = format!("/v1/api-keys/{}", self.keys[cause.owner() as usize].id);
        let step = |step: &str| format!("{key}/{step}");
        let client = format!("/v1/service-clients/{}", self.client);
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
            Cause::Blocked => ("PATCH", USER.to_owned(), json!({ "blocked": true })),
            Cause::Locked => ("POST", format!("{USER}/lock"), Value::Null),
            Cause::UserDeleted => ("DELETE", USER.to_owned(), Value::Null),
            Cause::MemberLeft => ("DELETE", MEMBER.to_owned(), Value::Null),
            Cause::OrganizationDeleted => ("DELETE", ORGANIZATION.to_owned(), Value::Null),
            Cause::ClientCut => ("PATCH", client, json!({ "permissions": [] })),
            Cause::ClientDeleted => ("DELETE", client, Value::Null),
            Cause::Audience => ("PATCH", self.audience.clone(), json!({ "permissions": [] })),
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
    pub async fn restore(&mut self, cause: Cause, at: usize, done: &Value) {
        let (method, path, body) = match cause {
            Cause::Revoked | Cause::Deleted | Cause::Expired | Cause::Patched => {
                return self.make_key(at, Owner::User).await;
            }
            Cause::Rotated | Cause::GraceOver => {
                done["value"].as_str().unwrap().clone_into(&mut self.keys[Owner::User as usize].value);
                return;
            }
            Cause::UserDeleted => return self.put_user(at).await,
            Cause::MemberLeft | Cause::OrganizationDeleted => return self.put_member(at).await,
            Cause::ClientDeleted => return self.put_client(at).await,
            Cause::Suspended => {
                ("POST", format!("/v1/api-keys/{}/resume", self.keys[Owner::User as usize].id), Value::Null)
            }
            Cause::Blocked => ("PATCH", USER.to_owned(), json!({ "blocked": false })),
            Cause::Locked => ("POST", format!("{USER}/unlock"), Value::Null),
            Cause::ClientCut => {
                ("PATCH", format!("/v1/service-clients/{}", self.client), json!({ "permissions": ["a:b"] }))
            }
            Cause::Audience => ("PATCH", self.audience.clone(), json!({ "permissions": ["a:b"] })),
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
