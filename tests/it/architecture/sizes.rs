//! The lengths of files and functions, and the number of parameters.

use super::source::{File, Sources};

const MAX_FILE_LINES: usize = 300;
const MAX_FUNCTION_LINES: usize = 60;
const MAX_PARAMETERS: usize = 5;

/// Files and functions (`file::function`) that may be longer, each with the reason. At most ten.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("store/schema.rs", "declares every table of the database, as `diesel print-schema` does"),
    ("http/routes.rs::public_routes", "the table of all routes, to be read on one screen"),
];

#[test]
fn files_and_functions_are_short() {
    assert!(EXCEPTIONS.len() <= 10, "at most ten exceptions");
    let long: Vec<_> = Sources::read().files.values().flat_map(too_long).collect();
    let is_excepted = |fault: &&Fault| EXCEPTIONS.iter().any(|(name, _)| *name == fault.name);
    let faults: Vec<_> = long.iter().filter(|fault| !is_excepted(fault)).map(|fault| fault.text.as_str()).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for (name, _) in EXCEPTIONS {
        assert!(long.iter().any(|fault| fault.name == *name), "{name} is short enough: remove it from the list");
    }
}

#[test]
fn comments_have_at_most_100_columns() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    for File { name, .. } in Sources::read().files.values() {
        let text = std::fs::read_to_string(root.join(name)).unwrap();
        let is_long = |line: &&str| line.trim_start().starts_with("//") && line.chars().count() > 100;
        faults.extend(text.lines().filter(is_long).map(|line| format!("{name}: {line}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn size_limits_report_a_planted_fault() {
    let body = "    let _ = 1;\n".repeat(MAX_FUNCTION_LINES);
    let text = format!("fn long(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8) {{\n{body}}}\n");
    let faults = too_long(&File::parse("x.rs".to_owned(), &text));
    assert_eq!(
        faults.iter().map(|fault| fault.text.as_str()).collect::<Vec<_>>(),
        ["x.rs::long has 62 lines", "x.rs::long has 6 parameters"]
    );
    let text = "const _: u8 = 1;\n".repeat(MAX_FILE_LINES + 1);
    assert_eq!(too_long(&File::parse("x.rs".to_owned(), &text))[0].text, "x.rs has 301 lines");
}

struct Fault {
    name: String,
    text: String,
}

fn too_long(file: &File) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add =
        |name: &str, what: String| faults.push(Fault { name: name.to_owned(), text: format!("{name} has {what}") });
    if file.lines > MAX_FILE_LINES {
        add(&file.name, format!("{} lines", file.lines));
    }
    for function in &file.functions {
        let name = format!("{}::{}", file.name, function.name);
        if function.lines > MAX_FUNCTION_LINES {
            add(&name, format!("{} lines", function.lines));
        }
        if function.parameters > MAX_PARAMETERS {
            add(&name, format!("{} parameters", function.parameters));
        }
    }
    faults
}
