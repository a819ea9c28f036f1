//! Descriptions of JSON errors. They name fields and never contain values.

use std::fmt::Display;

use crate::service::InputFault;

/// Length of the longest member name that an error shows in full.
const MAX_SHOWN_NAME_LENGTH: usize = 24;

/// Converts an error of serde. `whole` names the document, for an error that belongs to no member.
pub fn to_input_fault<E: Display>(whole: &str, error: &serde_path_to_error::Error<E>) -> InputFault {
    let field = match error.path().to_string() {
        path if path == "." => whole.to_owned(),
        path => truncate_path(&path),
    };
    InputFault::new(field, remove_values(&error.inner().to_string()))
}

/// Shortens a path for an error. A member name that the client chose may be a misplaced secret, so
/// a long one is cut after its beginning. No member name of the API is as long.
pub fn truncate_path(path: &str) -> String {
    let names = path.split('.').map(|name| {
        let name: String = name.chars().filter(char::is_ascii_graphic).collect();
        if name.len() > MAX_SHOWN_NAME_LENGTH { format!("{}...", &name[..8]) } else { name }
    });
    names.take(8).collect::<Vec<_>>().join(".")
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
