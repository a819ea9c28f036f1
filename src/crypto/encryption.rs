//! Encryption at rest: AES-256-GCM under a versioned master key. The associated data binds each
//! ciphertext to its row and to what the row is trusted for, so a row that was moved or altered
//! does not decrypt.

use aws_lc_rs::{
    cipher::{AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey},
    iv::FixedLength,
};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::{
    crypto::{imported_key, master_key_file::MasterKey, master_keys::MasterKeys},
    domain::common::{
        encoding::{EncodedRow, RowEncoder},
        encryption::{Encrypted, EncryptionError, Plaintext, RowCipher},
        entropy::Entropy,
    },
};

/// Returns the associated data of the private key of a signing key. Its public half is
/// authenticated by the manifest.
pub fn private_key_row(kid: &str) -> EncodedRow {
    RowEncoder::new("signing-key", 1).text(kid).finish()
}

/// Returns the associated data of the secret of a webhook.
pub fn webhook_row(id: &str) -> EncodedRow {
    RowEncoder::new("webhook", 1).text(id).finish()
}

impl RowCipher for MasterKeys {
    fn current_version(&self) -> i32 {
        self.load().current().0
    }

    /// Encrypts under the current master key. Random nonces limit a key to 2³² encryptions (SP
    /// 800-38D §8.3), which no deployment approaches.
    fn encrypt(&self, row: &EncodedRow, plaintext: &[u8], entropy: &dyn Entropy) -> Result<Encrypted, EncryptionError> {
        let snapshot = self.load();
        let (version, key) = snapshot.current();
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce).map_err(|_| EncryptionError::NoEntropy)?;
        let mut bytes = plaintext.to_vec();
        create_cipher(key.bytes())?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated_data(row, version)),
                &mut bytes,
            )
            .map_err(|_| EncryptionError::DecryptionFailed)?;
        Ok(Encrypted { master_version: version, bytes: [nonce.as_slice(), &bytes].concat() })
    }

    fn decrypt(&self, row: &EncodedRow, encrypted: &Encrypted) -> Result<Plaintext, EncryptionError> {
        let version = encrypted.master_version;
        if let Some(key) = self.load().version(version) {
            return decrypt_with(key, row, encrypted);
        }
        // Another replica loaded the key earlier and encrypted the row with it.
        let key = self.read_unloaded_key(version).ok_or(EncryptionError::NoMasterKey(version))?;
        let bytes = decrypt_with(&key, row, encrypted)?;
        self.add_key(version, &key);
        Ok(bytes)
    }

    fn imported_key_lookup(&self, master_version: i32, digest: &[u8]) -> Result<String, EncryptionError> {
        let snapshot = self.load();
        let master = snapshot.version(master_version).ok_or(EncryptionError::NoMasterKey(master_version))?;
        Ok(imported_key::compute_lookup_under(master, digest))
    }
}

impl MasterKeys {
    /// Decrypts a value without its authentication, for a row whose associated data is lost. Only
    /// an operator may decide to trust the result.
    pub fn decrypt_unauthenticated(&self, encrypted: &Encrypted) -> Result<Plaintext, EncryptionError> {
        const TAG_LENGTH: usize = 16;
        /// GCM encrypts the first block with the counter 2 (SP 800-38D §7.1).
        const FIRST_COUNTER: [u8; 4] = [0, 0, 0, 2];
        let failed = |_| EncryptionError::DecryptionFailed;
        let snapshot = self.load();
        let version = encrypted.master_version;
        let key = snapshot.version(version).ok_or(EncryptionError::NoMasterKey(version))?;
        let (nonce, ciphertext) =
            encrypted.bytes.split_first_chunk::<NONCE_LEN>().ok_or(EncryptionError::DecryptionFailed)?;
        let length = ciphertext.len().checked_sub(TAG_LENGTH).ok_or(EncryptionError::DecryptionFailed)?;
        let mut counter = [0; 16];
        counter[..NONCE_LEN].copy_from_slice(nonce);
        counter[NONCE_LEN..].copy_from_slice(&FIRST_COUNTER);
        let mut bytes = Zeroizing::new(ciphertext.to_vec());
        bytes.truncate(length);
        let key = UnboundCipherKey::new(&AES_256, key.bytes()).map_err(failed)?;
        let context = DecryptionContext::Iv128(FixedLength::from(counter));
        DecryptingKey::ctr(key).map_err(failed)?.decrypt(&mut bytes, context).map_err(failed)?;
        Ok(bytes)
    }
}

fn decrypt_with(key: &MasterKey, row: &EncodedRow, encrypted: &Encrypted) -> Result<Plaintext, EncryptionError> {
    let (nonce, ciphertext) =
        encrypted.bytes.split_first_chunk::<NONCE_LEN>().ok_or(EncryptionError::DecryptionFailed)?;
    let mut bytes = Zeroizing::new(ciphertext.to_vec());
    let length = create_cipher(key.bytes())?
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(associated_data(row, encrypted.master_version)),
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

fn associated_data(row: &EncodedRow, master_version: i32) -> Vec<u8> {
    [b"keyswap".as_slice(), &master_version.to_be_bytes(), row.as_bytes()].concat()
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
        let old = MasterKeys::single(1, one.clone()).encrypt(&private_key_row("a"), b"digest", &entropy).unwrap();
        let keys = MasterKeys::from_versions([(1, one), (2, two)]).unwrap();
        let clone = keys.clone();
        let row = private_key_row("a");
        let new = keys.encrypt(&row, &keys.decrypt(&row, &old).unwrap(), &entropy).unwrap();
        assert_eq!(new.master_version, 2);
        keys.synchronize(&[current]);
        assert_eq!(clone.decrypt(&private_key_row("a"), &old), Err(EncryptionError::NoMasterKey(1)));
        assert!(clone.decrypt(&private_key_row("a"), &new).is_ok(), "clones share their keys");
    }

    #[test]
    fn a_value_decrypts_without_its_row_for_an_operator() {
        let entropy = SystemEntropy::default();
        let keys = MasterKeys::single(1, MasterKey::generate(&entropy).unwrap());
        let plaintext: Vec<u8> = (0..77).collect();
        let encrypted = keys.encrypt(&private_key_row("a"), &plaintext, &entropy).unwrap();
        assert_eq!(*keys.decrypt_unauthenticated(&encrypted).unwrap(), plaintext);
    }

    #[test]
    fn a_row_decrypts_only_where_it_was_encrypted() {
        let entropy = SystemEntropy::default();
        let keys = MasterKeys::single(1, MasterKey::generate(&entropy).unwrap());
        let encrypted = keys.encrypt(&private_key_row("a"), b"digest", &entropy).unwrap();
        assert_eq!(keys.decrypt(&private_key_row("a"), &encrypted).unwrap().as_slice(), b"digest");
        assert_eq!(
            keys.decrypt(&private_key_row("b"), &encrypted),
            Err(EncryptionError::DecryptionFailed),
            "another row"
        );
        assert_eq!(
            keys.decrypt(&webhook_row("a"), &encrypted),
            Err(EncryptionError::DecryptionFailed),
            "another purpose"
        );
        for bit in 0..encrypted.bytes.len() * 8 {
            let mut altered = encrypted.clone();
            altered.bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                keys.decrypt(&private_key_row("a"), &altered),
                Err(EncryptionError::DecryptionFailed),
                "bit {bit}"
            );
        }
        let other = MasterKeys::single(1, MasterKey::generate(&entropy).unwrap());
        assert_eq!(
            other.decrypt(&private_key_row("a"), &encrypted),
            Err(EncryptionError::DecryptionFailed),
            "another key"
        );
        let later = MasterKeys::single(2, MasterKey::generate(&entropy).unwrap());
        assert_eq!(later.decrypt(&private_key_row("a"), &encrypted), Err(EncryptionError::NoMasterKey(1)));
    }
}
