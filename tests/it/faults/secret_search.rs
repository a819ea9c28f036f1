//! Searches for secrets in places where they must not occur: any twelve bytes of one, verbatim or
//! in the encodings that logs and databases use.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};

/// The number of consecutive bytes of a secret that count as a leak.
const PIECE: usize = 12;

/// The pieces of all secrets in every encoding.
#[derive(Default)]
pub struct Searcher {
    /// Keyed by their first twelve bytes.
    needles: HashMap<[u8; PIECE], BTreeMap<Vec<u8>, String>>,
    /// A bitmap of the first three bytes of all needles. It rejects most positions of a haystack
    /// early.
    begins: Vec<u64>,
}

impl Searcher {
    /// Adds `secret` to the search. `name` identifies it in the results.
    pub fn watch(&mut self, name: &str, secret: &[u8]) {
        assert!(secret.len() >= PIECE, "{name} is too short to be distinguished from random bytes");
        for piece in secret.windows(PIECE) {
            self.add(name, "as it is", piece);
            let hex = |upper: bool| {
                piece.iter().fold(String::new(), |mut text, byte| {
                    let _ = if upper { write!(text, "{byte:02X}") } else { write!(text, "{byte:02x}") };
                    text
                })
            };
            self.add(name, "in hex", hex(false).as_bytes());
            self.add(name, "in HEX", hex(true).as_bytes());
            let list = piece.iter().map(u8::to_string).collect::<Vec<_>>();
            self.add(name, "as a list of bytes", list.join(", ").as_bytes());
            self.add(name, "as a JSON list of bytes", list.join(",").as_bytes());
            let url: String = form_urlencoded::byte_serialize(piece).collect();
            self.add(name, "URL-encoded", url.as_bytes());
        }
        // Any twelve consecutive bytes contain nine that begin at a base64 group boundary, whatever
        // data precedes them in the encoded text.
        for group in secret.windows(9) {
            self.add(name, "in base64", STANDARD.encode(group).as_bytes());
            self.add(name, "in base64url", URL_SAFE.encode(group).as_bytes());
        }
    }

    fn add(&mut self, name: &str, how: &str, needle: &[u8]) {
        if self.begins.is_empty() {
            self.begins = vec![0; (1 << 24) / 64];
        }
        let at = place(needle);
        self.begins[at / 64] |= 1 << (at % 64);
        let head = needle[..PIECE].try_into().unwrap();
        self.needles.entry(head).or_default().entry(needle.to_vec()).or_insert_with(|| format!("{name} {how}"));
    }

    /// Returns the secrets found in `haystack`, each kind once. The search is a single pass,
    /// independent of the number of secrets.
    pub fn find(&self, haystack: &[u8]) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        if self.begins.is_empty() {
            return found;
        }
        // `at` holds the last three bytes. The loop has few instructions per byte because debug
        // builds search a hundred megabytes with it.
        let mut at = 0;
        for (end, byte) in haystack.iter().enumerate() {
            at = (at << 8 | usize::from(*byte)) & 0xff_ffff;
            if self.begins[at / 64] & (1 << (at % 64)) == 0 || end < 2 {
                continue;
            }
            let rest = &haystack[end - 2..];
            let Some(needles) = rest.get(..PIECE).and_then(|head| self.needles.get(head)) else { continue };
            for (needle, what) in needles {
                if rest.starts_with(needle) && !found.contains(what) {
                    found.push(what.clone());
                }
            }
        }
        found
    }
}

fn place(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2])
}

#[test]
fn search_finds_planted_secrets() {
    let secret = b"Zq8vN2mXc7LkP0sRt5WyBd3FgH1jUa6E";
    let mut searcher = Searcher::default();
    searcher.watch("it", secret);
    let hay = |middle: &str| format!("2026-11-22 INFO something {middle} and more of it").into_bytes();
    let text = std::str::from_utf8(secret).unwrap();
    assert!(searcher.find(&hay("harmless")).is_empty());
    assert!(searcher.find(&hay(&text[..11])).is_empty(), "eleven characters are a mask");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (planted, how) in [
        (text.to_owned(), "as it is"),
        (text[20..].to_owned(), "as it is"),
        (hex(secret), "in hex"),
        (hex(&secret[3..15]).to_uppercase(), "in HEX"),
        (format!("{secret:?}"), "as a list of bytes"),
        (serde_json::to_string(secret.as_slice()).unwrap(), "as a JSON list of bytes"),
    ] {
        assert!(searcher.find(&hay(&planted)).contains(&format!("it {how}")), "{planted}");
    }
    for before in ["", "a", "ab"] {
        let encoded = STANDARD.encode(format!("{before}{text}"));
        assert!(searcher.find(&hay(&encoded)).contains(&"it in base64".to_owned()), "after {before:?}");
        let twelve = URL_SAFE.encode(format!("{before}{}", &text[7..19]));
        let found = searcher.find(&hay(&twelve));
        assert!(found.iter().any(|what| what.starts_with("it in base64")), "after {before:?}");
    }
    let mut binary = Searcher::default();
    binary.watch("it", &[0xff, b'/', b'+', 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let encoded = "%FF%2F%2B%00%01%02%03%04%05%06%07%08%09";
    assert!(binary.find(&hay(encoded)).contains(&"it URL-encoded".to_owned()));
}
