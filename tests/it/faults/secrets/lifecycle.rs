//! The lifecycle of secrets: created, presented in every correct and incorrect way, replaced and
//! revoked.

use base64::{Engine, engine::general_purpose::STANDARD};
use keyswap::{
    crypto::{random::SystemEntropy, sha256_hex},
    domain::credentials::format::{ApiKeyValue, PresentedKey, Secret},
};
use serde_json::{Value, json};

use super::{Flow, MARKER};
use crate::{
    faults::{
        misplaced_keys,
        process::{Deployment, LONG, Running, until},
    },
    webhooks::receiver::{Receiver, Reply},
};

/// Calls the management API and asserts success.
pub async fn manage(server: &Running, bearer: &str, method: &str, path: &str, body: Option<Value>) -> Value {
    let answer = server.call(bearer, method, path, body).await;
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{method} {path}: {status} {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

pub fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_else(|| panic!("there is no {name}: {object}"))
}

impl Flow {
    pub async fn run(&mut self, server: &Running, deployment: &Deployment) {
        let admin = deployment.admin();
        self.watch_key("the administrator's key", &admin);
        let permission = json!({ "assignable_to": ["user", "service_client"] });
        manage(server, &admin, "PUT", "/v1/permissions/a:b", Some(permission)).await;
        let receiver = Receiver::new(Reply::Status(204));
        let hook = self.webhooks(server, &admin, &receiver).await;
        let (id, keys) = self.keys(server, &admin).await;
        self.imported(server, &admin).await;
        self.clients(server, &admin).await;
        self.portal(server, &admin).await;
        self.console(server, &admin).await;
        self.mistakes(server, &admin, &id, &keys).await;
        self.revocations(server, &admin).await;
        self.deliveries(server, &admin, &hook, &receiver).await;
        let key = format!("/v1/api-keys/{id}");
        for path in [
            "/v1/api-keys",
            "/v1/events?limit=100",
            "/v1/permissions",
            "/v1/audiences",
            "/v1/webhooks",
            "/v1/signing-keys",
            "/v1/users",
            "/v1/organizations",
            "/v1/service-clients",
            "/v1/access-records",
            "/v1/overview",
            "/metrics",
            &key,
        ] {
            let answer = server.call(&admin, "GET", path, None).await;
            assert_eq!(answer.status(), 200, "{path}");
            self.add_response(&format!("GET {path}"), answer).await;
        }
    }

    /// Creates a key, replays the request, and rotates the key. Returns its id and its two values.
    async fn keys(&mut self, server: &Running, admin: &str) -> (String, [String; 2]) {
        let body = json!({ "name": MARKER, "owner": { "type": "none" }, "permissions": ["a:b"] });
        let create = || {
            let request = server.http.post(server.url("/v1/api-keys")).bearer_auth(admin);
            request.header("idempotency-key", "once").json(&body).send()
        };
        let made: Value = create().await.unwrap().json().await.unwrap();
        let (id, old) = (text(&made, "id"), text(&made, "value"));
        self.watch_key("a created key", old);
        let replayed = create().await.unwrap();
        assert_eq!(replayed.headers()["idempotency-replayed"], "true");
        self.add_response("a replay", replayed).await;
        let path = format!("/v1/api-keys/{id}");
        let rotate = format!("{path}/rotate");
        let given_up = manage(server, admin, "POST", &rotate, Some(json!({ "grace": "1h" }))).await;
        self.watch_key("a key whose rotation was cancelled", text(&given_up, "value"));
        let cancelled = server.call(admin, "POST", &format!("{path}/cancel-rotation"), None).await;
        assert_eq!(cancelled.status(), 200);
        self.add_response("cancel-rotation", cancelled).await;
        let rotated = manage(server, admin, "POST", &rotate, Some(json!({ "grace": "1h" }))).await;
        let new = text(&rotated, "value");
        self.watch_key("a rotated key", new);
        for key in [old, new] {
            self.present_correctly(server, admin, id, key).await;
        }
        (id.to_owned(), [old.to_owned(), new.to_owned()])
    }

    /// Exchanges the key in every form, and lets services ask about the key and about a token.
    async fn present_correctly(&mut self, server: &Running, admin: &str, id: &str, key: &str) {
        let mut token = String::new();
        for (form, request) in misplaced_keys::forms(server, id, key) {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200, "{form}");
            let answer: Value = answer.json().await.unwrap();
            self.watch_answer(&answer);
            text(&answer, "access_token").clone_into(&mut token);
        }
        for value in [key, &token] {
            self.present_to_services(server, admin, value).await;
        }
    }

    /// Sends every request that services make about a value. No response contains the value,
    /// whether or not it is active.
    pub async fn present_to_services(&mut self, server: &Running, admin: &str, value: &str) {
        for (what, request) in misplaced_keys::presented_values::presented_forms(server, admin, value) {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200, "{what}");
            self.add_response(&what, answer).await;
        }
    }

    /// An imported key, of which Keyswap has received only the digest.
    async fn imported(&mut self, server: &Running, admin: &str) {
        let secret = Secret::generate(&SystemEntropy::default()).unwrap();
        let any = ApiKeyValue::format(&"ks".parse().unwrap(), &"0123456789abcdef".parse().unwrap(), &secret);
        let random = &any.expose()[any.expose().len() - 38..];
        let value = format!("acme.live.{random}");
        let digest = sha256_hex(value.as_bytes());
        self.searcher.watch("an imported key", random.as_bytes());
        self.searcher.watch("the digest of an imported key", digest.as_bytes());
        let raw: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&digest[2 * at..2 * at + 2], 16).unwrap()).collect();
        self.searcher.watch("the digest of an imported key", &raw);
        let import = json!({ "sha256": digest, "masked": "acme.live.…" });
        let body = json!({ "name": "imported", "owner": { "type": "none" }, "permissions": ["a:b"], "import": import });
        let made = server.call(admin, "POST", "/v1/api-keys", Some(body.clone())).await;
        assert_eq!(made.status(), 201);
        let made = self.add_response("the import of a key", made).await;
        let made: Value = serde_json::from_str(&made).unwrap();
        self.present_correctly(server, admin, text(&made, "id"), &value).await;
        let again = server.call(admin, "POST", "/v1/api-keys", Some(body)).await;
        assert!(again.status().is_client_error());
        self.add_response("the same import again", again).await;
        self.present_to_services(server, admin, &value[..value.len() - 1]).await;
    }

    /// Creates a service client with its first key, replays the request, and calls the management
    /// API with the key and with a token.
    async fn clients(&mut self, server: &Running, admin: &str) {
        let first = json!({ "name": "first", "permissions": ["keyswap:keys"] });
        let body = json!({ "name": "a client", "permissions": ["keyswap:keys"], "api_key": first });
        let create = || {
            let request = server.http.post(server.url("/v1/service-clients")).bearer_auth(admin);
            request.header("idempotency-key", "a client once").json(&body).send()
        };
        let made: Value = create().await.unwrap().json().await.unwrap();
        let key = text(&made["api_key"], "value");
        self.watch_key("a client's first key", key);
        self.add_response("a replay of a client", create().await.unwrap()).await;
        let audience = json!({ "audience": "http://keyswap.test/v1" });
        let answer = manage(server, key, "POST", "/v1/exchange", Some(audience)).await;
        self.watch_answer(&answer);
        for bearer in [key, text(&answer, "access_token")] {
            let listed = server.call(bearer, "GET", "/v1/api-keys", None).await;
            assert_eq!(listed.status(), 200);
            self.add_response("a client's list", listed).await;
        }
        let by_header = server.http.get(server.url("/v1/api-keys")).header("x-api-key", key).send().await.unwrap();
        assert_eq!(by_header.status(), 200);
        self.add_response("a client's list by X-API-Key", by_header).await;
    }

    /// Creates a webhook, replays the request, and rotates its secret. Returns the webhook's path.
    async fn webhooks(&mut self, server: &Running, admin: &str, receiver: &Receiver) -> String {
        let body = json!({ "url": receiver.url });
        let create = || {
            let request = server.http.post(server.url("/v1/webhooks")).bearer_auth(admin);
            request.header("idempotency-key", "a hook once").json(&body).send()
        };
        let made: Value = create().await.unwrap().json().await.unwrap();
        let path = format!("/v1/webhooks/{}", text(&made, "id"));
        self.watch_webhook_secret("a webhook's secret", text(&made, "secret"));
        self.add_response("a replay of a webhook", create().await.unwrap()).await;
        let rotated = manage(server, admin, "POST", &format!("{path}/rotate-secret"), Some(json!({}))).await;
        self.watch_webhook_secret("a webhook's new secret", text(&rotated, "secret"));
        path
    }

    fn watch_webhook_secret(&mut self, name: &str, secret: &str) {
        let secret = secret.strip_prefix("whsec_").unwrap();
        self.searcher.watch(name, secret.as_bytes());
        self.searcher.watch(name, &STANDARD.decode(secret).unwrap());
    }

    /// Records the deliveries and the delivery log.
    async fn deliveries(&mut self, server: &Running, admin: &str, hook: &str, receiver: &Receiver) {
        let tested = manage(server, admin, "POST", &format!("{hook}/test"), None).await;
        assert_eq!(tested["delivered"], true, "{tested}");
        let path = format!("{hook}/deliveries?limit=100");
        until("an event is delivered", LONG, || async {
            let log = manage(server, admin, "GET", &path, None).await;
            log["data"].as_array().unwrap().iter().any(|one| one["state"] == "delivered")
        })
        .await;
        for received in receiver.all() {
            self.add_output("a delivery", format!("{} {:?}", received.line, received.headers).as_bytes());
            self.add_output("a delivery", &received.body);
        }
        self.add_response("GET deliveries", server.call(admin, "GET", &path, None).await).await;
        assert_eq!(server.call(admin, "DELETE", hook, None).await.status(), 204);
    }

    async fn mistakes(&mut self, server: &Running, admin: &str, id: &str, keys: &[String; 2]) {
        let new = keys[1].as_str();
        let presented = PresentedKey::parse(new).unwrap();
        let other = Secret::generate(&SystemEntropy::default()).unwrap();
        let wrong = ApiKeyValue::format(&presented.prefix, &presented.credential_id, &other).expose().to_owned();
        self.watch_key("a wrong key", &wrong);
        let path = format!("/v1/api-keys/{id}");
        for key in [keys[0].as_str(), new, &wrong, &new[..new.len() - 1], &new.to_lowercase()] {
            let mut all = misplaced_keys::misplaced_forms(server, admin, &path, key);
            if key != new && key != keys[0] {
                all.extend(misplaced_keys::forms(server, id, key));
                self.present_to_services(server, admin, key).await;
            }
            for (mistake, request) in all {
                let answer = request.send().await.unwrap();
                let status = answer.status();
                assert!(!status.is_success() || mistake.ends_with("(harmless)"), "{mistake}: {status}");
                assert_ne!(status, 500, "{mistake}");
                self.add_response(&mistake, answer).await;
            }
        }
    }

    /// Revokes a token and then its key, once as their holder and once as the administrator, and
    /// asks about each afterwards.
    async fn revocations(&mut self, server: &Running, admin: &str) {
        for by_admin in [false, true] {
            let (_, key) = server.key(admin).await;
            self.watch_key("a revoked key", &key);
            let answer: Value = server.exchange(&key).await.json().await.unwrap();
            self.watch_answer(&answer);
            let bearer = if by_admin { admin } else { &key };
            for value in [text(&answer, "access_token"), &key] {
                let revoke = server.http.post(server.url("/oauth/revoke")).bearer_auth(bearer);
                let form = format!("token={value}&token_type_hint=access_token");
                let revoke = revoke.header("content-type", "application/x-www-form-urlencoded").body(form);
                let revoked = revoke.send().await.unwrap();
                assert_eq!(revoked.status(), 200);
                self.add_response("a revocation", revoked).await;
                self.present_to_services(server, admin, value).await;
            }
            self.add_response("an exchange of a revoked key", server.exchange(&key).await).await;
        }
    }
}
