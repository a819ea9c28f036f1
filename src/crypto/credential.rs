//! Verification of API key secrets. The stored value is the SHA-256 digest of a context string, the
//! credential id and the secret, encrypted under the master key. A secret has 190 bits of entropy,
//! so a fast digest is sufficient. Without the master key, a stolen database neither confirms a
//! guess nor allows a credential to be forged.

use aws_lc_rs::constant_time;
use ring::digest;

use crate::domain::{
    common::{derived_id::CredentialId, encryption::Plaintext},
    credentials::{
        format::{PresentedKey, Secret},
        secret_digest::SecretDigest,
    },
};

const DIGEST_CONTEXT: &[u8] = b"keyswap api key credential v1";

/// Returns the digest under which a secret is stored.
pub fn hash_secret(id: &CredentialId, secret: &Secret) -> SecretDigest {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [DIGEST_CONTEXT, id.as_str().as_bytes(), secret.expose()] {
        context.update(part);
        context.update(b"|");
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    SecretDigest::new(out)
}

/// Returns whether `presented` carries the secret whose digest is `stored`. For an unknown key the
/// caller passes the digest of a decoy, so the work is the same: one decryption, one digest and one
/// comparison in constant time.
pub fn is_correct(stored: &Plaintext, presented: &PresentedKey) -> bool {
    let given = hash_secret(&presented.credential_id, &presented.secret);
    constant_time::verify_slices_are_equal(stored, given.expose()).is_ok()
}
