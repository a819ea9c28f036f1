//! Percent-encoding of ids in paths, URLs and resource patterns (RFC 3986 §2.1).

use std::{borrow::Cow, fmt::Display};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_decode_str, utf8_percent_encode};

/// Every character except the unreserved ones (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Encodes a text as one segment of a path. Only letters, digits and `-._~` stay as they are.
pub fn encode_segment(text: &str) -> impl Display {
    utf8_percent_encode(text, RESERVED)
}

/// Decodes a segment of a path once. Returns `None` if it is not UTF-8.
pub fn decode_segment(segment: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(segment).decode_utf8().ok()
}

/// How often a segment is decoded to see what servers may make of it. A limit, because each
/// decoding of `%252525…` removes only two characters.
const MAX_DECODINGS: usize = 4;

/// Returns whether a segment remains one segment of the same path however often it is decoded: no
/// decoding contains a control character, a wildcard, a `.` or `..` between slashes or backslashes,
/// or nothing but them. Some servers ignore what follows a `;`.
pub fn is_safe_at_every_decoding(segment: &str) -> bool {
    let mut bytes = Cow::from(segment.as_bytes());
    for _ in 0..=MAX_DECODINGS {
        if !is_safe(&bytes) {
            return false;
        }
        if !bytes.contains(&b'%') {
            return true;
        }
        let decoded: Vec<u8> = percent_decode(&bytes).collect();
        if decoded.len() == bytes.len() {
            return true;
        }
        bytes = decoded.into();
    }
    false
}

fn is_safe(segment: &[u8]) -> bool {
    let is_printable = !segment.iter().any(|byte| byte.is_ascii_control() || *byte == b'*');
    // Some servers read a backslash as a slash.
    is_printable
        && stays_below(segment, |byte| *byte == b'/')
        && stays_below(segment, |byte| matches!(byte, b'/' | b'\\'))
}

/// Returns whether no part of a segment leads to its parent, and some part has a name.
fn stays_below(segment: &[u8], is_separator: fn(&u8) -> bool) -> bool {
    let mut names = segment.split(is_separator).filter_map(|part| part.split(|byte| *byte == b';').next());
    !names.clone().any(|name| matches!(name, b"." | b"..")) && names.any(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_decoded_to_the_text_that_was_encoded() {
        for text in
            ["alice", "auth0|alice", "a+b@c.example", "spiffe://td/ns/x", "100%", "%2F", "a b", "CN=A,OU=ü", "~-._"]
        {
            let encoded = encode_segment(text).to_string();
            assert_eq!(decode_segment(&encoded).unwrap(), text);
            assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)), "{encoded}");
        }
        assert_eq!(encode_segment("a/ü").to_string(), "a%2F%C3%BC");
        assert_eq!(decode_segment("%FF"), None);
    }

    #[test]
    fn a_segment_that_some_decoding_moves_is_not_safe() {
        for text in ["a", "a.b", "...", "a%2Fb", "spiffe%3A%2F%2Ftd%2Fx", "100%", "%25", "%zz", "a;b", "%C3%A4", "%FF"]
        {
            assert!(is_safe_at_every_decoding(text), "{text}");
        }
        for text in [
            ".",
            "..",
            "%2E",
            "%2e%2E",
            "%252E",
            "..%2Fa",
            "a%2F..",
            "a%5C..%5Cb",
            "..%3Bx",
            "..;x",
            "a/./b",
            "%2A",
            "%252a",
            "%00",
            "%0D%0A",
            "",
            ";x",
            "%2F",
            "%5C%3Bx",
            "%3B%5C0",
        ] {
            assert!(!is_safe_at_every_decoding(text), "{text}");
        }
    }

    /// A pattern is examined at each exchange, so the longest one must not take long.
    #[test]
    fn number_of_decodings_is_limited() {
        for (escapes, is_safe) in [(1, true), (4, true), (5, false), (1000, false)] {
            let segment = format!("%{}", "25".repeat(escapes));
            assert_eq!(is_safe_at_every_decoding(&segment), is_safe, "{escapes}");
        }
    }
}
