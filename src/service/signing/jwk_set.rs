//! The JWK set (RFC 7517 §5) of a list of keys.

use crate::{
    crypto::jwk::PublicJwk,
    service::{Error, common::document::CachedDocument},
};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Jwks<'a> {
    keys: &'a [&'a PublicJwk],
}

pub fn jwks(keys: &[&PublicJwk]) -> Result<CachedDocument, Error> {
    CachedDocument::new(&Jwks { keys })
}
