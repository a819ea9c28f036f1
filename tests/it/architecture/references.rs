//! The documents for contributors name files and functions that exist.

use std::{fs, path::Path};

/// Documents, or folders of documents, that refer to the code.
const DOCUMENTS: &[&str] = &["CONTRIBUTING.md", "docs/development", "migrations/README.md"];

#[test]
fn documents_name_code_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut faults = Vec::new();
    for document in DOCUMENTS.iter().flat_map(|name| documents(&root.join(name))) {
        let text = fs::read_to_string(&document).unwrap();
        // A superseded decision describes the code of its time.
        if text.contains("**Superseded") {
            continue;
        }
        let name = document.strip_prefix(root).unwrap().display();
        faults.extend(unknown_references(&text, root).into_iter().map(|fault| format!("{name}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn references_report_planted_faults() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = "`src/lib.rs` and `src/nothing.rs`, or `src/main.rs` (`main`,\n  `missing`). `other` (`x`)";
    assert_eq!(unknown_references(text, root), ["there is no src/nothing.rs", "src/main.rs has no missing"]);
}

fn documents(path: &Path) -> Vec<std::path::PathBuf> {
    if path.is_file() {
        return if path.extension().is_some_and(|extension| extension == "md") {
            vec![path.to_owned()]
        } else {
            vec![]
        };
    }
    fs::read_dir(path).unwrap().flat_map(|entry| documents(&entry.unwrap().path())).collect()
}

/// The files of `text` that do not exist, and the names in parentheses after a file that it does not contain.
fn unknown_references(text: &str, root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    // Every second part is between backticks.
    let parts: Vec<_> = text.split('`').collect();
    for (position, path) in parts.iter().enumerate().skip(1).step_by(2) {
        let is_path = path.starts_with("src/") && path.ends_with(".rs") && !path.contains(['*', '<', '…']);
        if !is_path {
            continue;
        }
        let Ok(code) = fs::read_to_string(root.join(path)) else {
            faults.push(format!("there is no {path}"));
            continue;
        };
        let mut next = position + 1;
        let is_open = |text: &str, first: bool| if first { text.trim_start() == "(" } else { text.trim() == "," };
        while next + 1 < parts.len() && is_open(parts[next], next == position + 1) {
            let name = parts[next + 1].rsplit("::").next().unwrap_or_default();
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            if name.chars().all(is_word) && !code.split(|c| !is_word(c)).any(|word| word == name) {
                faults.push(format!("{path} has no {name}"));
            }
            next += 2;
        }
    }
    faults
}
