//! Public documents: the JWKS (RFC 7517 §5) and the metadata (RFC 8414, OpenID Connect Discovery
//! 1.0).

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

/// A public document with a strong ETag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub body: Vec<u8>,
    /// Includes the quotes (RFC 9110 §8.8.3).
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

    /// Decompresses a document that is stored as gzip (RFC 1952).
    pub fn of_gzip(compressed: &[u8]) -> Result<Self, Error> {
        let mut body = Vec::new();
        GzDecoder::new(compressed).read_to_end(&mut body).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Self::of_bytes(body))
    }
}

/// A document with its gzip form (RFC 1952), which is created on first use.
#[derive(Debug)]
pub struct Packed {
    plain: Document,
    gzip: OnceLock<Document>,
}

impl Packed {
    pub fn new(body: &[u8]) -> Self {
        Self { plain: Document::of_bytes(body.to_vec()), gzip: OnceLock::new() }
    }

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

/// Returns the value in `kept`. On first use `make` creates it, so that the start does not wait for
/// it. Two concurrent first uses may both call `make`, and one result is kept. After an error the
/// next call tries again. `OnceLock::get_or_try_init` of the standard library is unstable.
pub fn once<T>(kept: &OnceLock<T>, make: impl FnOnce() -> Result<T, Error>) -> Result<&T, Error> {
    if let Some(made) = kept.get() {
        return Ok(made);
    }
    let made = make()?;
    Ok(kept.get_or_init(|| made))
}

/// The token type of an API key as a subject token (RFC 8693 §3). There is no registered URN for
/// it.
pub const API_KEY_TOKEN_TYPE: &str = "urn:keyswap:params:oauth:token-type:api-key";
pub const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
pub const JWT_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";
pub const TOKEN_EXCHANGE_GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub const IBM_API_KEY_GRANT: &str = "urn:ibm:params:oauth:grant-type:apikey";

#[derive(Serialize)]
struct Jwks<'a> {
    keys: &'a [&'a PublicJwk],
}

pub fn jwks(keys: &[&PublicJwk]) -> Result<Document, Error> {
    Document::new(&Jwks { keys })
}

/// Returns the JWKS to serve while an operator must decide about a rolled back database. The
/// database alone would withdraw published keys and restore revoked ones. Returns `None` if the
/// rollback guard has detected no rollback, and if its file is corrupt.
pub fn jwks_while_asked(app: &App, view: &View, wanted: Option<Algorithm>) -> Option<Document> {
    let verdict = app.witness.verdict();
    let Verdict::Restored(restored) = &*verdict else { return None };
    let mut keys = restored.published(view.published.iter().map(|(_, jwk)| jwk));
    keys.retain(|jwk| wanted.is_none_or(|algorithm| jwk.alg == algorithm));
    jwks(&keys).ok()
}

/// The metadata (RFC 8414 §2). Both well-known paths serve the same members, so that they cannot
/// contradict each other (RFC 9068 §4).
#[derive(Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    token_endpoint: String,
    jwks_uri: String,
    grant_types_supported: [&'static str; 3],
    /// REQUIRED. There is no authorization endpoint: `none` is a registered value and requests
    /// nothing.
    response_types_supported: [&'static str; 1],
    token_endpoint_auth_methods_supported: [&'static str; 3],
    subject_types_supported: [&'static str; 1],
    /// Required by OpenID Connect Discovery. Keyswap issues no ID tokens. The values are the
    /// algorithms of the keys in the JWKS.
    id_token_signing_alg_values_supported: BTreeSet<Algorithm>,
    introspection_endpoint: String,
    /// RFC 8414 §2 permits access token types here as well.
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    /// RFC 9701 §7.
    introspection_signing_alg_values_supported: BTreeSet<Algorithm>,
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: [&'static str; 2],
}

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
        // `none`: the API key is the subject token or the IBM parameter, and no other client
        // authentication takes place.
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
