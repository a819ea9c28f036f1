//! The format of API keys.

use keyswap::{
    crypto::random::SystemEntropy,
    domain::{
        common::derived_id::CredentialId,
        credentials::format::{ApiKeyValue, MalformedKey, Prefix, PresentedKey, Secret},
    },
};
use proptest::prelude::*;

fn prefix() -> impl Strategy<Value = Prefix> {
    "[a-z0-9]([a-z0-9_]{0,14}[a-z0-9])?".prop_map(|text| text.parse().unwrap())
}

fn new_key(prefix: &Prefix) -> (CredentialId, Secret, ApiKeyValue) {
    let entropy = SystemEntropy::default();
    let (id, secret) = (CredentialId::generate(&entropy).unwrap(), Secret::generate(&entropy).unwrap());
    let value = ApiKeyValue::format(prefix, &id, &secret);
    (id, secret, value)
}

proptest! {
    #[test]
    fn parse_after_format_is_identity(prefix in prefix()) {
        let (id, secret, value) = new_key(&prefix);
        let parsed = PresentedKey::parse(value.expose()).unwrap();
        prop_assert_eq!(parsed, PresentedKey { prefix, credential_id: id, secret });
    }

    #[test]
    fn parser_accepts_any_text_without_panic(text in any::<String>()) {
        let _ = PresentedKey::parse(&text);
    }

    #[test]
    fn parser_accepts_any_text_of_its_alphabet_without_panic(text in "[0-9A-Za-z_]{0,100}") {
        prop_assert!(PresentedKey::parse(&text).is_err(), "the chance is 2⁻³²");
    }

    #[test]
    fn parser_accepts_any_bytes_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = PresentedKey::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_key_is_only_letters_digits_and_underscores(prefix in prefix()) {
        let (_, _, value) = new_key(&prefix);
        prop_assert!(value.expose().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    }
}

/// Exhaustive for sample keys: every substitution and every transposition of adjacent characters.
#[test]
fn checksum_detects_every_substitution_and_transposition() {
    let alphabet: Vec<u8> = (b'0'..=b'9').chain(b'A'..=b'Z').chain(b'a'..=b'z').chain([b'_']).collect();
    for prefix in ["ks", "sk_live", "a", "abcdefghijklmno1"] {
        let (_, _, value) = new_key(&prefix.parse().unwrap());
        let key = value.expose().as_bytes();
        for at in 0..key.len() {
            for other in alphabet.iter().filter(|other| **other != key[at]) {
                let mut changed = key.to_vec();
                changed[at] = *other;
                assert_refused(&changed);
            }
            if at + 1 < key.len() && key[at] != key[at + 1] {
                let mut transposed = key.to_vec();
                transposed.swap(at, at + 1);
                assert_refused(&transposed);
            }
        }
    }
}

fn assert_refused(key: &[u8]) {
    let text = std::str::from_utf8(key).unwrap();
    assert_eq!(PresentedKey::parse(text), Err(MalformedKey::Checksum), "{text}");
}
