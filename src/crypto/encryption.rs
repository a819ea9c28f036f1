//! Encryption at rest: AES-256-GCM under a versioned master key. The associated data binds each
//! ciphertext to its row, so a ciphertext moved to another row does not decrypt.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::{
    crypto::{master_key_file::MasterKey, master_keys::MasterKeys},
    domain::common::entropy::Entropy,
};

/// Ciphertext as stored: a random 96-bit nonce, followed by the ciphertext and its tag. Random
/// nonces limit a key to 2³² encryptions (SP 800-38D §8.3), which no deployment approaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    pub master_version: i32,
    pub bytes: Vec<u8>,
}

/// The kind of an encrypted secret. Part of the associated data.
#[derive(Debug, Clone, Copy)]
pub enum SecretKind {
    Credential,
    SigningKey,
    Webhook,
    PortalSession,
}

impl SecretKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::SigningKey => "signing-key",
            Self::Webhook => "webhook",
            Self::PortalSession => "portal-session",
        }
    }
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

impl MasterKeys {
    /// Encrypts `plaintext` for the row `id` under the current master key.
    pub fn encrypt(
        &self,
        kind: SecretKind,
        id: &str,
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Encrypted, EncryptionError> {
        let snapshot = self.load();
        let (version, key) = snapshot.current();
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce).map_err(|_| EncryptionError::NoEntropy)?;
        let mut bytes = plaintext.to_vec();
        create_cipher(key.bytes())?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated_data(kind, id, version)),
                &mut bytes,
            )
            .map_err(|_| EncryptionError::DecryptionFailed)?;
        Ok(Encrypted { master_version: version, bytes: [nonce.as_slice(), &bytes].concat() })
    }

    /// Decrypts the secret of the row `id`.
    pub fn decrypt(
        &self,
        kind: SecretKind,
        id: &str,
        encrypted: &Encrypted,
    ) -> Result<Zeroizing<Vec<u8>>, EncryptionError> {
        let version = encrypted.master_version;
        if let Some(key) = self.load().version(version) {
            return decrypt_with(key, kind, id, encrypted);
        }
        // Another replica loaded the key earlier and encrypted the row with it.
        let key = self.read_unloaded_key(version).ok_or(EncryptionError::NoMasterKey(version))?;
        let bytes = decrypt_with(&key, kind, id, encrypted)?;
        self.add_key(version, &key);
        Ok(bytes)
    }

    /// Re-encrypts the secret of the row `id` under the current master key.
    pub fn re_encrypt(
        &self,
        kind: SecretKind,
        id: &str,
        encrypted: &Encrypted,
        entropy: &dyn Entropy,
    ) -> Result<Encrypted, EncryptionError> {
        self.encrypt(kind, id, &self.decrypt(kind, id, encrypted)?, entropy)
    }
}

fn decrypt_with(
    key: &MasterKey,
    kind: SecretKind,
    id: &str,
    encrypted: &Encrypted,
) -> Result<Zeroizing<Vec<u8>>, EncryptionError> {
    let (nonce, ciphertext) =
        encrypted.bytes.split_first_chunk::<NONCE_LEN>().ok_or(EncryptionError::DecryptionFailed)?;
    let mut bytes = Zeroizing::new(ciphertext.to_vec());
    let length = create_cipher(key.bytes())?
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(associated_data(kind, id, encrypted.master_version)),
            &mut bytes,
        )
        .map_err(|_| EncryptionError::DecryptionFailed)?
        .len();
    bytes.truncate(length);
    Ok(bytes)
}

fn create_cipher(key: &[u8; 32]) -> Result<LessSafeKey, EncryptionError> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| EncryptionError::DecryptionFailed)
}

fn associated_data(kind: SecretKind, id: &str, version: i32) -> Vec<u8> {
    format!("keyswap|{}|{id}|{version}", kind.as_str()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::random::SystemEntropy,
        domain::{
            common::time::Timestamp,
            signing::master_key::{MasterKeyInfo, MasterKeyState},
        },
    };

    #[test]
    fn a_removed_master_key_decrypts_nothing() {
        let entropy = SystemEntropy::default();
        let [one, two] = [MasterKey::generate(&entropy).unwrap(), MasterKey::generate(&entropy).unwrap()];
        let current = MasterKeyInfo {
            version: 2,
            fingerprint: two.fingerprint(),
            state: MasterKeyState::Current,
            created_at: Timestamp::from_millis(0),
            activated_at: None,
            retired_at: None,
        };
        let old = MasterKeys::single(1, one.clone()).encrypt(SecretKind::Credential, "a", b"digest", &entropy).unwrap();
        let keys = MasterKeys::from_versions([(1, one), (2, two)]).unwrap();
        let clone = keys.clone();
        let new = keys.re_encrypt(SecretKind::Credential, "a", &old, &entropy).unwrap();
        assert_eq!(new.master_version, 2);
        keys.synchronize(&[current]);
        assert_eq!(clone.decrypt(SecretKind::Credential, "a", &old), Err(EncryptionError::NoMasterKey(1)));
        assert!(clone.decrypt(SecretKind::Credential, "a", &new).is_ok(), "clones share their keys");
    }

    #[test]
    fn a_row_decrypts_only_where_it_was_encrypted() {
        let entropy = SystemEntropy::default();
        let keys = MasterKeys::single(1, MasterKey::generate(&entropy).unwrap());
        let encrypted = keys.encrypt(SecretKind::Credential, "a", b"digest", &entropy).unwrap();
        assert_eq!(keys.decrypt(SecretKind::Credential, "a", &encrypted).unwrap().as_slice(), b"digest");
        assert_eq!(
            keys.decrypt(SecretKind::Credential, "b", &encrypted),
            Err(EncryptionError::DecryptionFailed),
            "another row"
        );
        assert_eq!(
            keys.decrypt(SecretKind::SigningKey, "a", &encrypted),
            Err(EncryptionError::DecryptionFailed),
            "another purpose"
        );
        for bit in 0..encrypted.bytes.len() * 8 {
            let mut altered = encrypted.clone();
            altered.bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                keys.decrypt(SecretKind::Credential, "a", &altered),
                Err(EncryptionError::DecryptionFailed),
                "bit {bit}"
            );
        }
        let other = MasterKeys::single(1, MasterKey::generate(&entropy).unwrap());
        assert_eq!(
            other.decrypt(SecretKind::Credential, "a", &encrypted),
            Err(EncryptionError::DecryptionFailed),
            "another key"
        );
        let later = MasterKeys::single(2, MasterKey::generate(&entropy).unwrap());
        assert_eq!(later.decrypt(SecretKind::Credential, "a", &encrypted), Err(EncryptionError::NoMasterKey(1)));
    }
}
