//! Sealing: AES-256-GCM under a versioned master key. What is sealed is bound to its row by the associated data, so that two
//! rows cannot be swapped and a row cannot be moved.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::domain::entropy::Entropy;

use super::master::MasterKeys;

/// Ciphertext as it is stored: a random 96-bit nonce, then the ciphertext with its tag. At 2³² seals per key a nonce might
/// repeat (SP 800-38D §8.3); no deployment comes near it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub master_version: i32,
    pub bytes: Vec<u8>,
}

/// What is sealed, which is part of the associated data.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    Credential,
    SigningKey,
    Webhook,
    PortalSession,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::SigningKey => "signing-key",
            Self::Webhook => "webhook",
            Self::PortalSession => "portal-session",
        }
    }
}

/// Why something could not be sealed or opened. Says nothing about keys or contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("no randomness for a nonce")]
    NoEntropy,
    #[error("master key version {0} is not loaded")]
    NoMasterKey(i32),
    #[error("the sealed row does not open: it was altered, moved, or sealed under another key")]
    DoesNotOpen,
}

impl MasterKeys {
    /// Seals `plaintext` for the row `id` under the newest master key.
    ///
    /// # Errors
    /// No randomness.
    pub fn seal(
        &self,
        purpose: Purpose,
        id: &str,
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Sealed, SealError> {
        let (version, key) = self.newest();
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce).map_err(|_| SealError::NoEntropy)?;
        let mut bytes = plaintext.to_vec();
        cipher(key.bytes())?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated_data(purpose, id, version)),
                &mut bytes,
            )
            .map_err(|_| SealError::DoesNotOpen)?;
        Ok(Sealed { master_version: version, bytes: [nonce.as_slice(), &bytes].concat() })
    }

    /// Opens what was sealed for the row `id`.
    ///
    /// # Errors
    /// The key's version is not loaded, or the row is not what was sealed.
    pub fn open(&self, purpose: Purpose, id: &str, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let version = sealed.master_version;
        let key = self.version(version).ok_or(SealError::NoMasterKey(version))?;
        let (nonce, ciphertext) = sealed.bytes.split_first_chunk::<NONCE_LEN>().ok_or(SealError::DoesNotOpen)?;
        let mut bytes = Zeroizing::new(ciphertext.to_vec());
        let length = cipher(key.bytes())?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(associated_data(purpose, id, version)),
                &mut bytes,
            )
            .map_err(|_| SealError::DoesNotOpen)?
            .len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, SealError> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| SealError::DoesNotOpen)
}

fn associated_data(purpose: Purpose, id: &str, version: i32) -> Vec<u8> {
    format!("keyswap|{}|{id}|{version}", purpose.as_str()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{master::MasterKey, random::SystemEntropy};

    #[test]
    fn a_row_opens_only_where_it_was_sealed() {
        let entropy = SystemEntropy::default();
        let keys = MasterKeys::single(1, MasterKey::generate(&entropy).unwrap());
        let sealed = keys.seal(Purpose::Credential, "a", b"digest", &entropy).unwrap();
        assert_eq!(keys.open(Purpose::Credential, "a", &sealed).unwrap().as_slice(), b"digest");
        assert_eq!(keys.open(Purpose::Credential, "b", &sealed), Err(SealError::DoesNotOpen), "another row");
        assert_eq!(keys.open(Purpose::SigningKey, "a", &sealed), Err(SealError::DoesNotOpen), "another purpose");
        for bit in 0..sealed.bytes.len() * 8 {
            let mut altered = sealed.clone();
            altered.bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(keys.open(Purpose::Credential, "a", &altered), Err(SealError::DoesNotOpen), "bit {bit}");
        }
        let other = MasterKeys::single(1, MasterKey::generate(&entropy).unwrap());
        assert_eq!(other.open(Purpose::Credential, "a", &sealed), Err(SealError::DoesNotOpen), "another key");
        let later = MasterKeys::single(2, MasterKey::generate(&entropy).unwrap());
        assert_eq!(later.open(Purpose::Credential, "a", &sealed), Err(SealError::NoMasterKey(1)));
    }
}
