//! The cipher of a store. It is set once the master keys are loaded, which are registered in the
//! database itself.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;

use crate::{
    domain::{
        common::{
            encoding::EncodedRow,
            encryption::{Encrypted, RowCipher},
        },
        events::Digest,
    },
    store::error::StoreError,
};

pub struct RowEncryption {
    cipher: ArcSwapOption<Arc<dyn RowCipher>>,
    digest: Digest,
}

impl fmt::Debug for RowEncryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowEncryption(…)")
    }
}

impl RowEncryption {
    pub(crate) fn new(digest: Digest) -> Self {
        Self { cipher: ArcSwapOption::empty(), digest }
    }

    pub(crate) fn set_cipher(&self, cipher: Arc<dyn RowCipher>) {
        self.cipher.store(Some(Arc::new(cipher)));
    }

    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the digest of a row in hexadecimal.
    pub(crate) fn digest_hex(&self, row: &EncodedRow) -> String {
        let digest = self.digest;
        digest(row.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn cipher(&self) -> Result<Arc<dyn RowCipher>, StoreError> {
        let cipher =
            self.cipher.load_full().ok_or_else(|| StoreError::unavailable("the master keys are not loaded"))?;
        Ok(Arc::clone(&cipher))
    }
}

/// A row as it is stored, with what authenticates it.
#[derive(Debug)]
pub struct AuthenticatedRow {
    pub id: String,
    pub encoded: EncodedRow,
    pub encrypted: Encrypted,
    /// The subject of the events about the row. The last one records the version of the row, so
    /// that an older row that is put back is detected.
    pub subject: String,
    pub version: i64,
}
