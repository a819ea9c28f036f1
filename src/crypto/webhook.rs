//! Webhook signatures: HMAC-SHA256 according to Standard Webhooks.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;
use zeroize::Zeroizing;

use crate::{
    crypto::{encryption::webhook_row, master_keys::MasterKeys},
    domain::common::{
        encryption::{Encrypted, EncryptionError, RowCipher as _},
        entropy::{Entropy, EntropyUnavailable},
    },
};

/// The secret shared by Keyswap and one receiver.
pub struct WebhookSecret(Zeroizing<[u8; 32]>);

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

impl WebhookSecret {
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyUnavailable> {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy.fill(bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// Returns the secret in the format that receivers configure. It is displayed once, when it is
    /// created.
    pub fn expose(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(64));
        text.push_str("whsec_");
        STANDARD.encode_string(self.0.as_slice(), &mut text);
        text
    }

    /// Encrypts the secret for the row `id`.
    pub fn encrypt(&self, keys: &MasterKeys, id: &str, entropy: &dyn Entropy) -> Result<Encrypted, EncryptionError> {
        keys.encrypt(&webhook_row(id), self.0.as_slice(), entropy)
    }

    /// Decrypts the secret of the row `id`.
    pub fn decrypt(keys: &MasterKeys, id: &str, encrypted: &Encrypted) -> Result<Self, EncryptionError> {
        let decrypted = keys.decrypt(&webhook_row(id), encrypted)?;
        let bytes = decrypted.as_slice().try_into().map_err(|_| EncryptionError::DecryptionFailed)?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// Returns one entry of the `webhook-signature` header. `id` and `timestamp` contain no dot, so
    /// the signed content is unambiguous.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice()));
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{master_key_file::MasterKey, random::SystemEntropy};

    #[test]
    fn wh_01_the_signature_is_the_one_of_the_specification() {
        // The example of the Standard Webhooks libraries, with a secret of 32 bytes.
        let bytes: [u8; 32] = *b"0123456789abcdef0123456789abcdef";
        let secret = WebhookSecret(Zeroizing::new(bytes));
        assert_eq!(*secret.expose(), "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
        let signed = secret.sign("evt_1", 1_614_265_330, br#"{"test": 2432232314}"#);
        let stock = standardwebhooks::Webhook::new(&secret.expose()).unwrap();
        assert_eq!(signed, stock.sign("evt_1", 1_614_265_330, br#"{"test": 2432232314}"#).unwrap());
    }

    #[test]
    fn a_secret_shows_itself_nowhere() {
        let entropy = SystemEntropy::default();
        let secret = WebhookSecret::generate(&entropy).unwrap();
        assert_eq!(format!("{secret:?}"), "WebhookSecret(…)");
        let keys = MasterKeys::single(1, MasterKey::generate(&entropy).unwrap());
        let encrypted = secret.encrypt(&keys, "whk_1", &entropy).unwrap();
        assert!(!encrypted.bytes.windows(4).any(|part| part == &secret.0[..4]));
        assert_eq!(*WebhookSecret::decrypt(&keys, "whk_1", &encrypted).unwrap().0, *secret.0);
        assert!(WebhookSecret::decrypt(&keys, "whk_2", &encrypted).is_err());
    }
}
