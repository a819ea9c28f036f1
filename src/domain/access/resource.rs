//! Resources, and patterns that match several of them. Both have exactly one spelling, and are
//! compared byte by byte in each part. Nothing is normalized: a text that a service could read
//! differently is refused, not compared.

use crate::domain::common::{key_text::contains_api_key, percent_encoding::is_safe_at_every_decoding, text::text_type};

/// Maximum length of a resource or a pattern, in bytes: enough for an organization and a user with
/// ids of 255 characters that are all percent-encoded.
pub const MAX_LENGTH: usize = 2048;
/// Matches exactly one part of a path in the middle of a pattern, and one or more at its end.
const WILDCARD: &str = "*";

text_type! {
    /// One resource: an absolute path (`/Users/alice/Resources/7`) or an absolute URI.
    pub struct Resource(|text| is_valid_resource(text, false));

    #[error("a resource is an absolute path or URI: 1 to 2048 printable ASCII characters without space, quotes, backslash, braces, ? and #, no \
     empty, . or .. part, no *, %-escapes in upper case, only for what needs one, and none that \
     decodes to *, a control character or a . or .. part, and no API key in it")]
    pub struct InvalidResource;
}

text_type! {
    /// A pattern: a resource with `*` in place of whole parts of the path
    /// (`/Users/alice/Resources/*`).
    pub struct ResourcePattern(|text| is_valid_resource(text, true));

    #[error("a resource is an absolute path or URI: 1 to 2048 printable ASCII characters without space, quotes, backslash, braces, ? and #, no \
     empty, . or .. part, * only as a whole part of the path, %-escapes in upper case, only for what needs one, and none that \
     decodes to *, a control character or a . or .. part, and no API key in it")]
    pub struct InvalidResourcePattern;
}

impl ResourcePattern {
    /// Returns whether the pattern matches the resource.
    pub fn matches(&self, resource: &Resource) -> bool {
        // The scheme and the host of a URI are compared like other parts. They contain no wildcard.
        let (mut pattern, mut parts) = (self.0.split('/').peekable(), resource.0.split('/'));
        loop {
            match (pattern.next(), parts.next()) {
                (None, None) => return true,
                (Some(WILDCARD), Some(_)) if pattern.peek().is_none() => return true,
                (Some(WILDCARD), Some(_)) => {}
                (Some(one), Some(other)) if one == other => {}
                (Some(_) | None, _) => return false,
            }
        }
    }

    /// Returns whether the pattern matches every resource that `other` matches.
    pub fn contains(&self, other: &Self) -> bool {
        let (mut own, mut others) = (self.0.split('/').peekable(), other.0.split('/'));
        loop {
            match (own.next(), others.next()) {
                (None, None) => return true,
                // The rest of `other` matches one or more parts, whatever it is.
                (Some(WILDCARD), Some(_)) if own.peek().is_none() => return true,
                // If this wildcard ends `other`, which matches any number of parts, the next part
                // differs.
                (Some(WILDCARD), Some(_)) => {}
                // A wildcard in `other` also matches parts that differ from a literal one.
                (Some(one), Some(other)) if one == other => {}
                (Some(_) | None, _) => return false,
            }
        }
    }
}

fn is_valid_resource(text: &str, with_wildcards: bool) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"'`\\{}?#".contains(&byte);
    if !(1..=MAX_LENGTH).contains(&text.len())
        || !text.bytes().all(is_allowed)
        || !has_canonical_escapes(text)
        || contains_api_key(text)
    {
        return false;
    }
    let Some(path) = text.strip_prefix('/') else { return is_valid_uri(text, with_wildcards) };
    path.split('/').all(|part| is_valid_segment(part, with_wildcards))
}

fn is_valid_uri(text: &str, with_wildcards: bool) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(letters);
    // `scheme://host/path`, or `scheme:path` without a host.
    let mut parts = rest.strip_prefix("//").unwrap_or(rest).split('/');
    is_scheme
        && parts.next().is_some_and(|head| is_valid_segment(head, false))
        && parts.all(|part| is_valid_segment(part, with_wildcards))
}

/// Returns whether a part of a path is valid.
fn is_valid_segment(part: &str, with_wildcards: bool) -> bool {
    if part.contains(WILDCARD) {
        return with_wildcards && part == WILDCARD;
    }
    is_safe_at_every_decoding(part)
}

/// Returns whether each `%` is followed by two uppercase hexadecimal digits, and encodes a
/// character that requires it. An escaped letter would give a resource a second spelling.
fn has_canonical_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let Some(digits) = rest.get(..2) else { return false };
        let is_upper = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte));
        let byte = u8::from_str_radix(digits, 16).unwrap_or_default();
        is_upper && !byte.is_ascii_control() && !byte.is_ascii_alphanumeric() && !b"-._~".contains(&byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, resource: &str) -> bool {
        pattern.parse::<ResourcePattern>().unwrap().matches(&resource.parse().unwrap())
    }

    #[test]
    fn a_wildcard_is_one_part_in_the_middle_and_one_or_more_at_the_end() {
        for (pattern, resource) in [
            ("/Users/alice/*", "/Users/alice/x"),
            ("/Users/alice/*", "/Users/alice/x/y/z"),
            ("/Users/*/Resources/*", "/Users/alice/Resources/7"),
            ("/Users/*/Resources", "/Users/alice/Resources"),
            ("/*", "/a"),
            ("/*", "/a/b"),
            ("/a", "/a"),
            ("https://api.test/*", "https://api.test/a/b"),
            ("https://api.test/docs/*/x", "https://api.test/docs/1/x"),
            ("urn:example:doc:1", "urn:example:doc:1"),
            ("/a%20b/*", "/a%20b/c"),
        ] {
            assert!(matches(pattern, resource), "{pattern} {resource}");
        }
        for (pattern, resource) in [
            ("/Users/alice/*", "/Users/alice2/x"),
            ("/Users/alice/*", "/Users/alice"),
            ("/Users/alice/*", "/Users/Alice/x"),
            ("/Users/alice/*", "/Users/bob/alice/x"),
            ("/Users/alice", "/Users/alice/x"),
            ("/Users/*/Resources/*", "/Users/alice/more/Resources/7"),
            ("/Users/*/Resources/*", "/Users/alice/Resources"),
            ("/*/x", "/a/b/x"),
            ("/*", "https://api.test/a"),
            ("https://api.test/*", "https://api.test"),
            ("https://api.test/*", "https://api.test.evil/a"),
            ("https://api.test/*", "http://api.test/a"),
            ("https://api.test/*", "HTTPS://api.test/a"),
            ("/a/*/*", "/a/b"),
        ] {
            assert!(!matches(pattern, resource), "{pattern} {resource}");
        }
        assert!(matches("/a/*/*", "/a/b/c/d"));
    }

    #[test]
    fn ambiguous_resource_is_refused() {
        let long = format!("/{}", "a".repeat(MAX_LENGTH));
        for text in [
            "",
            "/",
            "//",
            "a",
            "a/b",
            "/a/",
            "/a//b",
            "//host/a",
            "/.",
            "/..",
            "/a/./b",
            "/a/../b",
            "/a/..;/b",
            "/a/.;x=1/b",
            "/a/;x/b",
            "/a%2f",
            "/%2E%2E/b",
            "/%2e",
            "/..%2Fb",
            "/a%2F..%2Fb",
            "/a%5C..",
            "/..%3Bx/b",
            "/%252E%252E/b",
            "/%25252e/b",
            "/%2A",
            "/%252A/b",
            "/%250A",
            "/%61",
            "/%7E",
            "/%00",
            "/%0A",
            "/%7F",
            "/%",
            "/%2",
            "/%GG",
            "/%e4",
            "/a b",
            "/a\"",
            "/a'",
            "/a`",
            "/a\\b",
            "/{sub}",
            "/a?b",
            "/a#b",
            "/é",
            "/a\u{7f}",
            "/a\n",
            "https:",
            "https://",
            "https:///a",
            "https://h/",
            "https:/a",
            "1http://a/b",
            ":a",
            &long,
        ] {
            assert!(text.parse::<ResourcePattern>().is_err(), "{text}");
            assert!(text.parse::<Resource>().is_err(), "{text}");
        }
        for text in ["/a*", "/*a", "/a*b/c", "/**", "https://*/a", "https://*.test/a", "*", "urn:*", "*://a/b", "/*;x"]
        {
            assert!(text.parse::<ResourcePattern>().is_err(), "{text}");
        }
        for text in ["/*", "/a/*", "/*/b", "https://h/*"] {
            assert!(text.parse::<ResourcePattern>().is_ok() && text.parse::<Resource>().is_err(), "{text}");
        }
        for text in [
            "/a",
            "/...",
            "/.a",
            "/a..b",
            "/a;v=1",
            "/auth0|alice/x@y:z",
            "/a%20b%C3%A4%7C",
            "https://h:8080/a",
            "urn:a:b",
            "/users/spiffe%3A%2F%2Ftd%2Fns%2Fx",
            "/a%2Fb%5Cc%3Bd%25",
            &long[..MAX_LENGTH],
        ] {
            assert!(text.parse::<Resource>().is_ok() && text.parse::<ResourcePattern>().is_ok(), "{text}");
        }
    }
}
