//! The objects of an organization and of its member "maker", how they end, and the callers.

use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::{Key, Server, body_of};

/// What happened to the objects before the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Nothing,
    KeysRevoked,
    KeysDeleted,
    ClientsDeleted,
    MakerBlocked,
    MakerLeft,
    MakerLeftAndBack,
    MakerDeleted,
    MakerDeletedAndBack,
    OrganizationDeletedAndBack,
    KeysRevokedAndOrganizationBack,
    KeysRevokedAndMakerBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Administrator,
    /// A service client with `keyswap:keys`.
    KeyManager,
    /// A portal session of a member with `api-keys:manage`.
    Manager,
    ManagerOnBehalf,
    OrganizationKey,
    /// A portal session of a member with `user-api-keys:manage-all`.
    Revoker,
    /// A portal session of the maker in the organization, with `user-api-keys:manage-self`.
    Creator,
    MakerOnBehalf,
    MakerOutside,
}

const CALLERS: [Who; 9] = [
    Who::Administrator,
    Who::KeyManager,
    Who::Manager,
    Who::ManagerOnBehalf,
    Who::OrganizationKey,
    Who::Revoker,
    Who::Creator,
    Who::MakerOnBehalf,
    Who::MakerOutside,
];

pub struct Object {
    pub collection: &'static str,
    pub id: String,
    pub what: &'static str,
    /// The body of the request that created it on behalf of the maker, and its `Idempotency-Key`.
    pub replay: Option<Value>,
    pub id_key: String,
}

pub struct Cast {
    pub end: End,
    credentials: Vec<(Who, String, Option<String>)>,
}

impl Cast {
    pub fn callers(&self) -> Vec<Who> {
        self.credentials.iter().map(|(who, ..)| *who).collect()
    }

    pub fn request(&self, server: &Server, who: Who, method: &str, path: &str) -> RequestBuilder {
        let (_, credential, on_behalf) = self.credentials.iter().find(|(one, ..)| *one == who).unwrap();
        let request = server.http.request(method.parse().unwrap(), server.url(path)).bearer_auth(credential);
        match on_behalf {
            Some(user) => request.header("keyswap-on-behalf-of", user),
            None => request,
        }
    }
}

pub fn unknown_id(collection: &str) -> &'static str {
    match collection {
        "/v1/api-keys" => "key_01JD8V3T6Q4Z9R7M2N5K8P1XYA",
        "/v1/service-clients" => "svc_01JD8V3T6Q4Z9R7M2N5K8P1XYA",
        "/v1/access-records" => "rec_01JD8V3T6Q4Z9R7M2N5K8P1XYA",
        "/v1/webhooks" => "whk_01JD8V3T6Q4Z9R7M2N5K8P1XYA",
        other => panic!("{other}"),
    }
}

const MANAGER: [&str; 2] = ["projects:read", "api-keys:manage"];

/// The names of one stage: its organization and its members.
struct Names {
    organization: String,
    manager: String,
    revoker: String,
    maker: String,
}

fn names(end: End) -> Names {
    let stage = format!("{end:?}").to_lowercase();
    let name = |of: &str| format!("{of}-{stage}");
    Names { organization: name("org"), manager: name("manager"), revoker: name("revoker"), maker: name("maker") }
}

async fn directory(server: &Server, names: &Names) {
    server.organization(&names.organization).await;
    for (user, role) in [(&names.manager, "manager"), (&names.revoker, "revoker"), (&names.maker, "maker")] {
        server.user(user, &["maker"]).await;
        server.member(&names.organization, user, &[role]).await;
    }
}

/// Creates the objects of a stage.
pub async fn objects(server: &Server, end: End) -> Vec<Object> {
    server.offer_management_permissions().await;
    server.permissions_for_all(&["projects:read"]).await;
    server.role("manager", &MANAGER).await;
    server.role("revoker", &["user-api-keys:manage-all"]).await;
    server.role("maker", &["projects:read", "user-api-keys:manage-self"]).await;
    server.role("maker-manager", &["projects:read", "user-api-keys:manage-self", "api-keys:manage"]).await;
    let names = names(end);
    directory(server, &names).await;
    // While the objects are created, the maker may create those of the organization.
    server.member(&names.organization, &names.maker, &["maker-manager"]).await;
    let inside = format!("{}; organization={}", names.maker, names.organization);
    let organization = json!({ "type": "organization", "id": names.organization });
    let maker = json!({ "type": "user", "id": names.maker, "organization_id": names.organization });
    let mut all = Vec::new();
    for (what, owner) in [("client of the organization", &organization), ("client of the maker", &maker)] {
        let body = json!({ "name": what, "owner": owner, "permissions": ["projects:read"] });
        all.push(create(server, Some(&inside), "/v1/service-clients", what, body).await);
    }
    let outside = json!({ "name": "a client", "owner": { "type": "user" }, "permissions": ["projects:read"] });
    all.push(create(server, Some(&names.maker), "/v1/service-clients", "client outside", outside).await);
    let of_client = |client: &Object| json!({ "type": "service_client", "id": client.id });
    let clients = [of_client(&all[0]), of_client(&all[1])];
    let key = |what: &str, owner: &Value| json!({ "name": what, "owner": owner, "permissions": ["projects:read"] });
    for (what, owner, by) in [
        ("key of the organization", &organization, None),
        ("key of the organization by the maker", &organization, Some(&inside)),
        ("key of the maker", &maker, Some(&inside)),
        ("key of the organization's client", &clients[0], Some(&inside)),
        ("key of the maker's client", &clients[1], Some(&inside)),
        ("key outside", &json!({ "type": "user" }), Some(&names.maker)),
        ("key without an owner", &json!({ "type": "none" }), None),
    ] {
        all.push(create(server, by.map(String::as_str), "/v1/api-keys", what, key(what, owner)).await);
    }
    let record = json!({
        "name": "a record", "principals": [{ "type": "user", "id": names.maker }],
        "statements": [{ "roles": ["maker"], "resources": [format!("/projects/{}/*", names.maker)] }],
    });
    all.push(create(server, Some(&inside), "/v1/access-records", "record", record.clone()).await);
    all.push(create(server, Some(&names.maker), "/v1/access-records", "record outside", record).await);
    let webhook = json!({ "url": "https://example.com/hook", "organization_id": names.organization });
    all.push(create(server, None, "/v1/webhooks", "webhook", webhook).await);
    server.member(&names.organization, &names.maker, &["maker"]).await;
    all
}

async fn create(server: &Server, by: Option<&str>, path: &'static str, what: &'static str, body: Value) -> Object {
    let id_key = format!("{what} {}", by.unwrap_or_default()).replace(|at: char| !at.is_ascii_alphanumeric(), "-");
    let mut request = server.post(path).bearer_auth(&server.admin).json(&body);
    if let Some(by) = by {
        request = request.header("keyswap-on-behalf-of", by).header("idempotency-key", &id_key);
    }
    let made = body_of(request.send().await.unwrap(), StatusCode::CREATED).await;
    let is_inside = by.is_some_and(|by| by.contains("organization="));
    Object {
        collection: path,
        id: made["id"].as_str().unwrap().to_owned(),
        what,
        replay: is_inside.then_some(body),
        id_key,
    }
}

/// Ends the objects, and then authenticates the callers that still exist.
pub async fn end(server: &Server, end: End, objects: &[Object]) -> Cast {
    let names = names(end);
    let member = format!("/v1/organizations/{}/members/{}", names.organization, names.maker);
    let (user, organization) =
        (format!("/v1/users/{}", names.maker), format!("/v1/organizations/{}", names.organization));
    if matches!(end, End::KeysRevoked | End::KeysRevokedAndOrganizationBack | End::KeysRevokedAndMakerBack) {
        for key in objects.iter().filter(|object| object.collection == "/v1/api-keys") {
            server.manage("POST", &format!("/v1/api-keys/{}/revoke", key.id), None, 200).await;
        }
    }
    let delete = async |path: &str| server.manage("DELETE", path, None, 204).await;
    match end {
        End::Nothing | End::KeysRevoked => {}
        End::KeysDeleted | End::ClientsDeleted => {
            let of = if end == End::KeysDeleted { "/v1/api-keys" } else { "/v1/service-clients" };
            for object in objects.iter().filter(|object| object.collection == of) {
                delete(&format!("{of}/{}", object.id)).await;
            }
        }
        End::MakerBlocked => {
            server.manage("PATCH", &user, Some(json!({ "blocked": true })), 200).await;
        }
        End::MakerLeft | End::MakerLeftAndBack => {
            delete(&member).await;
        }
        End::MakerDeleted | End::MakerDeletedAndBack | End::KeysRevokedAndMakerBack => {
            delete(&user).await;
        }
        End::OrganizationDeletedAndBack | End::KeysRevokedAndOrganizationBack => {
            delete(&organization).await;
        }
    }
    if matches!(
        end,
        End::MakerLeftAndBack
            | End::MakerDeletedAndBack
            | End::OrganizationDeletedAndBack
            | End::KeysRevokedAndOrganizationBack
            | End::KeysRevokedAndMakerBack
    ) {
        directory(server, &names).await;
    }
    cast(server, end, &names).await
}

async fn cast(server: &Server, end: End, names: &Names) -> Cast {
    let keys = server.client_key(&["keyswap:keys"]).await;
    let owner = json!({ "type": "organization", "id": names.organization });
    let of_organization: Key = server.key_of(owner, &MANAGER).await;
    let mut credentials = vec![
        (Who::Administrator, server.admin.clone(), None),
        (Who::KeyManager, keys.value, None),
        (Who::OrganizationKey, of_organization.value, None),
    ];
    let inside = |user: &str| format!("{user}; organization={}", names.organization);
    credentials.push((Who::ManagerOnBehalf, server.admin.clone(), Some(inside(&names.manager))));
    let maker_is_inside = !matches!(end, End::MakerBlocked | End::MakerLeft | End::MakerDeleted);
    if maker_is_inside {
        credentials.push((Who::MakerOnBehalf, server.admin.clone(), Some(inside(&names.maker))));
    }
    let maker_exists = !matches!(end, End::MakerBlocked | End::MakerDeleted);
    for (who, user, is_inside, exists) in [
        (Who::Manager, &names.manager, true, true),
        (Who::Revoker, &names.revoker, true, true),
        (Who::Creator, &names.maker, true, maker_is_inside),
        (Who::MakerOutside, &names.maker, false, maker_exists),
    ] {
        if exists {
            let body = json!({ "user_id": user, "organization_id": is_inside.then_some(&names.organization) });
            let session = server.manage("POST", "/v1/portal-sessions", Some(body), 201).await;
            credentials.push((who, session["token"].as_str().unwrap().to_owned(), None));
        }
    }
    credentials.sort_by_key(|(who, ..)| *who);
    assert!(credentials.iter().all(|(who, ..)| CALLERS.contains(who)));
    Cast { end, credentials }
}
