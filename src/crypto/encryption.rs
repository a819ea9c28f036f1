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
    #[error("no randomness for a nonce")]
    NoEntropy,
    #[error("master key version {0} is not loaded")]
    NoMasterKey(i32),
    #[error("the sealed row does not open: it was altered, moved, or sealed under another key")]
    DecryptionFailed,
}

impl MasterKeys {
    /// Encrypts `plaintext` for the row `id` under the current master key.
    pub fn seal(
        &self,
        purpose: SecretKind,
        id: &str,
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Encrypted, EncryptionError> {
        let held = self.now();
        let (version, key) = held.sealing();
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce).map_err(|_| EncryptionError::NoEntropy)?;
        let mut bytes = plaintext.to_vec();
        create_cipher(key.bytes())?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated_data(purpose, id, version)),
                &mut bytes,
            )
            .map_err(|_| EncryptionError::DecryptionFailed)?;
        Ok(Encrypted { master_version: version, bytes: [nonce.as_slice(), &bytes].concat() })
    }

    /// Decrypts the secret of the row `id`.
    pub fn open(
        &self,
        purpose: SecretKind,
        id: &str,
        sealed: &Encrypted,
    ) -> Result<Zeroizing<Vec<u8>>, EncryptionError> {
        let version = sealed.master_version;
        if let Some(key) = self.now().version(version) {
            return decrypt_with(key, purpose, id, sealed);
        }
        // Another replica loaded the key earlier and encrypted the row with it.
        let key = self.read_unloaded_key(version).ok_or(EncryptionError::NoMasterKey(version))?;
        let bytes = decrypt_with(&key, purpose, id, sealed)?;
        self.add_key(version, &key);
        Ok(bytes)
    }

    /// Re-encrypts the secret of the row `id` under the current master key.
    pub fn reseal(
        &self,
        purpose: SecretKind,
        id: &str,
        sealed: &Encrypted,
        entropy: &dyn Entropy,
    ) -> Result<Encrypted, EncryptionError> {
        self.seal(purpose, id, &self.open(purpose, id, sealed)?, entropy)
    }
}

fn decrypt_with(
    key: &MasterKey,
    purpose: SecretKind,
    id: &str,
    sealed: &Encrypted,
) -> Result<Zeroizing<Vec<u8>>, EncryptionError> {
    let (nonce, ciphertext) = sealed.bytes.split_first_chunk::<NONCE_LEN>().ok_or(EncryptionError::DecryptionFailed)?;
    let mut bytes = Zeroizing::new(ciphertext.to_vec());
    let length = create_cipher(key.bytes())?
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(associated_data(purpose, id, sealed.master_version)),
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

fn associated_data(purpose: SecretKind, id: &str, version: i32) -> Vec<u8> {
    format!("keyswap|{}|{id}|{version}", purpose.as_str()).into_bytes()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;
    use crate::{
        crypto::random::SystemEntropy,
        domain::{
            common::time::Timestamp,
            signing::master_key::{MasterKeyInfo, MasterKeyState},
        },
    };

    fn write(dir: &Path, version: i32, key: &MasterKey) {
        let file = dir.join(format!("master.{version}"));
        fs::write(&file, STANDARD.encode(key.bytes())).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn info(version: i32, key: &MasterKey, state: MasterKeyState) -> MasterKeyInfo {
        let created_at = Timestamp::from_millis(0);
        let fingerprint = key.fingerprint();
        MasterKeyInfo { version, fingerprint, state, created_at, activated_at: None, retired_at: None }
    }

    #[test]
    fn a_rotation_leaves_every_row_readable_at_every_moment() {
        let entropy = SystemEntropy::default();
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = [MasterKey::generate(&entropy).unwrap(), MasterKey::generate(&entropy).unwrap()];
        write(dir.path(), 1, &one);
        let here = MasterKeys::of(dir.path(), &[info(1, &one, MasterKeyState::Current)]).unwrap();
        let there = here.clone();
        let old = here.seal(SecretKind::Credential, "a", b"digest", &entropy).unwrap();
        let opens = |keys: &MasterKeys, sealed: &Encrypted| keys.open(SecretKind::Credential, "a", sealed).is_ok();

        // Incoming: another replica has the key file. This one does not, and reports it.
        let incoming = [info(1, &one, MasterKeyState::Current), info(2, &two, MasterKeyState::Incoming)];
        here.keep(&incoming);
        assert!(here.held().missing()[&2].why.contains("master.2 is missing"));
        assert_eq!(here.held().sealing().0, 1, "nothing is sealed with it");
        write(dir.path(), 2, &one);
        here.keep(&incoming);
        assert!(here.held().missing()[&2].why.contains("another key"));
        write(dir.path(), 2, &two);

        // A row of a replica that activated the key earlier: this replica reads the file on demand.
        let elsewhere = MasterKeys::from_versions([(1, one.clone()), (2, two.clone())]).unwrap();
        let new = elsewhere.seal(SecretKind::Credential, "a", b"digest", &entropy).unwrap();
        assert_eq!((old.master_version, new.master_version), (1, 2));
        assert!(opens(&here, &new) && opens(&here, &old) && opens(&there, &new), "clones share what they hold");

        let current = [info(1, &one, MasterKeyState::Retiring), info(2, &two, MasterKeyState::Current)];
        here.keep(&current);
        assert!(there.held().missing().is_empty());
        assert_eq!(there.held().sealing().0, 2);
        assert!(opens(&there, &old) && opens(&there, &new));
        let resealed = here.reseal(SecretKind::Credential, "a", &old, &entropy).unwrap();
        assert!(resealed.master_version == 2 && opens(&there, &resealed));

        here.keep(&current[1..]);
        assert_eq!(there.held().version(1).map(MasterKey::fingerprint), None, "removed is forgotten");
        fs::remove_file(dir.path().join("master.1")).unwrap();
        assert_eq!(there.open(SecretKind::Credential, "a", &old), Err(EncryptionError::NoMasterKey(1)));
        assert!(opens(&there, &resealed));
    }

    #[test]
    fn a_row_opens_only_where_it_was_sealed() {
        let entropy = SystemEntropy::default();
        let keys = MasterKeys::single(1, MasterKey::generate(&entropy).unwrap());
        let sealed = keys.seal(SecretKind::Credential, "a", b"digest", &entropy).unwrap();
        assert_eq!(keys.open(SecretKind::Credential, "a", &sealed).unwrap().as_slice(), b"digest");
        assert_eq!(
            keys.open(SecretKind::Credential, "b", &sealed),
            Err(EncryptionError::DecryptionFailed),
            "another row"
        );
        assert_eq!(
            keys.open(SecretKind::SigningKey, "a", &sealed),
            Err(EncryptionError::DecryptionFailed),
            "another purpose"
        );
        for bit in 0..sealed.bytes.len() * 8 {
            let mut altered = sealed.clone();
            altered.bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                keys.open(SecretKind::Credential, "a", &altered),
                Err(EncryptionError::DecryptionFailed),
                "bit {bit}"
            );
        }
        let other = MasterKeys::single(1, MasterKey::generate(&entropy).unwrap());
        assert_eq!(
            other.open(SecretKind::Credential, "a", &sealed),
            Err(EncryptionError::DecryptionFailed),
            "another key"
        );
        let later = MasterKeys::single(2, MasterKey::generate(&entropy).unwrap());
        assert_eq!(later.open(SecretKind::Credential, "a", &sealed), Err(EncryptionError::NoMasterKey(1)));
    }
}
