//! The text of a key: native, imported, masked, and a key within another text.

use keyswap::domain::{
    common::{base62, key_text::contains_api_key},
    credentials::{
        format::{ApiKeyValue, MalformedKey, PresentedKey, masked_value},
        imported::{ImportedKeyDigest, MaskedKey, is_importable_format},
    },
};

/// The first byte selects whether the checksum is appended, which a fuzzer cannot guess.
pub fn run(input: &[u8]) -> Option<()> {
    let (mode, text) = input.split_first()?;
    let mut text = String::from_utf8_lossy(text).into_owned();
    match mode {
        b'c' => {
            let checksum = base62::encode_six_digits(crc32fast::hash(text.as_bytes()));
            text.extend(checksum.iter().map(|byte| char::from(*byte)));
        }
        b'r' => {}
        _ => return None,
    }
    check_native(&text);
    if is_importable_format(&text) {
        assert!(text.is_ascii() && (16..=512).contains(&text.len()));
    }
    if let Ok(masked) = text.parse::<MaskedKey>() {
        assert_eq!(masked.as_str(), text);
        assert!(!contains_api_key(&text) && text.chars().count() <= 40);
    }
    if let Ok(digest) = text.parse::<ImportedKeyDigest>() {
        let digits: String = digest.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digits, text.to_ascii_lowercase());
    }
    Some(())
}

fn check_native(text: &str) {
    match PresentedKey::parse(text) {
        Ok(key) => {
            let value = ApiKeyValue::format(&key.prefix, &key.credential_id, &key.secret);
            assert_eq!(value.expose(), text.trim_ascii(), "a key has one spelling");
            let masked = masked_value(&key.prefix, &key.credential_id);
            assert_eq!(masked, key.masked_value());
            let secret = str::from_utf8(key.secret.expose()).unwrap();
            assert!(!masked.contains(secret) && !format!("{key:?}").contains(secret), "{masked}");
            // A text in lowercase letters may be prose.
            let is_prose = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase());
            if !(is_prose(key.credential_id.as_str()) && is_prose(secret)) {
                assert!(contains_api_key(text) && contains_api_key(&format!("see {text}.")));
            }
            assert!(masked.parse::<MaskedKey>().is_ok_and(|parsed| parsed.as_str() == masked));
        }
        Err(error) => {
            let is_ascii = text.trim_ascii().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            assert_eq!(error == MalformedKey::Alphabet, !is_ascii, "{text:?}");
        }
    }
}
