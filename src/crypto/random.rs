//! Randomness of the operating system.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};

use crate::domain::common::entropy::{Entropy, EntropyUnavailable};

/// The random generator of the operating system as an implementation of [`Entropy`].
#[derive(Debug, Clone)]
pub struct SystemEntropy(SystemRandom);

impl Default for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "the one source; everyone else is handed it")]
    fn default() -> Self {
        Self(SystemRandom::new())
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
        self.0.fill(bytes).map_err(|_| EntropyUnavailable)
    }
}

/// Returns 128 random bits in base64url, for a `jti` or a request id.
pub fn generate_token_id(entropy: &dyn Entropy) -> Result<String, EntropyUnavailable> {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
