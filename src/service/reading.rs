//! What is wrong with JSON that was sent, told by fields and never by values.

use super::Fault;

/// The longest name of a member that an error shows whole.
const LONGEST_NAME: usize = 24;

/// The fault that serde found; `whole` names the thing that was read, where it is no member of it.
pub fn fault(whole: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> Fault {
    let field = match error.path().to_string() {
        path if path == "." => whole.to_owned(),
        path => shown(&path),
    };
    Fault::new(field, message(&error.inner().to_string()))
}

/// A path as it is told: a name that the client made up may be a secret in the wrong place, so of a long one only the beginning
/// is shown. None of ours is as long.
pub fn shown(path: &str) -> String {
    let names = path.split('.').map(|name| {
        let name: String = name.chars().filter(char::is_ascii_graphic).collect();
        if name.len() > LONGEST_NAME { format!("{}...", &name[..8]) } else { name }
    });
    names.take(8).collect::<Vec<_>>().join(".")
}

/// serde's own messages quote values; ours, from the types of the domain, do not.
fn message(text: &str) -> String {
    let text = text.split(" at line ").next().unwrap_or_default();
    // From the right: a value may hold the same words.
    if let Some((what, expected)) = text.rsplit_once(", expected ") {
        let unknown = what.starts_with("unknown field") || what.starts_with("unknown variant");
        let lead = if unknown { "not known here: expected" } else { "must be" };
        return format!("{lead} {expected}");
    }
    if text.starts_with("invalid ") || text.starts_with("unknown ") {
        return "not of the right kind".to_owned();
    }
    text.to_owned()
}
