//! Refused values, in groups whose members an attacker must not be able to distinguish by time.

use keyswap::{
    crypto::{random::SystemEntropy, sha256_hex},
    domain::credentials::format::{ApiKeyValue, PresentedKey, Secret},
};
use serde_json::{Value, json};

use crate::support::{Key, Server, keep_alive::exchange_of};

/// Values that are refused for the same reason. Each subject is compared with the first one of its
/// group.
pub struct Subject {
    pub name: &'static str,
    pub values: Vec<PresentedValue>,
}

pub struct PresentedValue {
    pub value: String,
    pub request: Vec<u8>,
}

pub struct Group {
    pub name: &'static str,
    pub subjects: Vec<Subject>,
    /// A text that each response must contain.
    pub refusal: &'static str,
}

/// The endpoint that receives the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    Exchange,
    Validate,
    Introspect,
}

/// The lifetime of keys that expire, in seconds.
const LIFE: i64 = 600;

pub const OWN: [&str; 6] = ["unknown", "wrong", "suspended", "expired", "revoked", "owner blocked"];
const IMPORTED: [&str; 3] = ["unknown", "suspended", "revoked"];

/// `count` values of each kind, so that no credential's brute-force budget is used up and no single
/// database page dominates.
pub struct Values {
    own: Vec<Vec<String>>,
    imported: Vec<Vec<String>>,
    /// Valid keys, each with the credential id of another one.
    mismatched: Vec<(String, String)>,
}

impl Values {
    pub async fn new(server: &Server, count: usize) -> Self {
        server.manage("PUT", "/v1/users/someone", Some(json!({})), 201).await;
        let mut values =
            Self { own: vec![Vec::new(); OWN.len()], imported: vec![Vec::new(); 3], mismatched: Vec::new() };
        let soon = server.services.store.now().await.unwrap().plus(format!("{LIFE}s").parse().unwrap());
        let mut before = plain(server).await;
        for number in 0..count {
            for (kind, name) in OWN.iter().enumerate() {
                values.own[kind].push(own(server, name, number, json!(soon)).await);
            }
            for (kind, name) in IMPORTED.iter().enumerate() {
                values.imported[kind].push(imported(server, name, number).await);
            }
            let key = plain(server).await;
            values.mismatched.push((before.id, key.value.clone()));
            before = key;
        }
        server.manage("PATCH", "/v1/users/someone", Some(json!({ "blocked": true })), 200).await;
        server.advance(LIFE + 1);
        values
    }

    /// Keys issued by Keyswap, at one endpoint. Imported keys are a separate group, because their
    /// format is visible to the attacker.
    pub fn own(&self, path: Path, admin: &str) -> Group {
        let subjects = OWN.iter().zip(&self.own).map(|(name, values)| subject(name, values, path, admin));
        let (name, refusal) = match path {
            Path::Exchange => ("exchange", "invalid_token"),
            Path::Validate => ("validate", r#"{"api_key":null}"#),
            Path::Introspect => ("introspect", r#"{"active":false}"#),
        };
        Group { name, subjects: subjects.collect(), refusal }
    }

    pub fn imported(&self, admin: &str) -> Group {
        let subjects =
            IMPORTED.iter().zip(&self.imported).map(|(name, values)| subject(name, values, Path::Exchange, admin));
        Group { name: "exchange of imported keys", subjects: subjects.collect(), refusal: "invalid_token" }
    }

    /// Keys at the token endpoint, with their own client id or with another one.
    pub fn clients(&self) -> Group {
        let of_kind = |name: &'static str| {
            let at = OWN.iter().position(|one| *one == name).unwrap();
            let values = self.own[at].iter().map(|value| {
                let (id, _) = value.rsplit_once('_').unwrap();
                PresentedValue { value: value.clone(), request: token_of(id, value) }
            });
            Subject { name, values: values.collect() }
        };
        let mismatched = self
            .mismatched
            .iter()
            .map(|(id, value)| PresentedValue { value: value.clone(), request: token_of(id, value) });
        let mismatched = Subject { name: "another's id", values: mismatched.collect() };
        let subjects = vec![of_kind("unknown"), mismatched, of_kind("revoked")];
        Group { name: "token endpoint", subjects, refusal: "invalid_client" }
    }
}

fn subject(name: &'static str, values: &[String], path: Path, admin: &str) -> Subject {
    let shown =
        values.iter().map(|value| PresentedValue { value: value.clone(), request: request(path, value, admin) });
    Subject { name, values: shown.collect() }
}

fn request(path: Path, value: &str, admin: &str) -> Vec<u8> {
    let body = json!({ "value": value }).to_string();
    match path {
        Path::Exchange => exchange_of(value, ""),
        Path::Validate => post("/v1/api-keys/validate", Some(admin), "application/json", &body),
        Path::Introspect => post("/oauth/introspect", Some(admin), FORM, &format!("token={}", encoded(value))),
    }
}

fn token_of(id: &str, key: &str) -> Vec<u8> {
    post("/oauth/token", None, FORM, &format!("grant_type=client_credentials&client_id={id}&client_secret={key}"))
}

const FORM: &str = "application/x-www-form-urlencoded";

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn post(path: &str, bearer: Option<&str>, kind: &str, body: &str) -> Vec<u8> {
    let bearer = bearer.map(|bearer| format!("Authorization: Bearer {bearer}\r\n")).unwrap_or_default();
    let head = format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{bearer}Content-Type: {kind}\r\n");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

async fn plain(server: &Server) -> Key {
    server.key(json!({ "name": "a key", "owner": { "type": "none" }, "permissions": [] })).await
}

async fn own(server: &Server, kind: &str, number: usize, soon: Value) -> String {
    let mut body = json!({ "name": "a key", "owner": { "type": "none" }, "permissions": [] });
    match kind {
        "expired" => body["expires_at"] = soon,
        "owner blocked" => body["owner"] = json!({ "type": "user", "id": "someone" }),
        _ => {}
    }
    let key = server.key(body).await;
    let known = PresentedKey::parse(&key.value).unwrap();
    let secret = Secret::generate(&SystemEntropy::default()).unwrap();
    match kind {
        "unknown" => {
            let id = format!("{number:016}").parse().unwrap();
            ApiKeyValue::format(&known.prefix, &id, &secret).expose().to_owned()
        }
        "wrong" => ApiKeyValue::format(&known.prefix, &known.credential_id, &secret).expose().to_owned(),
        "suspended" | "revoked" => {
            server.step(&key, if kind == "revoked" { "revoke" } else { "suspend" }).await;
            key.value
        }
        _ => key.value,
    }
}

async fn imported(server: &Server, kind: &str, number: usize) -> String {
    let value = format!("acme.live.{kind}.{number:06}.{}", "x".repeat(20));
    let import = json!({ "sha256": sha256_hex(value.as_bytes()), "masked": "acme.live.…" });
    let body = json!({ "name": "a key", "owner": { "type": "none" }, "permissions": [], "import": import });
    if kind != "unknown" {
        let key = server.manage("POST", "/v1/api-keys", Some(body), 201).await;
        let path = format!(
            "/v1/api-keys/{}/{}",
            key["id"].as_str().unwrap(),
            if kind == "revoked" { "revoke" } else { "suspend" }
        );
        server.manage("POST", &path, None, 200).await;
    }
    value
}
