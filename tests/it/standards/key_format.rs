//! The format of API keys for users, secret scanners and the checksum.

use keyswap::{
    crypto::random::SystemEntropy,
    domain::{
        common::{derived_id::CredentialId, entropy::Entropy},
        credentials::format::{ApiKeyValue, MalformedKey, Prefix, PresentedKey, Secret},
    },
};

use crate::support::both;

fn made(prefix: &str, entropy: &SystemEntropy) -> String {
    let (id, secret) = (CredentialId::generate(entropy).unwrap(), Secret::generate(entropy).unwrap());
    ApiKeyValue::format(&prefix.parse::<Prefix>().unwrap(), &id, &secret).expose().to_owned()
}

/// The pattern for secret scanners:
/// `[a-z0-9](?:[a-z0-9_]{0,14}[a-z0-9])?_[0-9A-Za-z]{16}_[0-9A-Za-z]{38}`.
fn matches(text: &str) -> bool {
    let base62 =
        |part: &str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let Some((rest, tail)) = text.rsplit_once('_') else { return false };
    let Some((prefix, id)) = rest.rsplit_once('_') else { return false };
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = prefix.bytes().next().is_some_and(lower) && prefix.bytes().next_back().is_some_and(lower);
    let inside = prefix.bytes().all(|byte| lower(byte) || byte == b'_');
    ends && inside && prefix.len() <= 16 && base62(id, 16) && base62(tail, 38)
}

both! {
    // Requirements: gh-02.
    async fn double_click_selects_the_whole_key(server: Server, "api_keys.prefix=sk_live") {
        let key = server.generic_key(&[]).await;
        assert!(key.value.starts_with("sk_live_") && matches(&key.value));
        assert!(key.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        let encoded: String = form_urlencoded::byte_serialize(key.value.as_bytes()).collect();
        assert_eq!(encoded, key.value, "nothing to escape in a form, a URL or a header");
        let mut secrets: Vec<char> = key.value.rsplit('_').next().unwrap().chars().collect();
        assert_eq!(secrets.len(), 32 + 6, "190 bits and a checksum");
        secrets.dedup();
        assert!(secrets.len() > 20);
        server.fetch_token(&key.value).await;
    }
}

// Requirements: gh-03.
#[test]
fn every_key_matches_and_random_text_fails_the_checksum() {
    let entropy = SystemEntropy::default();
    for prefix in ["ks", "sk_live", "a", "0123456789abcdef"] {
        for _ in 0..2_500 {
            let key = made(prefix, &entropy);
            assert!(matches(&key), "{key}");
            assert!(PresentedKey::parse(&key).is_ok(), "{key}");
        }
    }
    // 200,000 random texts of the correct format.
    let alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut bytes = [0_u8; 54];
    for _ in 0..200_000 {
        entropy.fill(&mut bytes).unwrap();
        let mut text = String::with_capacity(58);
        text.push_str("ks_");
        for (at, byte) in bytes.iter().enumerate() {
            if at == 16 {
                text.push('_');
            }
            text.push(char::from(alphabet[usize::from(*byte) % 62]));
        }
        assert_eq!(PresentedKey::parse(&text), Err(MalformedKey::Checksum), "{text}");
    }
}

// `properties::checksum_detects_every_substitution_and_transposition` covers
// substitutions and transpositions.
// Requirements: gh-03.
#[test]
fn truncated_key_is_refused() {
    let entropy = SystemEntropy::default();
    for key in [made("ks", &entropy), made("sk_live", &entropy), made("a_1", &entropy)] {
        for at in 0..key.len() {
            let (head, tail) = (&key[..at], &key[at + 1..]);
            assert!(PresentedKey::parse(head).is_err() && PresentedKey::parse(tail).is_err(), "{key} cut at {at}");
        }
    }
}
