//! The digest of the secret of a credential, as it is stored.

use std::fmt;

use zeroize::Zeroizing;

/// The digest from which a presented secret is verified. It is stored encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretDigest(Zeroizing<[u8; 32]>);

impl SecretDigest {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the bytes. This is the only access to them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(…)")
    }
}
