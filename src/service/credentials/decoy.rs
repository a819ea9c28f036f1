//! The credential that unknown keys are compared with.

use crate::{
    crypto::{
        credential,
        encryption::{Encrypted, EncryptionError, SecretKind},
        master_key_file::MasterKey,
        master_keys::MasterKeys,
    },
    domain::{
        common::{
            derived_id::CredentialId,
            entropy::{Entropy, EntropyUnavailable},
        },
        credentials::format::Secret,
    },
};

/// A credential that belongs to no key. Keys with an unknown id are compared with it. It is
/// encrypted under a master key of its own, which no rotation removes.
#[derive(Debug)]
pub struct DecoyCredential {
    pub(crate) id: CredentialId,
    pub(crate) encrypted: Encrypted,
    pub(crate) master: MasterKeys,
}

impl DecoyCredential {
    pub fn new(entropy: &dyn Entropy) -> Result<Self, EncryptionError> {
        let no_entropy = |_: EntropyUnavailable| EncryptionError::NoEntropy;
        let id = CredentialId::placeholder();
        let secret = Secret::generate(entropy).map_err(no_entropy)?;
        let master = MasterKeys::single(1, MasterKey::generate(entropy).map_err(no_entropy)?);
        Ok(Self { encrypted: credential::encrypt(&master, SecretKind::Credential, &id, &secret, entropy)?, id, master })
    }
}
