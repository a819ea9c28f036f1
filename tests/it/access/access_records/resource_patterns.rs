//! Property tests of `Resource` and `ResourcePattern`.

use keyswap::domain::access::resource::{Resource, ResourcePattern};
use proptest::{collection::vec, prelude::*, sample::select};

/// User ids in common formats, including near-identical ones.
fn user() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "alice",
            "alice2",
            "Alice",
            "alic",
            "bob",
            "a",
            "..a",
            "auth0|alice",
            "alice@x.test",
            "alice;bob",
            "alice:bob"
        ])
        .prop_map(str::to_owned),
        "[A-Za-z0-9_@|:.-]{1,12}".prop_filter("a part of its own", |text| text != "." && text != ".."),
    ]
}

/// Path suffixes containing sequences that some server decodes or normalizes.
fn tricky() -> impl Strategy<Value = String> {
    vec(
        prop_oneof![
            select(vec![
                "/",
                "//",
                ".",
                "..",
                "/..",
                "/../",
                "..;",
                "/..;/",
                ";",
                "%2F",
                "%2f",
                "%2E%2E",
                "%2e%2e",
                "%5C",
                "\\",
                "%25",
                "%252F",
                "%00",
                "*",
                "?",
                "#",
                "%3B",
                "alice",
                "bob",
                "Users",
                "/Users/alice/",
                "/Users/bob/",
                "\u{ff0f}",
                "\t",
                " ",
                "%20",
                "~",
                "@",
                "",
            ])
            .prop_map(str::to_owned),
            "[ -~]{0,6}",
        ],
        0..8,
    )
    .prop_map(|parts| parts.concat())
}

/// Returns every interpretation of a path that a server may arrive at: percent-decoding up to three
/// times, backslashes turned into slashes, path parameters dropped, `.` and `..` resolved, and
/// empty segments skipped.
fn as_servers_read(text: &str) -> Vec<String> {
    let mut readings = vec![text.to_owned()];
    for _ in 0..3 {
        let last = readings.last().unwrap().clone();
        readings.push(unescaped(&last));
    }
    let all: Vec<_> = readings.iter().flat_map(|text| [text.clone(), text.replace('\\', "/")]).collect();
    all.into_iter().flat_map(|text| [resolved(&text, false), resolved(&text, true)]).collect()
}

fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn resolved(text: &str, drops_parameters: bool) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match if drops_parameters { part.split(';').next().unwrap() } else { part } {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    // Features: A8.
    /// A statement about one user's resources never matches another user's resources.
    #[test]
    fn statement_about_one_user_never_matches_another(one in user(), other in user(), rest in tricky()) {
        let pattern: ResourcePattern = format!("/Users/{one}/*").parse().unwrap();
        let path = format!("/Users/{other}/{rest}");
        let Ok(resource) = path.parse::<Resource>() else { return Ok(()) };
        prop_assert_eq!(pattern.matches(&resource), one == other, "{}", path);
    }

    // Features: A8.
    /// A resource that matches a pattern stays below the pattern's prefix under every
    /// interpretation.
    #[test]
    fn no_path_interpretation_escapes_a_pattern(rest in tricky()) {
        let pattern: ResourcePattern = "/Users/alice/Resources/*".parse().unwrap();
        for path in [format!("/Users/alice/Resources/{rest}"), format!("/Users/alice/{rest}"), format!("/{rest}"), rest] {
            let Ok(resource) = path.parse::<Resource>() else { continue };
            if pattern.matches(&resource) {
                for read in as_servers_read(&path) {
                    prop_assert!(read.starts_with("/Users/alice/Resources/"), "{} is read as {}", path, read);
                }
            }
        }
    }

    /// A wildcard in the middle matches exactly one segment, with any content.
    #[test]
    fn wildcard_in_the_middle_matches_one_segment(part in user(), more in user()) {
        let pattern: ResourcePattern = "/Users/*/profile".parse().unwrap();
        let is_one = |text: String| pattern.matches(&text.parse().unwrap());
        let (one, before, after) = (
            is_one(format!("/Users/{part}/profile")),
            is_one(format!("/Users/{part}/{more}/profile")),
            is_one(format!("/Users/{part}/profile/{more}")),
        );
        prop_assert_eq!((one, before, after), (true, false, false));
    }

    /// A pattern without a wildcard matches exactly one resource, byte by byte.
    #[test]
    fn pattern_without_wildcards_matches_only_itself(one in tricky(), other in tricky()) {
        let (one, other) = (format!("/a{one}"), format!("/a{other}"));
        let (Ok(pattern), Ok(resource)) = (one.parse::<ResourcePattern>(), other.parse::<Resource>()) else { return Ok(()) };
        if !one.contains('*') {
            prop_assert_eq!(pattern.matches(&resource), one == other);
        }
    }

    #[test]
    fn parser_accepts_any_text_without_panic(text in any::<String>()) {
        let _ = text.parse::<ResourcePattern>();
        let _ = text.parse::<Resource>();
    }
}

/// Validates `as_servers_read`: these paths escape the prefix under some interpretation, and the
/// parser rejects every one of them.
#[test]
fn path_interpretations_find_planted_escapes() {
    for path in [
        "/Users/alice/Resources/../../bob/x",
        "/Users/alice/Resources/..;/..;x=1/bob/x",
        "/Users/alice/Resources/%2E%2E/%2E%2E/bob/x",
        "/Users/alice/Resources/%252E%252E%252F..%252Fbob",
        "/Users/alice/Resources/..%5C..%5Cbob",
    ] {
        assert!(as_servers_read(path).iter().any(|read| !read.starts_with("/Users/alice/Resources/")), "{path}");
        assert!(path.parse::<Resource>().is_err(), "{path}");
    }
}
