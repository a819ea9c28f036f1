//! The credential that unknown keys are compared with.

use crate::{
    crypto::{
        credential,
        encryption::{SealError, Sealed},
        master_key_file::MasterKey,
        master_keys::MasterKeys,
    },
    domain::{
        common::{
            derived_id::CredentialId,
            entropy::{Entropy, NoEntropy},
        },
        credentials::format::{PresentedKey, Secret},
    },
};

/// A credential that belongs to no key. Keys with an unknown id are compared with it. It is
/// encrypted under a master key of its own, which no rotation removes.
#[derive(Debug)]
pub struct Decoy {
    pub(crate) id: CredentialId,
    pub(crate) sealed: Sealed,
    pub(crate) master: MasterKeys,
}

impl Decoy {
    pub fn new(entropy: &dyn Entropy) -> Result<Self, SealError> {
        let no_entropy = |_: NoEntropy| SealError::NoEntropy;
        let id = CredentialId::decoy();
        let secret = Secret::generate(entropy).map_err(no_entropy)?;
        let master = MasterKeys::single(1, MasterKey::generate(entropy).map_err(no_entropy)?);
        Ok(Self { sealed: credential::seal(&master, &id, &secret, entropy)?, id, master })
    }

    /// Performs the work of a verification and discards the result.
    pub(crate) fn compare(&self, presented: &PresentedKey) -> Result<(), SealError> {
        credential::proves(&self.master, &self.id, &self.sealed, presented).map(|_| ())
    }
}
