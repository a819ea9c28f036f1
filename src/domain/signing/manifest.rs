//! The manifest of the signing keys: which rows Keyswap itself has written. A row that is not in it
//! is neither published nor trusted (invariant 14).

use std::collections::BTreeMap;

use crate::domain::{
    common::{
        derived_id::SigningKeyId,
        encoding::{EncodedRow, RowEncoder},
        time::Timestamp,
    },
    signing::SigningKeyMetadata,
};

/// All signing keys of the past and present. It is authenticated as a whole under the master key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningKeyManifest {
    /// Increases with every change. The rollback guard remembers it, so that an earlier manifest
    /// with its rows is recognized.
    pub counter: i64,
    /// The digest of each row in hexadecimal.
    pub digests: BTreeMap<SigningKeyId, String>,
}

impl SigningKeyManifest {
    pub fn encode(&self) -> EncodedRow {
        RowEncoder::new("signing-key-manifest", 1)
            .integer(self.counter)
            .list(&self.digests, |row, (kid, digest)| row.text(kid.as_str()).text(digest))
            .finish()
    }
}

impl SigningKeyMetadata {
    /// Encodes the row of a key. The private key is not part of it: it is encrypted, must match the
    /// public key, and is destroyed earlier.
    pub fn encode(&self, public_jwk: &str) -> EncodedRow {
        let millis = |at: Option<Timestamp>| at.map(Timestamp::millis);
        RowEncoder::new("signing-key-row", 1)
            .text(self.kid.as_str())
            .text(self.algorithm.as_str())
            .text(self.state.as_str())
            .text(public_jwk)
            .integer(self.published_at.millis())
            .optional_integer(millis(self.seen_at))
            .optional_integer(millis(self.activated_at))
            .optional_integer(millis(self.retired_at))
            .optional_integer(millis(self.removed_at))
            .optional_integer(millis(self.destroyed_at))
            .integer(self.longest_ttl.millis())
            .integer(self.version)
            .finish()
    }
}
