//! The JWK set (RFC 7517 §5) of a list of keys.

use crate::{
    crypto::jwk::PublicJwk,
    service::{Error, common::document::Document},
};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Jwks<'a> {
    keys: &'a [&'a PublicJwk],
}

pub fn jwks(keys: &[&PublicJwk]) -> Result<Document, Error> {
    Document::new(&Jwks { keys })
}
