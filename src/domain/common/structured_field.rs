//! Strings in header fields (RFC 9651).

/// Reads a string in double quotes at the start of a text, in which a backslash escapes a quote or
/// a backslash (RFC 9651 §3.3.3). Returns it with the rest of the text.
pub fn parse_string(text: &str) -> Option<(String, &str)> {
    let (mut string, mut characters) = (String::new(), text.strip_prefix('"')?.chars());
    loop {
        match characters.next()? {
            '"' => return Some((string, characters.as_str())),
            '\\' => string.push(characters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            other => string.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_ends_at_its_quote() {
        for (text, expected) in [
            (r#""a""#, Some(("a", ""))),
            (r#""""#, Some(("", ""))),
            (r#""a b"; c"#, Some(("a b", "; c"))),
            (r#""a\"b\\""#, Some((r#"a"b\"#, ""))),
            (r#""a\b""#, None),
            (r#""a"#, None),
            (r#""a\"#, None),
            ("a", None),
            ("", None),
        ] {
            let found = parse_string(text);
            assert_eq!(found.as_ref().map(|(string, rest)| (string.as_str(), *rest)), expected, "{text}");
        }
    }
}
