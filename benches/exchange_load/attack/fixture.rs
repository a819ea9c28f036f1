//! The keys of legitimate clients and of attackers. They are created through the API, so that an
//! earlier build with another schema can be measured as well.

use std::sync::Arc;

use keyswap::{
    crypto::random::SystemEntropy,
    domain::{
        common::derived_id::CredentialId,
        credentials::format::{ApiKeyValue, Prefix, PresentedKey, Secret},
    },
};
use serde_json::json;

use super::{Attack, attackers::AttackRequests};
use crate::{
    api::{ManagementApi, text},
    load::RequestKind,
    processes::Process,
    seed::Keys,
};

const VALID_KEYS: usize = 100;
/// Keys that are revoked, and keys that are used beyond their rate limit.
const FEW_KEYS: usize = 5;
/// The number of different invalid keys.
const INVALID_KEYS: usize = 20_000;

pub struct Fixture {
    /// The service client that owns the keys.
    client: String,
    administrator: String,
    /// The key of the service whose users have valid keys, and of the one whose users are the
    /// attackers.
    service: String,
    attacked_service: String,
    valid: Vec<IssuedKey>,
    revoked: Vec<IssuedKey>,
    limited: Vec<IssuedKey>,
}

struct IssuedKey {
    id: String,
    value: String,
}

impl ManagementApi<'_> {
    fn create_client(&self, permissions: &[&str]) -> String {
        let body = json!({ "name": "attacked", "permissions": permissions });
        text(&self.post("/v1/service-clients", &body, 201), "id").to_owned()
    }

    fn create_key(&self, client: &str, permissions: &[&str], exchanges_per_minute: Option<u32>) -> IssuedKey {
        let owner = json!({ "type": "service_client", "id": client });
        let mut body = json!({ "name": "attacked", "owner": owner, "permissions": permissions });
        if let Some(limit) = exchanges_per_minute {
            body["exchanges_per_minute"] = json!(limit);
        }
        let key = self.post("/v1/api-keys", &body, 201);
        IssuedKey { id: text(&key, "id").to_owned(), value: text(&key, "value").to_owned() }
    }
}

impl Fixture {
    pub fn create(server: &Process, administrator: &str) -> Self {
        let api = ManagementApi::new(server, administrator);
        let client = api.create_client(&[]);
        let validate = ["keyswap:validate"];
        let services = api.create_client(&validate);
        let create = |count: usize, limit: Option<u32>| {
            (0..count).map(|_| api.create_key(&client, &[], limit)).collect::<Vec<_>>()
        };
        let (valid, revoked, limited) = (create(VALID_KEYS, None), create(FEW_KEYS, None), create(FEW_KEYS, Some(1)));
        for key in &revoked {
            api.post(&format!("/v1/api-keys/{}/revoke", key.id), &json!({}), 200);
        }
        let create_service = || api.create_key(&services, &validate, None).value;
        let (service, attacked_service) = (create_service(), create_service());
        Self { client, administrator: administrator.to_owned(), service, attacked_service, valid, revoked, limited }
    }

    /// The requests of legitimate clients, in the order of `LegitimateCalls`: token requests,
    /// validations of the same keys, and an administrator who reads them.
    pub fn legitimate_requests(&self) -> [Vec<Vec<u8>>; 3] {
        let keys = Keys::from_values(&key_values(&self.valid));
        let with_each_key =
            |kind: &RequestKind| (0..keys.count()).map(|number| kind.with_value(keys.get(number))).collect::<Vec<_>>();
        let read = |key: &IssuedKey| {
            let (id, bearer) = (&key.id, &self.administrator);
            format!("GET /v1/api-keys/{id} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {bearer}\r\n\r\n")
                .into_bytes()
        };
        [
            with_each_key(&RequestKind::client_credentials(&keys, &self.client)),
            with_each_key(&RequestKind::validation(&keys, &self.service)),
            self.valid.iter().map(read).collect(),
        ]
    }

    /// The requests of an attack. `None` if it is made of connections.
    pub fn attack_requests(&self, attack: Attack) -> Option<AttackRequests> {
        let values = match attack {
            Attack::UnknownKeys | Attack::UnknownValidations => self.replace_secrets(unknown_id),
            Attack::WrongSecrets => self.replace_secrets(|key| key.credential_id),
            Attack::MalformedKeys => self.replace_secrets(unknown_id).into_iter().map(mistype).collect(),
            Attack::RevokedKeys => key_values(&self.revoked),
            Attack::SpentKeys => key_values(&self.limited),
            Attack::StalledConnections => return None,
        };
        let keys = Arc::new(Keys::from_values(&values));
        let kind = if attack == Attack::UnknownValidations {
            RequestKind::validation(&keys, &self.attacked_service)
        } else {
            RequestKind::client_credentials(&keys, &self.client)
        };
        Some(AttackRequests { keys, kind })
    }

    /// Well-formed keys with the prefix of valid ones, other secrets, and the id that `id` returns.
    fn replace_secrets(&self, id: impl Fn(&PresentedKey) -> CredentialId) -> Vec<String> {
        let entropy = SystemEntropy::default();
        let valid: Vec<_> =
            self.valid.iter().map(|key| PresentedKey::parse(&key.value).expect("a well-formed key")).collect();
        let replace = |key: &PresentedKey| format_key(&key.prefix, &id(key), &entropy);
        valid.iter().cycle().take(INVALID_KEYS).map(replace).collect()
    }
}

fn format_key(prefix: &Prefix, id: &CredentialId, entropy: &SystemEntropy) -> String {
    let secret = Secret::generate(entropy).expect("randomness");
    ApiKeyValue::format(prefix, id, &secret).expose().to_owned()
}

fn unknown_id(_: &PresentedKey) -> CredentialId {
    CredentialId::generate(&SystemEntropy::default()).expect("randomness")
}

/// Changes the last character, which belongs to the checksum.
fn mistype(mut key: String) -> String {
    let last = key.pop();
    key.push(if last == Some('0') { '1' } else { '0' });
    key
}

fn key_values(keys: &[IssuedKey]) -> Vec<String> {
    keys.iter().map(|key| key.value.clone()).collect()
}
