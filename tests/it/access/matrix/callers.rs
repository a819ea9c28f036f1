//! Every kind of caller: who it is, what it holds, and how it calls.

use keyswap::domain::access::{
    permission::TENANT_PERMISSIONS,
    policy::{ADMIN, BUILT_IN},
};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::{Server, body_of};

/// The owner of an object, or the tenant scope of a caller. The account has neither an organization
/// nor a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    pub organization: Option<&'static str>,
    pub user: Option<&'static str>,
}

pub const ACCOUNT: Owner = Owner { organization: None, user: None };
pub const OURS: Owner = Owner { organization: Some("ours"), user: None };
pub const THEIRS: Owner = Owner { organization: Some("theirs"), user: None };
/// A member of our organization without permissions.
pub const COLLEAGUE: Owner = member("colleague");
/// A member of the other organization with every permission.
pub const STRANGER: Owner = Owner { organization: Some("theirs"), user: Some("stranger") };
/// A user outside any organization.
pub const LONER: Owner = Owner { organization: None, user: Some("loner") };

/// A member of our organization.
pub const fn member(user: &'static str) -> Owner {
    Owner { organization: Some("ours"), user: Some(user) }
}

impl Owner {
    /// The owner in the body of a request for an API key.
    pub fn of_key(self) -> Value {
        if self == ACCOUNT { json!({ "type": "none" }) } else { self.of_client() }
    }

    /// The owner in the body of a request for a service client.
    pub fn of_client(self) -> Value {
        match (self.organization, self.user) {
            (None, None) => json!({ "type": "account" }),
            (Some(organization), None) => json!({ "type": "organization", "id": organization }),
            (None, Some(user)) => json!({ "type": "user", "id": user }),
            (Some(organization), Some(user)) => json!({ "type": "user", "id": user, "organization_id": organization }),
        }
    }
}

/// A product permission. It allows nothing at Keyswap.
pub const PRODUCT: &str = "projects:read";
pub const EVERY: [&str; 4] = [PRODUCT, "api-keys:manage", "user-api-keys:manage-self", "user-api-keys:manage-all"];

/// Members of our organization, each with a role of the same name: each management permission of
/// tenants alone, and all of them.
pub const MEMBERS: [(&str, &[&str]); 4] = [
    ("manage", &[PRODUCT, "api-keys:manage"]),
    ("manage-self", &[PRODUCT, "user-api-keys:manage-self"]),
    ("manage-all", &[PRODUCT, "user-api-keys:manage-all"]),
    ("every", &EVERY),
];

#[derive(Debug, Clone)]
pub enum Credential {
    Absent,
    Key(String),
    /// A token for the management audience.
    ManagementToken(String),
    /// A token for the audience of the product.
    ProductToken(String),
    Session(String),
}

#[derive(Debug, Clone)]
pub struct Caller {
    pub name: String,
    pub credential: Credential,
    pub on_behalf_of: Option<&'static str>,
    /// The permissions of the key, or of the user of a session or of a call on behalf.
    pub permissions: Vec<&'static str>,
    pub owner: Owner,
    /// The status that authentication answers below `/v1`, if it refuses the caller.
    pub refusal: Option<u16>,
}

impl Caller {
    fn new(name: impl Into<String>, credential: Credential, permissions: &[&'static str], owner: Owner) -> Self {
        let refusal = matches!(credential, Credential::Absent | Credential::ProductToken(_)).then_some(401);
        Self { name: name.into(), credential, on_behalf_of: None, permissions: permissions.to_vec(), owner, refusal }
    }

    pub fn request(&self, server: &Server, method: &Method, path: &str) -> RequestBuilder {
        let request = server.http.request(method.clone(), server.url(path));
        let request = match &self.credential {
            Credential::Absent => request,
            Credential::Key(text)
            | Credential::ManagementToken(text)
            | Credential::ProductToken(text)
            | Credential::Session(text) => request.bearer_auth(text),
        };
        match self.on_behalf_of {
            Some(user) => request.header("keyswap-on-behalf-of", user),
            None => request,
        }
    }

    pub fn is_tenant(&self) -> bool {
        self.owner != ACCOUNT
    }

    /// Whether the caller holds one of these permissions where it counts: those of tenants inside a
    /// tenant, the others in the account.
    pub fn holds(&self, permissions: &[&str]) -> bool {
        let counts = |held: &str| TENANT_PERMISSIONS.contains(&held) == self.is_tenant();
        self.permissions.iter().any(|held| *held == ADMIN || permissions.contains(held) && counts(held))
    }
}

async fn token(server: &Server, key: &str, audience: Option<&str>) -> String {
    let body = audience.map_or_else(|| json!({}), |audience| json!({ "audience": audience }));
    let answer = body_of(server.exchange_for(key, body).await, StatusCode::OK).await;
    answer["access_token"].as_str().unwrap().to_owned()
}

/// A key of a service client of the account.
async fn account_key(server: &Server, permissions: &[&str]) -> String {
    let client = json!({ "name": "a client", "permissions": permissions });
    let client = server.manage("POST", "/v1/service-clients", Some(client), 201).await;
    server.key_of(json!({ "type": "service_client", "id": client["id"] }), permissions).await.value
}

async fn session(server: &Server, name: &str, permissions: &[&'static str], owner: Owner) -> Caller {
    let body = json!({ "user_id": owner.user, "organization_id": owner.organization });
    let session = server.manage("POST", "/v1/portal-sessions", Some(body), 201).await;
    let credential = Credential::Session(session["token"].as_str().unwrap().to_owned());
    Caller::new(format!("session, {name}"), credential, permissions, owner)
}

async fn key(server: &Server, name: &str, permissions: &[&'static str], owner: Owner) -> Caller {
    let value = server.key_of(owner.of_key(), permissions).await.value;
    Caller::new(format!("key, {name}"), Credential::Key(value), permissions, owner)
}

/// A token of the key of `caller`, for `/v1` or for the product.
async fn token_of(server: &Server, caller: &Caller, is_management: bool) -> Caller {
    let Credential::Key(value) = &caller.credential else { panic!("{caller:?} has no key") };
    let (name, audience) =
        if is_management { ("management token", Some("http://keyswap.test/v1")) } else { ("product token", None) };
    let token = token(server, value, audience).await;
    let credential = if is_management { Credential::ManagementToken(token) } else { Credential::ProductToken(token) };
    Caller::new(format!("{name} of {}", caller.name), credential, &caller.permissions, caller.owner)
}

/// A call of `by` on behalf of a member with the permissions of the role of the same name.
fn on_behalf(by: &Caller, user: &'static str, header: &'static str, refusal: Option<u16>) -> Caller {
    let (_, permissions) = MEMBERS.iter().find(|(name, _)| *name == user).unwrap();
    let name = format!("{} on behalf of {user}", by.name);
    let caller = Caller::new(name, by.credential.clone(), permissions, member(user));
    Caller { on_behalf_of: Some(header), refusal, ..caller }
}

/// The callers of the account: the administrator, each management permission alone, and the
/// permissions of tenants, which have no effect there.
async fn account_callers(server: &Server) -> Vec<Caller> {
    let mut all = Vec::new();
    for permission in BUILT_IN.map(|(name, _)| name) {
        if TENANT_PERMISSIONS.contains(&permission) {
            continue;
        }
        let (name, permissions) = if permission == ADMIN {
            ("administrator".to_owned(), vec![ADMIN, PRODUCT])
        } else {
            (format!("key, {permission}"), vec![permission])
        };
        let value = account_key(server, &permissions).await;
        all.push(Caller::new(name, Credential::Key(value), &permissions, ACCOUNT));
    }
    let value = account_key(server, &EVERY).await;
    all.push(Caller::new("key of the account, every permission of tenants", Credential::Key(value), &EVERY, ACCOUNT));
    let administrator = all[0].clone();
    assert_eq!(administrator.name, "administrator");
    for is_management in [true, false] {
        all.push(token_of(server, &administrator, is_management).await);
    }
    all
}

/// The callers inside our organization.
async fn tenant_callers(server: &Server) -> Vec<Caller> {
    let mut all = vec![session(server, "no permission", &[], COLLEAGUE).await];
    for (user, permissions) in MEMBERS {
        all.push(session(server, user, permissions, member(user)).await);
        all.push(key(server, &format!("organization's, {user}"), permissions, OURS).await);
    }
    for (user, permissions) in [MEMBERS[1], MEMBERS[3]] {
        all.push(key(server, &format!("personal, {user}"), permissions, member(user)).await);
    }
    let [organization, personal] = [OURS, member("every")].map(|owner| {
        let is_key = |caller: &&Caller| caller.owner == owner && matches!(caller.credential, Credential::Key(_));
        all.iter().rfind(is_key).unwrap().clone()
    });
    for (key, is_management) in [(&organization, true), (&personal, true), (&personal, false)] {
        all.push(token_of(server, key, is_management).await);
    }
    all
}

/// Every caller, with those of the other organization, for whom its objects are their own.
pub async fn callers(server: &Server) -> Vec<Caller> {
    let mut all = account_callers(server).await;
    let by_name = |name: &str| all.iter().find(|caller| caller.name == name).unwrap().clone();
    let [administrator, keys, directory] =
        ["administrator", "key, keyswap:keys", "key, keyswap:directory"].map(by_name);
    let every = "every; organization=ours";
    let mut on_behalf_of = vec![
        on_behalf(&administrator, "every", every, None),
        on_behalf(&keys, "every", every, None),
        on_behalf(&directory, "every", every, Some(403)),
    ];
    let tenant = tenant_callers(server).await;
    let session_of_colleague = &tenant[0];
    on_behalf_of.push(on_behalf(session_of_colleague, "every", every, Some(403)));
    all.extend(on_behalf_of);
    all.extend(tenant);
    let alone = [PRODUCT, "user-api-keys:manage-self"];
    all.push(session(server, "outside any organization", &alone, LONER).await);
    all.push(key(server, "personal, outside any organization", &alone, LONER).await);
    all.push(session(server, "of the other organization", &EVERY, STRANGER).await);
    all.push(key(server, "of the other organization", &EVERY, THEIRS).await);
    all.push(Caller::new("no credential", Credential::Absent, &[], ACCOUNT));
    all
}
