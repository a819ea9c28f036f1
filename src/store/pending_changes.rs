//! What a transaction must still write before it commits: rows that it changed are authenticated
//! again in its last step.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    common::{
        derived_id::{CredentialId, SigningKeyId},
        encryption::Plaintext,
        id::KeyId,
    },
    credentials::secret_digest::SecretDigest,
};

/// The keys that a change touches.
#[derive(Debug, Default)]
pub(crate) struct KeyChanges {
    /// The decrypted digests of the credentials that were verified or created by the change.
    pub digests: BTreeMap<CredentialId, Plaintext>,
    /// Keys whose credentials must be encrypted again.
    pub changed: BTreeSet<KeyId>,
}

impl KeyChanges {
    pub fn add_credential(&mut self, id: CredentialId, digest: &SecretDigest) {
        self.digests.insert(id, Plaintext::new(digest.expose().to_vec()));
    }

    pub fn mark_changed(&mut self, key: &KeyId) {
        self.changed.insert(key.clone());
    }
}

/// A change of the signing keys in progress.
#[derive(Debug)]
pub(crate) struct ManifestChange {
    /// The manifest before the change.
    pub counter: i64,
    pub digests: BTreeMap<SigningKeyId, String>,
    pub master_version: Option<i32>,
    /// The keys that Keyswap has written, this change included. No other key is changed.
    pub authentic: BTreeSet<SigningKeyId>,
    /// The keys that the change writes. Their digests are computed again at its end, and those of
    /// all other keys stay as they are, so that an altered row does not become authentic.
    pub written: BTreeSet<SigningKeyId>,
}
