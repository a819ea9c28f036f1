//! Storage and verification of API key secrets. The stored value is the SHA-256 digest of a context
//! string, the credential id and the secret, encrypted under the master key. A secret has 190 bits
//! of entropy, so a fast digest is sufficient. Without the master key, a stolen database neither
//! confirms a guess nor allows a credential to be forged.

use aws_lc_rs::constant_time;
use ring::digest;

use crate::{
    crypto::{
        encryption::{Encrypted, EncryptionError, SecretKind},
        master_keys::MasterKeys,
    },
    domain::{
        common::{derived_id::CredentialId, entropy::Entropy},
        credentials::format::{PresentedKey, Secret},
    },
};

const DIGEST_CONTEXT: &[u8] = b"keyswap api key credential v1";

fn hash_secret(id: &CredentialId, secret: &Secret) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [DIGEST_CONTEXT, id.as_str().as_bytes(), secret.expose()] {
        context.update(part);
        context.update(b"|");
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// Encrypts the digest of `secret` for the row `id`. The kind is part of the associated data, so
/// the row of a portal session copied into the credentials table does not decrypt.
pub fn encrypt(
    keys: &MasterKeys,
    kind: SecretKind,
    id: &CredentialId,
    secret: &Secret,
    entropy: &dyn Entropy,
) -> Result<Encrypted, EncryptionError> {
    keys.encrypt(kind, id.as_str(), &hash_secret(id, secret), entropy)
}

/// Returns whether `presented` carries the secret encrypted as `encrypted` for the row `id`. For an
/// unknown key the caller passes a decoy, so the work is the same: one digest, one decryption and
/// one constant-time comparison.
pub fn verify(
    keys: &MasterKeys,
    kind: SecretKind,
    id: &CredentialId,
    encrypted: &Encrypted,
    presented: &PresentedKey,
) -> Result<bool, EncryptionError> {
    let expected = keys.decrypt(kind, id.as_str(), encrypted)?;
    let given = hash_secret(&presented.credential_id, &presented.secret);
    Ok(constant_time::verify_slices_are_equal(&expected, &given).is_ok())
}
