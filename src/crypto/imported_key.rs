//! Imported keys: API keys that another system issued. Only the SHA-256 digest of such a key is
//! available, and it serves both as look-up value and as verifier. The row is indexed by an
//! HMAC-SHA256 of the digest under a key derived from the master key, and the digest itself is
//! stored encrypted. A stolen database therefore confirms no guess, even for keys of low entropy.

use aws_lc_rs::constant_time;
use ring::hmac;

use crate::{
    crypto::{
        encryption::{Encrypted, EncryptionError, SecretKind},
        hex,
        master_key_file::MasterKey,
        master_keys::MasterKeys,
        sha256,
    },
    domain::{
        common::{derived_id::CredentialId, entropy::Entropy},
        credentials::imported::ImportedKeyDigest,
    },
};

const LOOKUP_CONTEXT: &[u8] = b"keyswap foreign api key lookup v1";

/// Returns the SHA-256 digest of a presented key.
pub fn digest_of(key: &str) -> ImportedKeyDigest {
    ImportedKeyDigest::new(sha256(key.as_bytes()))
}

/// Returns the look-up value of a digest under the current master key.
pub fn compute_lookup(keys: &MasterKeys, digest: &ImportedKeyDigest) -> String {
    compute_lookup_under(keys.load().current().1, digest)
}

/// Returns the look-up values of a digest under every loaded master key, the current one first. The
/// stored row may have been written under any of them.
pub fn compute_lookups(keys: &MasterKeys, digest: &ImportedKeyDigest) -> Vec<String> {
    keys.load().iter().map(|key| compute_lookup_under(key, digest)).collect()
}

fn compute_lookup_under(master: &MasterKey, digest: &ImportedKeyDigest) -> String {
    // Domain separation: the look-up key is derived from the master key and has no other use.
    let master = hmac::Key::new(hmac::HMAC_SHA256, master.bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&master, LOOKUP_CONTEXT).as_ref());
    hex(hmac::sign(&key, digest.expose()).as_ref())
}

/// Encrypts the digest with the purpose of a native credential, so all rows of the credentials
/// table share one format. A native key that names the credential id of an imported key then fails
/// verification like any wrong key and does not cause a decryption error.
pub fn encrypt(
    keys: &MasterKeys,
    id: &CredentialId,
    digest: &ImportedKeyDigest,
    entropy: &dyn Entropy,
) -> Result<Encrypted, EncryptionError> {
    keys.encrypt(SecretKind::Credential, id.as_str(), digest.expose(), entropy)
}

/// Like `MasterKeys::re_encrypt`. Also returns the new look-up value.
pub fn re_encrypt(
    keys: &MasterKeys,
    id: &str,
    encrypted: &Encrypted,
    entropy: &dyn Entropy,
) -> Result<(Encrypted, String), EncryptionError> {
    let decrypted = keys.decrypt(SecretKind::Credential, id, encrypted)?;
    let digest =
        ImportedKeyDigest::new(decrypted.as_slice().try_into().map_err(|_| EncryptionError::DecryptionFailed)?);
    let re_encrypted = keys.encrypt(SecretKind::Credential, id, digest.expose(), entropy)?;
    // The look-up value uses the key version that encrypted the digest. The current version may
    // have changed since.
    let snapshot = keys.load();
    let master = snapshot
        .version(re_encrypted.master_version)
        .ok_or(EncryptionError::NoMasterKey(re_encrypted.master_version))?;
    let lookup = compute_lookup_under(master, &digest);
    Ok((re_encrypted, lookup))
}

/// Returns whether `presented` is the digest encrypted as `encrypted` for the row `id`. For an
/// unknown key the caller passes a decoy, so the work is the same.
pub fn verify(
    keys: &MasterKeys,
    id: &CredentialId,
    encrypted: &Encrypted,
    presented: &ImportedKeyDigest,
) -> Result<bool, EncryptionError> {
    let expected = keys.decrypt(SecretKind::Credential, id.as_str(), encrypted)?;
    Ok(constant_time::verify_slices_are_equal(&expected, presented.expose()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random::SystemEntropy;

    #[test]
    fn imported_key_is_found_and_verified_under_its_master_key_alone() {
        let entropy = SystemEntropy::default();
        let [first, second] = [MasterKey::generate(&entropy).unwrap(), MasterKey::generate(&entropy).unwrap()];
        let (before, id) = (MasterKeys::single(1, first.clone()), CredentialId::placeholder());
        let digest = digest_of("sk_live_4eC39HqLyjWDarjtT1zdp7dc");
        let (found_by, encrypted) =
            (compute_lookup(&before, &digest), encrypt(&before, &id, &digest, &entropy).unwrap());
        assert_eq!(found_by.len(), 64);

        let after = MasterKeys::from_versions([(1, first), (2, second.clone())]).unwrap();
        assert!(compute_lookups(&after, &digest).contains(&found_by), "an older master key still finds it");
        assert_eq!(compute_lookups(&after, &digest)[0], compute_lookup(&after, &digest), "the newest first");
        assert!(verify(&after, &id, &encrypted, &digest).unwrap());
        assert!(!verify(&after, &id, &encrypted, &digest_of("sk_live_4eC39HqLyjWDarjtT1zdp7dd")).unwrap());

        let (re_encrypted, found_by_now) = re_encrypt(&after, id.as_str(), &encrypted, &entropy).unwrap();
        assert!(
            re_encrypted.master_version == 2
                && found_by_now != found_by
                && compute_lookups(&after, &digest).contains(&found_by_now)
        );
        assert!(verify(&after, &id, &re_encrypted, &digest).unwrap());
        let stranger = MasterKeys::single(2, second);
        assert!(!compute_lookups(&stranger, &digest).contains(&found_by), "another master key finds nothing");
        let plain: String = digest.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_ne!(found_by, plain, "the look-up value is not the digest");
    }
}
