//! Imported keys: API keys that another system issued. Only the SHA-256 digest of such a key is
//! available, and it serves both as look-up value and as verifier. The row is indexed by an
//! HMAC-SHA256 of the digest under a key derived from the master key, and the digest itself is
//! stored encrypted. A stolen database therefore confirms no guess, even for keys of low entropy.

use aws_lc_rs::constant_time;
use ring::hmac;

use crate::{
    crypto::{
        encryption::{Encrypted, EncryptionError, SecretKind},
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
pub fn lookup(keys: &MasterKeys, digest: &ImportedKeyDigest) -> String {
    compute_lookup_under(keys.now().sealing().1, digest)
}

/// Returns the look-up values of a digest under every loaded master key, the current one first. The
/// stored row may have been written under any of them.
pub fn compute_lookups(keys: &MasterKeys, digest: &ImportedKeyDigest) -> Vec<String> {
    keys.now().iter().map(|key| compute_lookup_under(key, digest)).collect()
}

fn compute_lookup_under(master: &MasterKey, digest: &ImportedKeyDigest) -> String {
    // Domain separation: the look-up key is derived from the master key and has no other use.
    let master = hmac::Key::new(hmac::HMAC_SHA256, master.bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&master, LOOKUP_CONTEXT).as_ref());
    hmac::sign(&key, digest.expose()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Encrypts the digest with the purpose of a native credential, so all rows of the credentials
/// table share one format. A native key that names the credential id of an imported key then fails
/// verification like any wrong key and does not cause a decryption error.
pub fn seal(
    keys: &MasterKeys,
    id: &CredentialId,
    digest: &ImportedKeyDigest,
    entropy: &dyn Entropy,
) -> Result<Encrypted, EncryptionError> {
    keys.seal(SecretKind::Credential, id.as_str(), digest.expose(), entropy)
}

/// Like `MasterKeys::reseal`. Also returns the new look-up value.
pub fn reseal(
    keys: &MasterKeys,
    id: &str,
    sealed: &Encrypted,
    entropy: &dyn Entropy,
) -> Result<(Encrypted, String), EncryptionError> {
    let opened = keys.open(SecretKind::Credential, id, sealed)?;
    let digest = ImportedKeyDigest::new(opened.as_slice().try_into().map_err(|_| EncryptionError::DecryptionFailed)?);
    let anew = keys.seal(SecretKind::Credential, id, digest.expose(), entropy)?;
    // The look-up value uses the key version that encrypted the digest. The current version may
    // have changed since.
    let held = keys.now();
    let master = held.version(anew.master_version).ok_or(EncryptionError::NoMasterKey(anew.master_version))?;
    let lookup = compute_lookup_under(master, &digest);
    Ok((anew, lookup))
}

/// Returns whether `presented` is the digest encrypted as `sealed` for the row `id`. For an unknown
/// key the caller passes a decoy, so the work is the same.
pub fn proves(
    keys: &MasterKeys,
    id: &CredentialId,
    sealed: &Encrypted,
    presented: &ImportedKeyDigest,
) -> Result<bool, EncryptionError> {
    let expected = keys.open(SecretKind::Credential, id.as_str(), sealed)?;
    Ok(constant_time::verify_slices_are_equal(&expected, presented.expose()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random::SystemEntropy;

    #[test]
    fn p13_a_foreign_key_is_found_and_proved_under_its_master_key_alone() {
        let entropy = SystemEntropy::default();
        let [first, second] = [MasterKey::generate(&entropy).unwrap(), MasterKey::generate(&entropy).unwrap()];
        let (before, id) = (MasterKeys::single(1, first.clone()), CredentialId::placeholder());
        let digest = digest_of("sk_live_4eC39HqLyjWDarjtT1zdp7dc");
        let (found_by, sealed) = (lookup(&before, &digest), seal(&before, &id, &digest, &entropy).unwrap());
        assert_eq!(found_by.len(), 64);

        let after = MasterKeys::from_versions([(1, first), (2, second.clone())]).unwrap();
        assert!(compute_lookups(&after, &digest).contains(&found_by), "an older master key still finds it");
        assert_eq!(compute_lookups(&after, &digest)[0], lookup(&after, &digest), "the newest first");
        assert!(proves(&after, &id, &sealed, &digest).unwrap());
        assert!(!proves(&after, &id, &sealed, &digest_of("sk_live_4eC39HqLyjWDarjtT1zdp7dd")).unwrap());

        let (anew, found_by_now) = reseal(&after, id.as_str(), &sealed, &entropy).unwrap();
        assert!(
            anew.master_version == 2
                && found_by_now != found_by
                && compute_lookups(&after, &digest).contains(&found_by_now)
        );
        assert!(proves(&after, &id, &anew, &digest).unwrap());
        let stranger = MasterKeys::single(2, second);
        assert!(!compute_lookups(&stranger, &digest).contains(&found_by), "another master key finds nothing");
        let plain: String = digest.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_ne!(found_by, plain, "nor is the digest itself what stands there");
    }
}
