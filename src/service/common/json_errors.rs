//! Descriptions of JSON errors. They name fields and never contain values.

use std::fmt::Display;

use serde_path_to_error::Segment;

use crate::service::InputFault;

/// Length of the longest name that an error shows in full. No name of the API is as long.
const MAX_SHOWN_NAME_LENGTH: usize = 24;
/// Number of parts of a path that an error shows. No path of the API has as many.
const MAX_SHOWN_PARTS: usize = 16;

/// A part of a path.
#[derive(Debug, Clone, Copy)]
pub enum PathPart<'a> {
    Name(&'a str),
    Position(usize),
}

/// Converts an error of serde. `whole` names the document, for an error that belongs to no member.
pub fn to_input_fault<E: Display>(whole: &str, error: &serde_path_to_error::Error<E>) -> InputFault {
    let parts = error.path().iter().map(|segment| match segment {
        Segment::Seq { index } => PathPart::Position(*index),
        Segment::Map { key: name } | Segment::Enum { variant: name } => PathPart::Name(name),
        Segment::Unknown => PathPart::Name("?"),
    });
    InputFault::new(format_path(whole, parts), remove_values(&error.inner().to_string()))
}

/// Formats a path as `statements[0].roles`. `whole` is the result for a path without parts.
pub fn format_path<'a>(whole: &str, parts: impl IntoIterator<Item = PathPart<'a>>) -> String {
    let mut path = String::new();
    for part in parts.into_iter().take(MAX_SHOWN_PARTS) {
        match part {
            PathPart::Name(name) if path.is_empty() => path.push_str(&truncate_name(name)),
            PathPart::Name(name) => path.extend([".", truncate_name(name).as_str()]),
            PathPart::Position(position) => path.push_str(&format!("[{position}]")),
        }
    }
    if path.is_empty() { whole.to_owned() } else { path }
}

/// Shortens a name for an error. A name that the client chose may be a misplaced secret, so a long
/// one is cut after its beginning, also if it contains dots or brackets.
pub fn truncate_name(name: &str) -> String {
    let name: String = name.chars().filter(char::is_ascii_graphic).collect();
    if name.len() > MAX_SHOWN_NAME_LENGTH { format!("{}...", &name[..8]) } else { name }
}

/// Removes the values that messages of serde quote. Messages of the domain types quote none.
pub fn remove_values(text: &str) -> String {
    let text = text.split(" at line ").next().unwrap_or_default();
    // The search starts at the end, because a value may contain the same words.
    if text.starts_with("invalid type: null") {
        return "must not be null: give it a value, or omit it".to_owned();
    }
    if let Some((what, expected)) = text.rsplit_once(", expected ") {
        let unknown = what.starts_with("unknown field") || what.starts_with("unknown variant");
        let lead = if unknown { "not recognized: expected" } else { "must be" };
        return format!("{lead} {expected}");
    }
    if text.starts_with("invalid ") || text.starts_with("unknown ") {
        return "not of the right kind".to_owned();
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_without_their_positions_and_with_their_dots() {
        use PathPart::{Name, Position};
        for (parts, expected) in [
            (vec![], "body"),
            (vec![Name("required_permissions"), Position(100)], "required_permissions[100]"),
            (vec![Name("statements"), Position(0), Name("roles")], "statements[0].roles"),
            (vec![Position(0), Name("a"), Position(1), Position(2)], "[0].a[1][2]"),
            (vec![Name("owner"), Name("acme.live.0123456789abcdef")], "owner.acme.liv..."),
            (vec![Name("a[0123456789abcdef0123456]")], "a[012345..."),
            (vec![Name("a.b"), Name("é c")], "a.b.c"),
        ] {
            assert_eq!(format_path("body", parts), expected);
        }
    }
}
