//! A key, everything that is derived from it and from its user, and what still works of it.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Key, Server, body_of, calls::call};

const MANAGEMENT: &str = "http://keyswap.test/v1";

/// What opens the sessions of a fixture.
#[derive(Debug, Clone, Copy)]
pub enum Opener {
    Key,
    ManagementToken,
}

/// A session as the back end and the browser hold it.
pub struct Opened {
    pub id: String,
    pub token: String,
    pub code: String,
}

/// Everything that is derived from `opener`, and from a user in an organization.
pub struct Derived {
    pub user: String,
    pub organization: String,
    pub role: String,
    /// The key that made the opener.
    pub maker: Key,
    /// The key of a back end, which opened the sessions.
    pub opener: Key,
    pub session: Opened,
    /// The cookie of a page session that the code of `session` opened.
    pub page: String,
    /// Another session, whose code is not spent.
    pub unspent: Opened,
    /// Made with the opener.
    child: Key,
    /// Made in the session: a personal key, and a key of the organization.
    personal: Key,
    of_organization: Key,
    management_token: String,
    product_token: String,
}

/// The catalog and the management permissions of the fixtures.
const BACK_END: [&str; 2] = ["keyswap:keys", "projects:read"];

impl Derived {
    pub async fn new(server: &Server, name: &str, opener: Opener) -> Self {
        let maker = server.key_of(json!({ "type": "none" }), &["keyswap:admin"]).await;
        Self::made_by(server, &maker, name, opener).await
    }

    pub async fn made_by(server: &Server, maker: &Key, name: &str, opener: Opener) -> Self {
        let [user, organization, role] = ["user", "organization", "role"].map(|kind| format!("{kind}-{name}"));
        server.permissions_for_all(&["projects:read"]).await;
        server.role(&role, &["projects:read", "user-api-keys:manage-self", "api-keys:manage"]).await;
        server.organization(&organization).await;
        server.user(&user, &[]).await;
        server.member(&organization, &user, &[&role]).await;
        let client = json!({ "name": "a back end", "permissions": BACK_END });
        let client = made(server, &maker.value, "/v1/service-clients", client).await;
        let owner = json!({ "type": "service_client", "id": client["id"] });
        let opener_key =
            make_key(server, &maker.value, json!({ "name": "k", "owner": owner, "permissions": BACK_END })).await;
        let management_token = token(server, &opener_key, json!({ "audience": MANAGEMENT })).await;
        let credential = match opener {
            Opener::Key => &opener_key.value,
            Opener::ManagementToken => &management_token,
        };
        let session = open(server, credential, &user, &organization).await;
        let page = cookie(server, &session.code).await;
        let unspent = open(server, credential, &user, &organization).await;
        let product = ["projects:read"];
        let child = json!({ "name": "k", "owner": { "type": "none" }, "permissions": product });
        let (own, whole) = (json!({ "type": "user" }), json!({ "type": "organization" }));
        Self {
            child: make_key(server, credential, child).await,
            personal: make_key(server, &session.token, json!({ "name": "k", "owner": own, "permissions": product }))
                .await,
            of_organization: make_key(
                server,
                &session.token,
                json!({ "name": "k", "owner": whole, "permissions": product }),
            )
            .await,
            product_token: token(server, &opener_key, json!({})).await,
            user,
            organization,
            role,
            maker: maker.clone(),
            opener: opener_key,
            session,
            page,
            unspent,
            management_token,
        }
    }

    /// A management token of the opener with one permission, or a token for the product.
    pub async fn reduced_token(&self, server: &Server, permission: &str) -> String {
        let audience = if permission.starts_with("keyswap:") { MANAGEMENT } else { "http://keyswap.test" };
        token(server, &self.opener, json!({ "audience": audience, "scope": permission })).await
    }

    /// What works: `W`, or `R` if it is refused, or `F` if it is accepted and lacks the permission.
    /// In order: the session, its page session and an unspent code; a key made with the opener, and
    /// a personal key and a key of the organization made in the session; the management token and
    /// the product token of the opener.
    pub async fn seen(&self, server: &Server) -> String {
        const CURRENT: &str = "/v1/portal-sessions/current";
        let keys = async |key: &Key| letter(server.exchange(&key.value).await.status());
        let page = server.get(CURRENT).header("cookie", &self.page).header("keyswap-page", "1").send().await.unwrap();
        let validated = json!({ "value": self.product_token });
        let validated = server.manage("POST", "/v1/api-keys/validate", Some(validated), 200).await;
        let letters = [
            letter(call(server, &self.session.token, "GET", CURRENT, None, &[]).await.status()),
            letter(page.status()),
            letter(spend(server, &self.unspent.code).await.status()),
            ' ',
            keys(&self.child).await,
            keys(&self.personal).await,
            keys(&self.of_organization).await,
            ' ',
            letter(call(server, &self.management_token, "GET", "/v1/api-keys", None, &[]).await.status()),
            if validated["api_key"].is_null() { 'R' } else { 'W' },
        ];
        letters.into_iter().collect()
    }
}

fn letter(status: StatusCode) -> char {
    match status.as_u16() {
        200 | 204 => 'W',
        401 => 'R',
        403 => 'F',
        _ => '?',
    }
}

pub async fn open(server: &Server, credential: &str, user: &str, organization: &str) -> Opened {
    let body = json!({ "user_id": user, "organization_id": organization });
    let opened = made(server, credential, "/v1/portal-sessions", body).await;
    let token = opened["token"].as_str().unwrap().to_owned();
    let code = opened["url"].as_str().unwrap().split_once("#code=").unwrap().1.to_owned();
    Opened { id: format!("pss_{}", &token[4..20]), token, code }
}

async fn spend(server: &Server, code: &str) -> reqwest::Response {
    server.post("/portal/sign-in").header("keyswap-page", "1").json(&json!({ "code": code })).send().await.unwrap()
}

/// Spends a code and returns the cookie of the page session.
async fn cookie(server: &Server, code: &str) -> String {
    let answer = spend(server, code).await;
    answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

async fn token(server: &Server, key: &Key, asked: Value) -> String {
    let body = body_of(server.exchange_for(&key.value, asked).await, StatusCode::OK).await;
    body["access_token"].as_str().unwrap().to_owned()
}

async fn made(server: &Server, credential: &str, path: &str, body: Value) -> Value {
    body_of(call(server, credential, "POST", path, Some(body), &[]).await, StatusCode::CREATED).await
}

async fn make_key(server: &Server, credential: &str, body: Value) -> Key {
    let made = made(server, credential, "/v1/api-keys", body).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Key { id: text(&made["id"]), value: text(&made["value"]), client: text(&made["owner"]["id"]) }
}
