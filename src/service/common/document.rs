//! Public documents that are served as bytes, with their ETag and compressed form.

use crate::{crypto, service::Error};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::Serialize;
use std::io::Read as _;
use std::io::Write as _;
use std::sync::{Arc, OnceLock};

/// A public document with a strong ETag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachedDocument {
    /// Shared by all responses.
    pub body: Arc<[u8]>,
    /// Includes the quotes (RFC 9110 §8.8.3).
    pub etag: String,
}

impl CachedDocument {
    pub(crate) fn new(content: &impl Serialize) -> Result<Self, Error> {
        Ok(Self::from_bytes(serde_json::to_vec(content)?))
    }

    pub fn from_bytes(body: Vec<u8>) -> Self {
        let etag = format!("\"{}\"", &crypto::sha256_hex(&body)[..32]);
        Self { body: body.into(), etag }
    }

    /// Compresses the document. The output is identical on every replica: the header contains no
    /// name and no time.
    pub fn compress(&self) -> Result<Self, Error> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let compressed = gzip.write_all(&self.body).and_then(|()| gzip.finish());
        compressed.map(Self::from_bytes).map_err(Error::internal)
    }

    /// Decompresses a document that is stored as gzip (RFC 1952).
    pub fn from_gzip(compressed: &[u8]) -> Result<Self, Error> {
        let mut body = Vec::new();
        GzDecoder::new(compressed).read_to_end(&mut body).map_err(Error::internal)?;
        Ok(Self::from_bytes(body))
    }
}

/// A document with its gzip form (RFC 1952), which is created on first use.
#[derive(Debug)]
pub struct EncodedDocument {
    plain: CachedDocument,
    gzip: OnceLock<CachedDocument>,
}

impl EncodedDocument {
    pub fn new(body: &[u8]) -> Self {
        Self { plain: CachedDocument::from_bytes(body.to_vec()), gzip: OnceLock::new() }
    }

    pub fn encoded_for(&self, takes_gzip: bool) -> Result<&CachedDocument, Error> {
        if !takes_gzip {
            return Ok(&self.plain);
        }
        get_or_create(&self.gzip, || self.plain.compress())
    }
}

/// Returns the value in `kept`. On first use `make` creates it, so that the start does not wait for
/// it. Two concurrent first uses may both call `make`, and one result is kept. After an error the
/// next call tries again. `OnceLock::get_or_try_init` of the standard library is unstable.
pub fn get_or_create<T>(kept: &OnceLock<T>, make: impl FnOnce() -> Result<T, Error>) -> Result<&T, Error> {
    if let Some(made) = kept.get() {
        return Ok(made);
    }
    let made = make()?;
    Ok(kept.get_or_init(|| made))
}
