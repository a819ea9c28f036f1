//! A relying service as an integrator would write it: a small HTTP server that verifies tokens with
//! `jsonwebtoken` and the published keys, and makes its own authorization decisions. Its
//! configuration has only the trusted issuers and where their keys are.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use jsonwebtoken::{DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Mutex,
    task::JoinHandle,
};

/// A running service with one resource, `/projects`: GET requires `projects:read`, other methods
/// require `projects:write`.
pub struct Service {
    base: String,
    http: Client,
    fetched: Arc<AtomicUsize>,
    running: JoinHandle<()>,
}

/// The trusted issuers and where each one publishes its keys.
pub type Trusted = BTreeMap<String, KeysAt>;

pub enum KeysAt {
    Url(String),
    Known(JwkSet),
}

struct Verifier {
    audience: String,
    trusted: Trusted,
    cache: Mutex<BTreeMap<String, JwkSet>>,
    fetched: Arc<AtomicUsize>,
    http: Client,
}

impl Service {
    pub async fn start(audience: &str, trusted: Trusted) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let fetched = Arc::new(AtomicUsize::new(0));
        let verifier = Arc::new(Verifier {
            audience: audience.to_owned(),
            trusted,
            cache: Mutex::default(),
            fetched: Arc::clone(&fetched),
            http: super::client(),
        });
        let running = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let verifier = Arc::clone(&verifier);
                tokio::spawn(async move { serve(stream, &verifier).await });
            }
        });
        Self { base, http: super::client(), fetched, running }
    }

    /// Starts a service that trusts the issuer of this server.
    pub async fn trusting(server: &super::Server, audience: &str) -> Self {
        let at = KeysAt::Url(server.url("/.well-known/jwks.json"));
        Self::start(audience, BTreeMap::from([(server.services.issuer().to_owned(), at)])).await
    }

    pub async fn call(&self, method: &str, token: &str) -> Response {
        let request = self.http.request(method.parse().unwrap(), format!("{}/projects", self.base));
        request.bearer_auth(token).send().await.unwrap()
    }

    /// Like `call`, and returns status and body.
    pub async fn ask(&self, method: &str, token: &str) -> (u16, Value) {
        let answer = self.call(method, token).await;
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The number of times the service has fetched keys from an issuer.
    pub fn fetched(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Serves requests without bodies on one connection.
async fn serve(mut stream: TcpStream, verifier: &Verifier) {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => read.extend_from_slice(&buffer[..count]),
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).into_owned();
        read.drain(..end);
        let (status, body) = answer(&head, verifier).await;
        let body = body.to_string();
        let text = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn answer(head: &str, verifier: &Verifier) -> (&'static str, Value) {
    let token = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("authorization") { value.trim().strip_prefix("Bearer ") } else { None }
    });
    let Some(claims) = (match token {
        Some(token) => verifier.verify(token).await,
        None => None,
    }) else {
        return ("401 Unauthorized", json!({ "error": "Unauthorized" }));
    };
    let needed = if head.starts_with("GET ") { "projects:read" } else { "projects:write" };
    let scope = claims["scope"].as_str().unwrap_or_default();
    if scope.split(' ').any(|name| name == needed) {
        ("200 OK", json!({ "sub": claims["sub"], "iss": claims["iss"] }))
    } else {
        ("403 Forbidden", json!({ "error": "Forbidden", "missing": needed }))
    }
}

impl Verifier {
    /// Verifies a token of any trusted issuer. All tokens take this path.
    async fn verify(&self, token: &str) -> Option<Value> {
        let header = decode_header(token).ok()?;
        for (issuer, at) in &self.trusted {
            let keys = self.keys(issuer, at).await?;
            let Some(jwk) = header.kid.as_deref().and_then(|kid| keys.find(kid)) else { continue };
            let mut validation = Validation::new(header.alg);
            validation.set_audience(&[&self.audience]);
            validation.set_issuer(&[issuer]);
            validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
            return Some(decode::<Value>(token, &DecodingKey::from_jwk(jwk).ok()?, &validation).ok()?.claims);
        }
        None
    }

    async fn keys(&self, issuer: &str, at: &KeysAt) -> Option<JwkSet> {
        match at {
            KeysAt::Known(keys) => Some(keys.clone()),
            KeysAt::Url(url) => {
                let mut cache = self.cache.lock().await;
                if let Some(keys) = cache.get(issuer) {
                    return Some(keys.clone());
                }
                self.fetched.fetch_add(1, Ordering::SeqCst);
                let keys: JwkSet = self.http.get(url).send().await.ok()?.json().await.ok()?;
                cache.insert(issuer.to_owned(), keys.clone());
                Some(keys)
            }
        }
    }
}
