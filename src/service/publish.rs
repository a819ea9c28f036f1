//! What Keyswap publishes: its keys (RFC 7517 §5) and its metadata (RFC 8414, OpenID Connect Discovery 1.0).

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    sync::OnceLock,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::Serialize;

use crate::{
    crypto::{self, jwk::PublicJwk},
    domain::signing::Algorithm,
};

use super::{App, Error, key_ring::View, witness::Verdict};

/// A public document with its strong ETag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub body: Vec<u8>,
    /// With its quotes (RFC 9110 §8.8.3).
    pub etag: String,
}

impl Document {
    fn new(content: &impl Serialize) -> Result<Self, Error> {
        Ok(Self::of_bytes(serde_json::to_vec(content)?))
    }

    pub fn of_bytes(body: Vec<u8>) -> Self {
        let etag = format!("\"{}\"", &crypto::sha256_hex(&body)[..32]);
        Self { body, etag }
    }

    /// A document that is kept as gzip (RFC 1952).
    ///
    /// # Errors
    /// It is not gzip.
    pub fn of_gzip(compressed: &[u8]) -> Result<Self, Error> {
        let mut body = Vec::new();
        GzDecoder::new(compressed).read_to_end(&mut body).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Self::of_bytes(body))
    }
}

/// A document, and the same as gzip (RFC 1952), once a client has asked for that.
#[derive(Debug)]
pub struct Packed {
    plain: Document,
    gzip: OnceLock<Document>,
}

impl Packed {
    pub fn new(body: &[u8]) -> Self {
        Self { plain: Document::of_bytes(body.to_vec()), gzip: OnceLock::new() }
    }

    /// # Errors
    /// It cannot be packed.
    pub fn as_taken(&self, takes_gzip: bool) -> Result<&Document, Error> {
        if !takes_gzip {
            return Ok(&self.plain);
        }
        once(&self.gzip, || {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
            let packed = gzip.write_all(&self.plain.body).and_then(|()| gzip.finish());
            packed.map(Document::of_bytes).map_err(|error| Error::Internal(error.to_string()))
        })
    }
}

/// The value in `kept`, made by `make` on first use, so that a start does not wait for it. Two first uses at once may both make it; one result is kept.
/// `OnceLock::get_or_try_init` of the standard library is unstable.
///
/// # Errors
/// Those of `make`, which is called again the next time.
pub fn once<T>(kept: &OnceLock<T>, make: impl FnOnce() -> Result<T, Error>) -> Result<&T, Error> {
    if let Some(made) = kept.get() {
        return Ok(made);
    }
    let made = make()?;
    Ok(kept.get_or_init(|| made))
}

/// How API keys are called as a subject token (RFC 8693 §3): nobody has registered a URN for them.
pub const API_KEY_TOKEN_TYPE: &str = "urn:keyswap:params:oauth:token-type:api-key";
pub const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
pub const JWT_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";
pub const TOKEN_EXCHANGE_GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub const IBM_API_KEY_GRANT: &str = "urn:ibm:params:oauth:grant-type:apikey";

#[derive(Serialize)]
struct Jwks<'a> {
    keys: &'a [&'a PublicJwk],
}

/// # Errors
/// A key cannot be written as JSON, which no key that was read can be.
pub fn jwks(keys: &[&PublicJwk]) -> Result<Document, Error> {
    Document::new(&Jwks { keys })
}

/// The JWKS while an operator is asked about an older state of the database: that state alone would take back what was published, and bring back
/// what was revoked. Absent while nobody is asked, or where nothing more is known.
pub fn jwks_while_asked(app: &App, view: &View, wanted: Option<Algorithm>) -> Option<Document> {
    let verdict = app.witness.verdict();
    let Verdict::Restored(restored) = &*verdict else { return None };
    let mut keys = restored.published(view.published.iter().map(|(_, jwk)| jwk));
    keys.retain(|jwk| wanted.is_none_or(|algorithm| jwk.alg == algorithm));
    jwks(&keys).ok()
}

/// RFC 8414 §2. The same members serve both well-known paths, so the two cannot contradict each other (RFC 9068 §4).
#[derive(Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    token_endpoint: String,
    jwks_uri: String,
    grant_types_supported: [&'static str; 3],
    /// REQUIRED, and there is no authorization endpoint: `none` is registered and asks for nothing.
    response_types_supported: [&'static str; 1],
    token_endpoint_auth_methods_supported: [&'static str; 3],
    subject_types_supported: [&'static str; 1],
    /// Discovery wants it. No ID token is ever issued; these are the algorithms of the keys in the JWKS.
    id_token_signing_alg_values_supported: BTreeSet<Algorithm>,
    introspection_endpoint: String,
    /// RFC 8414 §2: kinds of access tokens stand here too.
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    /// RFC 9701 §7.
    introspection_signing_alg_values_supported: BTreeSet<Algorithm>,
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: [&'static str; 2],
}

/// # Errors
/// As `jwks`.
pub fn metadata(app: &App) -> Result<Document, Error> {
    let issuer = app.issuer();
    let view = app.keys.view();
    let algorithms: BTreeSet<_> = view.published.iter().map(|(info, _)| info.algorithm).collect();
    Document::new(&Metadata {
        issuer,
        token_endpoint: format!("{issuer}/oauth/token"),
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        grant_types_supported: ["client_credentials", TOKEN_EXCHANGE_GRANT, IBM_API_KEY_GRANT],
        response_types_supported: ["none"],
        // `none`: the API key is the subject token, or the IBM parameter, and no client is authenticated besides.
        token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post", "none"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: algorithms.clone(),
        introspection_endpoint: format!("{issuer}/oauth/introspect"),
        introspection_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post", "Bearer"],
        introspection_signing_alg_values_supported: algorithms,
        revocation_endpoint: format!("{issuer}/oauth/revoke"),
        revocation_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post"],
    })
}
