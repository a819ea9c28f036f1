//! How a credential is kept and proved: SHA-256 over a context, the id and the secret, sealed under the master key. The secret
//! has 190 bits, so a fast digest is enough; the seal keeps a stolen database from confirming or forging anything.

use aws_lc_rs::constant_time;
use ring::digest;

use crate::domain::{
    api_key_value::{PresentedKey, Secret},
    entropy::Entropy,
    id::CredentialId,
};

use super::{
    master::MasterKeys,
    seal::{Purpose, SealError, Sealed},
};

const CONTEXT: &[u8] = b"keyswap api key credential v1";

fn digest_of(id: &CredentialId, secret: &Secret) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [CONTEXT, id.as_str().as_bytes(), secret.expose()] {
        context.update(part);
        context.update(b"|");
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// # Errors
/// No randomness for the seal.
pub fn seal(keys: &MasterKeys, id: &CredentialId, secret: &Secret, entropy: &dyn Entropy) -> Result<Sealed, SealError> {
    keys.seal(Purpose::Credential, id.as_str(), &digest_of(id, secret), entropy)
}

/// As `seal`, for a portal session: whoever moves its row among the credentials finds that it does not open there.
///
/// # Errors
/// No randomness for the seal.
pub fn seal_session(
    keys: &MasterKeys,
    id: &CredentialId,
    secret: &Secret,
    entropy: &dyn Entropy,
) -> Result<Sealed, SealError> {
    keys.seal(Purpose::PortalSession, id.as_str(), &digest_of(id, secret), entropy)
}

/// Whether `presented` has the secret that was sealed as `sealed` for the row `id`. For an unknown key the caller passes its
/// decoy, and the work is the same: one digest, one opening, one comparison in constant time.
///
/// # Errors
/// The row does not open: it was altered, or its master key is missing.
pub fn proves(
    keys: &MasterKeys,
    id: &CredentialId,
    sealed: &Sealed,
    presented: &PresentedKey,
) -> Result<bool, SealError> {
    proves_as(Purpose::Credential, keys, id, sealed, presented)
}

/// As `proves`, for the token of a portal session.
///
/// # Errors
/// As `proves`.
pub fn proves_session(
    keys: &MasterKeys,
    id: &CredentialId,
    sealed: &Sealed,
    presented: &PresentedKey,
) -> Result<bool, SealError> {
    proves_as(Purpose::PortalSession, keys, id, sealed, presented)
}

fn proves_as(
    purpose: Purpose,
    keys: &MasterKeys,
    id: &CredentialId,
    sealed: &Sealed,
    presented: &PresentedKey,
) -> Result<bool, SealError> {
    let expected = keys.open(purpose, id.as_str(), sealed)?;
    let given = digest_of(&presented.credential, &presented.secret);
    Ok(constant_time::verify_slices_are_equal(&expected, &given).is_ok())
}
