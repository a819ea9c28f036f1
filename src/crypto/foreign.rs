//! Keys of another make. Only their SHA-256 is known, which is what they are found by as well as what proves them; so it is found under
//! an HMAC of it with a key made from the master key, and sealed beside that: a stolen database confirms no guess, however little chance
//! was in a key.

use aws_lc_rs::constant_time;
use ring::hmac;

use crate::domain::{entropy::Entropy, foreign::ForeignDigest, id::CredentialId};

use super::{
    master::{MasterKey, MasterKeys},
    seal::{Purpose, SealError, Sealed},
    sha256,
};

const CONTEXT: &[u8] = b"keyswap foreign api key lookup v1";

/// The digest of a key that was presented.
pub fn digest_of(key: &str) -> ForeignDigest {
    ForeignDigest::new(sha256(key.as_bytes()))
}

/// What a digest that is sealed now is found under.
pub fn lookup(keys: &MasterKeys, digest: &ForeignDigest) -> String {
    under(keys.now().sealing().1, digest)
}

/// What a digest may be found under: it was sealed under one master key or another, and the current one comes first.
pub fn lookups(keys: &MasterKeys, digest: &ForeignDigest) -> Vec<String> {
    keys.now().each().map(|key| under(key, digest)).collect()
}

fn under(master: &MasterKey, digest: &ForeignDigest) -> String {
    // A key of its own: what the master key signs for one purpose must serve no other.
    let master = hmac::Key::new(hmac::HMAC_SHA256, master.bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&master, CONTEXT).as_ref());
    hmac::sign(&key, digest.expose()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sealed as every credential is, so that whoever seals credentials anew needs to know one way; a key in our own shape that names this
/// credential is a wrong one, and no fault of ours.
///
/// # Errors
/// No randomness for the seal.
pub fn seal(
    keys: &MasterKeys,
    id: &CredentialId,
    digest: &ForeignDigest,
    entropy: &dyn Entropy,
) -> Result<Sealed, SealError> {
    keys.seal(Purpose::Credential, id.as_str(), digest.expose(), entropy)
}

/// As `MasterKeys::reseal`, with what the digest is found under from then on.
///
/// # Errors
/// The row does not open, or there is no randomness for the seal.
pub fn reseal(
    keys: &MasterKeys,
    id: &str,
    sealed: &Sealed,
    entropy: &dyn Entropy,
) -> Result<(Sealed, String), SealError> {
    let opened = keys.open(Purpose::Credential, id, sealed)?;
    let digest = ForeignDigest::new(opened.as_slice().try_into().map_err(|_| SealError::DoesNotOpen)?);
    let anew = keys.seal(Purpose::Credential, id, digest.expose(), entropy)?;
    // Under the key that sealed it, should another have become the current one just now.
    let held = keys.now();
    let master = held.version(anew.master_version).ok_or(SealError::NoMasterKey(anew.master_version))?;
    let lookup = under(master, &digest);
    Ok((anew, lookup))
}

/// Whether `presented` is the digest that was sealed as `sealed` for the row `id`. For an unknown key the caller passes its decoy, and
/// the work is the same.
///
/// # Errors
/// The row does not open: it was altered, or its master key is missing.
pub fn proves(
    keys: &MasterKeys,
    id: &CredentialId,
    sealed: &Sealed,
    presented: &ForeignDigest,
) -> Result<bool, SealError> {
    let expected = keys.open(Purpose::Credential, id.as_str(), sealed)?;
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
        let (before, id) = (MasterKeys::single(1, first.clone()), CredentialId::decoy());
        let digest = digest_of("sk_live_4eC39HqLyjWDarjtT1zdp7dc");
        let (found_by, sealed) = (lookup(&before, &digest), seal(&before, &id, &digest, &entropy).unwrap());
        assert_eq!(found_by.len(), 64);

        let after = MasterKeys::from_versions([(1, first), (2, second.clone())]).unwrap();
        assert!(lookups(&after, &digest).contains(&found_by), "an older master key still finds it");
        assert_eq!(lookups(&after, &digest)[0], lookup(&after, &digest), "the newest first");
        assert!(proves(&after, &id, &sealed, &digest).unwrap());
        assert!(!proves(&after, &id, &sealed, &digest_of("sk_live_4eC39HqLyjWDarjtT1zdp7dd")).unwrap());

        let (anew, found_by_now) = reseal(&after, id.as_str(), &sealed, &entropy).unwrap();
        assert!(
            anew.master_version == 2 && found_by_now != found_by && lookups(&after, &digest).contains(&found_by_now)
        );
        assert!(proves(&after, &id, &anew, &digest).unwrap());
        let stranger = MasterKeys::single(2, second);
        assert!(!lookups(&stranger, &digest).contains(&found_by), "another master key finds nothing");
        let plain: String = digest.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_ne!(found_by, plain, "nor is the digest itself what stands there");
    }
}
