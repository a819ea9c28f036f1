//! Encryption of stored rows, without the cryptography. `crypto::encryption` implements it.

use std::fmt;

use zeroize::Zeroizing;

use crate::domain::common::{encoding::EncodedRow, entropy::Entropy};

/// Ciphertext as stored: a random 96-bit nonce, followed by the ciphertext and its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    pub master_version: i32,
    pub bytes: Vec<u8>,
}

/// Why encryption or decryption failed. The messages reveal neither keys nor plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncryptionError {
    #[error("failed to generate a nonce: no random bytes from the operating system")]
    NoEntropy,
    #[error("master key version {0} is not loaded")]
    NoMasterKey(i32),
    #[error("failed to decrypt the row: it was altered, moved, or encrypted under another key")]
    DecryptionFailed,
}

/// A decrypted value of a row.
pub type Plaintext = Zeroizing<Vec<u8>>;

/// Encrypts the secret of a row, and authenticates with it everything that the row is trusted for.
/// A row without a secret has an empty plaintext: only its tag counts (GMAC, SP 800-38D).
pub trait RowCipher: fmt::Debug + Send + Sync {
    /// Returns the version of the master key that encrypts.
    fn current_version(&self) -> i32;

    fn encrypt(&self, row: &EncodedRow, plaintext: &[u8], entropy: &dyn Entropy) -> Result<Encrypted, EncryptionError>;

    fn decrypt(&self, row: &EncodedRow, encrypted: &Encrypted) -> Result<Plaintext, EncryptionError>;

    /// Returns the value under which the imported key with this digest is found, if it is encrypted
    /// with the given version of the master key.
    fn imported_key_lookup(&self, master_version: i32, digest: &[u8]) -> Result<String, EncryptionError>;
}
