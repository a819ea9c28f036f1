//! Verifies tokens of Keyswap from standard input: verifying ISSUER AUDIENCE PERMISSION [RESOURCE]
#![expect(clippy::print_stdout, reason = "it prints whether it accepts a token")]

use std::{collections::HashMap, error::Error, io::Read as _, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use flate2::read::ZlibDecoder;
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{Jwk, JwkSet},
};
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};

const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256, Algorithm::PS256];
/// How long keys are used.
const KEEP: Duration = Duration::from_secs(300);
/// How often, at most, an unknown `kid` has them fetched.
const COOL_DOWN: Duration = Duration::from_secs(30);

type VerifyError = Box<dyn Error + Send + Sync>;

/// One for the whole service: it caches the keys and the lists.
struct Verifier {
    issuer: String,
    audience: String,
    http: reqwest::Client,
    /// Locked during a fetch, so that concurrent requests share it.
    keys: Mutex<Keys>,
    lists: Mutex<HashMap<String, List>>,
}

#[derive(Default)]
struct Keys {
    set: Option<JwkSet>,
    until: Option<Instant>,
    asked: Option<Instant>,
}

struct List {
    until: Instant,
    bits: usize,
    packed: Vec<u8>,
}

impl Verifier {
    fn new(issuer: String, audience: String) -> Result<Self, VerifyError> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5));
        let http = http.redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { issuer, audience, http, keys: Mutex::default(), lists: Mutex::default() })
    }

    /// The claims of a token that is in force and has the permission: on the resource if there is one, otherwise everywhere.
    async fn verify(&self, token: &str, permission: &str, resource: Option<&str>) -> Result<Value, VerifyError> {
        let claims = self
            .decode(token, "at+jwt", |validation| {
                validation.set_audience(&[&self.audience]);
                validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
            })
            .await?;
        match resource {
            Some(resource) if !grants(&claims, permission, resource) => {
                return Err("not granted on the resource".into());
            }
            None if !claims["scope"].as_str().unwrap_or("").split(' ').any(|one| one == permission) => {
                return Err("the scope is missing".into());
            }
            Some(_) | None => {}
        }
        let place = &claims["status"]["status_list"];
        if !place.is_null() && self.status(place).await? != 0 {
            return Err("revoked or suspended".into());
        }
        Ok(claims)
    }

    async fn decode(&self, token: &str, typ: &str, more: impl FnOnce(&mut Validation)) -> Result<Value, VerifyError> {
        let header = decode_header(token)?;
        // jsonwebtoken looks at neither.
        if header.typ.as_deref() != Some(typ) || header.crit.is_some() {
            return Err(format!("not of type {typ}").into());
        }
        let key = self.key(&header.kid.ok_or("no `kid`")?).await?;
        let algorithm = Algorithm::try_from(key.common.key_algorithm.ok_or("a key without an algorithm")?)?;
        if !ALGORITHMS.contains(&algorithm) {
            return Err("an algorithm that is not on the list".into());
        }
        let mut validation = Validation::new(algorithm); // the one that the key is for, whatever the token says
        validation.leeway = 30;
        validation.set_issuer(&[&self.issuer]);
        more(&mut validation);
        Ok(decode::<Value>(token, &DecodingKey::from_jwk(&key)?, &validation)?.claims)
    }

    async fn key(&self, kid: &str) -> Result<Jwk, VerifyError> {
        let (mut keys, now) = (self.keys.lock().await, Instant::now());
        let is_known = keys.set.as_ref().is_some_and(|set| set.find(kid).is_some());
        let is_old = keys.until.is_none_or(|until| now >= until);
        if is_old || !is_known && keys.asked.is_none_or(|asked| now >= asked + COOL_DOWN) {
            keys.asked = Some(now);
            let text = self.get(&format!("{}/.well-known/jwks.json", self.issuer)).await?;
            keys.set = Some(serde_json::from_str(&text)?);
            keys.until = Some(now + KEEP);
        }
        let key = keys.set.as_ref().and_then(|set| set.find(kid));
        Ok(key.ok_or("unknown key")?.clone())
    }

    async fn status(&self, place: &Value) -> Result<u8, VerifyError> {
        let idx = usize::try_from(place["idx"].as_u64().ok_or("no index")?)?;
        let uri = place["uri"].as_str().ok_or("no list")?;
        let mut lists = self.lists.lock().await;
        if lists.get(uri).is_none_or(|list| Instant::now() >= list.until) {
            lists.insert(uri.to_owned(), self.list(uri).await?);
        }
        let list = lists.get(uri).ok_or("no list")?;
        let byte = list.packed.get(idx * list.bits / 8).ok_or("not in the list")?;
        Ok((byte >> (idx * list.bits % 8)) & ((1 << list.bits) - 1))
    }

    async fn list(&self, uri: &str) -> Result<List, VerifyError> {
        if !uri.starts_with(&format!("{}/v1/status-lists/", self.issuer)) {
            return Err("not a list of the issuer".into());
        }
        let claims = self
            .decode(&self.get(uri).await?, "statuslist+jwt", |validation| {
                validation.sub = Some(uri.to_owned());
                validation.validate_aud = false; // it is for everyone
                validation.set_required_spec_claims(&["iss", "sub", "exp"]);
            })
            .await?;
        let ttl = Duration::from_secs(claims["ttl"].as_u64().ok_or("no ttl")?);
        let said = &claims["status_list"];
        let bits = said["bits"].as_u64().filter(|bits| [1, 2, 4].contains(bits)).ok_or("no bits")?;
        let zipped = BASE64_URL_SAFE_NO_PAD.decode(said["lst"].as_str().ok_or("no list")?)?;
        let mut packed = Vec::new();
        ZlibDecoder::new(zipped.as_slice()).read_to_end(&mut packed)?;
        Ok(List { until: Instant::now() + ttl, bits: usize::try_from(bits)?, packed })
    }

    async fn get(&self, url: &str) -> Result<String, VerifyError> {
        let answer = self.http.get(url).send().await?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(format!("{url}: {}", answer.status()).into());
        }
        Ok(answer.text().await?)
    }
}

const DETAIL_TYPE: &str = "urn:keyswap:params:oauth:authorization-details:access";

/// Whether the token has the permission on the resource: without `authorization_details` that say so, it has not.
fn grants(claims: &Value, permission: &str, resource: &str) -> bool {
    let has = |list: &Value, is_wanted: &dyn Fn(&str) -> bool| {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).any(is_wanted)
    };
    !is_ambiguous(resource)
        && claims["authorization_details"].as_array().into_iter().flatten().any(|detail| {
            detail["type"] == DETAIL_TYPE
                && has(&detail["actions"], &|action| action == permission)
                && has(&detail["locations"], &|pattern| matches(pattern, resource))
        })
}

/// Compares part by part. `*` matches one part, at the end one or more.
fn matches(pattern: &str, resource: &str) -> bool {
    let wanted: Vec<_> = pattern.split('/').collect();
    let mut parts: Vec<_> = resource.split('/').collect();
    if wanted.last() == Some(&"*") {
        parts.truncate(wanted.len());
    }
    wanted.len() == parts.len() && wanted.iter().zip(&parts).all(|(one, part)| *one == "*" || one == part)
}

/// An empty, `.` or `..` part, an escape that another server could decode again, or a character that no path has.
fn is_ambiguous(resource: &str) -> bool {
    let path = resource.split_once("://").map_or(resource, |(_, rest)| rest);
    path.split('/').skip(1).any(|part| {
        let part = part.to_ascii_lowercase();
        matches!(part.split(';').next(), Some("" | "." | ".."))
            || part.contains(|one: char| "*?#\\".contains(one) || one.is_whitespace())
            || ["%2a", "%2e", "%2f", "%25", "%3b", "%5c"].iter().any(|escape| part.contains(escape))
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), VerifyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [issuer, audience, permission, resource @ ..] = arguments.as_slice() else {
        return Err("usage: verifying ISSUER AUDIENCE PERMISSION [RESOURCE]".into());
    };
    let verifier = Verifier::new(issuer.clone(), audience.clone())?;
    for token in std::io::stdin().lines() {
        // Any error: a token that cannot be verified is refused.
        match verifier.verify(&token?, permission, resource.first().map(String::as_str)).await {
            Ok(claims) => println!("{}", claims["sub"].as_str().unwrap_or("")),
            Err(why) => println!("refused: {why}"),
        }
    }
    Ok(())
}
