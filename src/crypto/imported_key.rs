//! Imported keys: API keys that another system issued. Only the SHA-256 digest of such a key is
//! available, and it serves both as look-up value and as verifier. The row is indexed by an
//! HMAC-SHA256 of the digest under a key derived from the master key, and the digest itself is
//! stored encrypted. A stolen database therefore confirms no guess, even for keys of low entropy.

use aws_lc_rs::constant_time;
use ring::hmac;

use crate::{
    crypto::{hex, master_key_file::MasterKey, master_keys::MasterKeys, sha256},
    domain::{common::encryption::Plaintext, credentials::imported::ImportedKeyDigest},
};

const LOOKUP_CONTEXT: &[u8] = b"keyswap foreign api key lookup v1";

/// Returns the SHA-256 digest of a presented key.
pub fn digest_of(key: &str) -> ImportedKeyDigest {
    ImportedKeyDigest::new(sha256(key.as_bytes()))
}

/// Returns the look-up value of a digest under the current master key.
pub fn compute_lookup(keys: &MasterKeys, digest: &ImportedKeyDigest) -> String {
    compute_lookup_under(keys.load().current().1, digest.expose())
}

/// Returns the look-up values of a digest under every loaded master key, the current one first. The
/// stored row may have been written under any of them.
pub fn compute_lookups(keys: &MasterKeys, digest: &ImportedKeyDigest) -> Vec<String> {
    keys.load().iter().map(|key| compute_lookup_under(key, digest.expose())).collect()
}

pub(crate) fn compute_lookup_under(master: &MasterKey, digest: &[u8]) -> String {
    // Domain separation: the look-up key is derived from the master key and has no other use.
    let master = hmac::Key::new(hmac::HMAC_SHA256, master.bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&master, LOOKUP_CONTEXT).as_ref());
    hex(hmac::sign(&key, digest).as_ref())
}

/// Returns whether `presented` is the digest that was stored, in constant time.
pub fn is_correct(stored: &Plaintext, presented: &ImportedKeyDigest) -> bool {
    constant_time::verify_slices_are_equal(stored, presented.expose()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{crypto::random::SystemEntropy, domain::common::encryption::RowCipher as _};

    #[test]
    fn imported_key_is_found_under_its_master_key_alone() {
        let entropy = SystemEntropy::default();
        let [first, second] = [MasterKey::generate(&entropy).unwrap(), MasterKey::generate(&entropy).unwrap()];
        let before = MasterKeys::single(1, first.clone());
        let digest = digest_of("sk_live_4eC39HqLyjWDarjtT1zdp7dc");
        let found_by = compute_lookup(&before, &digest);
        assert_eq!(found_by.len(), 64);

        let after = MasterKeys::from_versions([(1, first), (2, second.clone())]).unwrap();
        assert!(compute_lookups(&after, &digest).contains(&found_by), "an older master key still finds it");
        assert_eq!(compute_lookups(&after, &digest)[0], compute_lookup(&after, &digest), "the newest first");
        assert_eq!(after.imported_key_lookup(1, digest.expose()).unwrap(), found_by);
        assert_eq!(after.imported_key_lookup(2, digest.expose()).unwrap(), compute_lookup(&after, &digest));
        let stranger = MasterKeys::single(2, second);
        assert!(!compute_lookups(&stranger, &digest).contains(&found_by), "another master key finds nothing");
        let plain: String = digest.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_ne!(found_by, plain, "the look-up value is not the digest");

        let stored = Plaintext::new(digest.expose().to_vec());
        assert!(is_correct(&stored, &digest));
        assert!(!is_correct(&stored, &digest_of("sk_live_4eC39HqLyjWDarjtT1zdp7dd")));
    }
}
