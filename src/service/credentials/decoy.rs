//! The credential that unknown keys are compared with.

use crate::{
    crypto::{credential, master_key_file::MasterKey, master_keys::MasterKeys},
    domain::{
        common::{
            derived_id::CredentialId,
            encoding::{EncodedRow, RowEncoder},
            encryption::{Encrypted, EncryptionError, Plaintext, RowCipher as _},
            entropy::{Entropy, EntropyUnavailable},
        },
        credentials::format::Secret,
    },
};

/// A credential that belongs to no key. Keys with an unknown id are compared with it. It is
/// encrypted under a master key of its own, which no rotation removes.
#[derive(Debug)]
pub struct DecoyCredential {
    row: EncodedRow,
    encrypted: Encrypted,
    master: MasterKeys,
}

impl DecoyCredential {
    pub fn new(entropy: &dyn Entropy) -> Result<Self, EncryptionError> {
        let no_entropy = |_: EntropyUnavailable| EncryptionError::NoEntropy;
        let secret = Secret::generate(entropy).map_err(no_entropy)?;
        let digest = credential::hash_secret(&CredentialId::placeholder(), &secret);
        let master = MasterKeys::single(1, MasterKey::generate(entropy).map_err(no_entropy)?);
        // As long as the encoding of a typical credential.
        let row = RowEncoder::new("decoy", 1).text(&"0".repeat(256)).finish();
        Ok(Self { encrypted: master.encrypt(&row, digest.expose(), entropy)?, row, master })
    }

    /// Does the work of the decryption of a stored credential.
    pub(crate) fn decrypt(&self) -> Result<Plaintext, EncryptionError> {
        self.master.decrypt(&self.row, &self.encrypted)
    }
}
