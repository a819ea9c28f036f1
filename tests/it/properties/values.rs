//! The format of API keys.

use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use keyswap::{
    crypto::random::SystemEntropy,
    domain::{
        common::{
            base62,
            derived_id::CredentialId,
            entropy::{Entropy, EntropyUnavailable},
            key_text::contains_api_key,
        },
        credentials::format::{ApiKeyValue, MalformedKey, Prefix, PresentedKey, Secret, masked_value},
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

const ID: &str = "4fY7Qk2ZtR9bXw1M";
const SECRET: &str = "0123456789abcdefABCDEF0123456789";

/// Texts with a valid checksum, so that only their form decides.
#[test]
fn parser_checks_the_form_of_a_text_with_a_valid_checksum() {
    let parse = |body: &str| {
        let checksum = base62::encode_six_digits(crc32fast::hash(body.as_bytes()));
        PresentedKey::parse(&format!("{body}{}", std::str::from_utf8(&checksum).unwrap()))
    };
    for prefix in ["k", "a_b", &"a".repeat(16)] {
        let parsed = parse(&format!("{prefix}_{ID}_{SECRET}")).unwrap();
        assert_eq!((parsed.prefix.as_str(), parsed.credential_id.as_str()), (prefix, ID));
        assert_eq!(parsed.secret.expose(), SECRET.as_bytes());
    }
    for (body, expected) in [
        (format!("ks_{ID}_{}_", &SECRET[1..]), MalformedKey::Format),
        (format!("ks_{}__{SECRET}", &ID[1..]), MalformedKey::Format),
        (format!("ks0{ID}_{SECRET}"), MalformedKey::Format),
        (format!("ks_{ID}0{SECRET}"), MalformedKey::Format),
        (format!("Ks_{ID}_{SECRET}"), MalformedKey::Format),
        (format!("ks__{ID}_{SECRET}"), MalformedKey::Format),
        (format!("k-s_{ID}_{SECRET}"), MalformedKey::Alphabet),
        (format!("_{ID}_{SECRET}"), MalformedKey::Length),
        (format!("ks_{SECRET}"), MalformedKey::Length),
        (format!("{}_{ID}_{SECRET}", "a".repeat(17)), MalformedKey::Length),
    ] {
        assert_eq!(parse(&body), Err(expected), "{body}");
    }
}

#[test]
fn prefix_has_1_to_16_characters_without_an_underscore_at_either_end() {
    for text in ["a", "0", "a_b", "sk_live", &"z9".repeat(8)] {
        assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
    }
    for text in ["", "_", "_a", "a_", "A", "a-b", "a b", "é", &"a".repeat(17)] {
        assert!(text.parse::<Prefix>().is_err(), "{text}");
    }
    assert_eq!(Prefix::portal_session().as_str(), "kps");
}

#[test]
fn value_of_a_key_has_all_its_parts_and_is_displayed_without_the_secret() {
    let prefix: Prefix = "sk_live".parse().unwrap();
    let (id, secret, value) = new_key(&prefix);
    assert_eq!(secret.expose().len(), 32);
    let body = format!("sk_live_{id}_{}", std::str::from_utf8(secret.expose()).unwrap());
    assert_eq!((&value.expose()[..body.len()], value.expose().len()), (body.as_str(), body.len() + 6));
    assert_eq!((format!("{secret:?}").as_str(), format!("{value:?}").as_str()), ("Secret(…)", "ApiKeyValue(…)"));
    let masked = format!("sk_live_{id}_…");
    assert_eq!(PresentedKey::parse(value.expose()).unwrap().masked_value(), masked);
    assert_eq!(masked_value(&prefix, &id), masked);
}

/// A key is found in any text, also without its checksum, and nothing shorter is.
#[test]
fn key_is_found_in_a_text() {
    let key = format!("_{ID}_{SECRET}");
    for text in [key.clone(), format!("ks{key}0aB9zZ"), format!("é: {key}…"), format!("{key}{key}")] {
        assert!(contains_api_key(&text), "{text}");
    }
    for length in 0..key.len() {
        assert!(!contains_api_key(&key[..length]) && !contains_api_key(&key[key.len() - length..]), "{length}");
    }
    for place in 0..key.len() {
        for other in ["-", "_", "a"] {
            let changed = format!("{}{other}{}", &key[..place], &key[place + 1..]);
            // A letter in place of one of the id or the secret leaves a key.
            let is_key = changed == key || (other == "a" && key.as_bytes()[place] != b'_');
            assert_eq!(contains_api_key(&changed), is_key, "{changed}");
        }
    }
    let lowercase = |length: usize| "a".repeat(length);
    for (id, secret, expected) in [
        (lowercase(16), lowercase(32), false),
        (format!("{}B", lowercase(15)), lowercase(32), true),
        (lowercase(16), format!("{}7", lowercase(31)), true),
        ("1".repeat(16), "1".repeat(32), true),
    ] {
        assert_eq!(contains_api_key(&format!("ks_{id}_{secret}")), expected, "{id} {secret}");
    }
}

/// Every byte value once, then an error.
#[derive(Default)]
struct EachByte(AtomicU8);

impl Entropy for EachByte {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
        let block = self.0.fetch_add(1, SeqCst);
        let first = block.checked_mul(64).ok_or(EntropyUnavailable)?;
        bytes.iter_mut().zip(first..=u8::MAX).for_each(|(byte, value)| *byte = value);
        Ok(())
    }
}

/// Each digit four times, and the bytes above are discarded.
#[test]
fn digits_are_uniformly_distributed() {
    let alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digits = |length| base62::generate_digits(&EachByte::default(), length);
    assert_eq!(*digits(248).unwrap(), alphabet.repeat(4));
    assert_eq!(*digits(62).unwrap(), alphabet);
    assert_eq!(*digits(1).unwrap(), "0");
    assert_eq!(digits(249), Err(EntropyUnavailable));
}
