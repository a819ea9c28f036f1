//! Secrets are read from files and standard input. Arguments are visible to every user of a machine.

use std::process::{Command, Stdio};

use super::options_by_command;

/// Every argument that takes a text, and what it takes. A new argument must be added, and must not
/// take a secret.
const ARGUMENTS: &[(&str, &str)] = &[
    ("config", "the path of a file"),
    ("set", "settings; a password of the database is refused"),
    ("file", "the path of a file, or - for standard input"),
    ("format", "the name of a format"),
    ("id", "an id"),
    ("kid", "an id"),
    ("table", "the name of a table"),
    ("row", "an id"),
    ("version", "the number of a master key"),
    ("name", "a name"),
    ("description", "a text"),
    ("service_client", "an id"),
    ("user", "an id"),
    ("organization", "an id"),
    ("owner_type", "a type"),
    ("state", "a state"),
    ("created_by", "an id"),
    ("unused_for", "a length of time"),
    ("permissions", "names"),
    ("audiences", "identifiers"),
    ("expires_in", "a length of time"),
    ("max_token_ttl", "a length of time"),
    ("exchanges_per_minute", "a number"),
    ("metadata", "a JSON object, which is not secret"),
    ("import_sha256", "a digest, from which no key can be derived"),
    ("import_masked", "a masked key"),
    ("grace", "a length of time"),
];

#[test]
fn no_argument_takes_a_secret() {
    let mut unknown = Vec::new();
    for (command, arguments) in options_by_command() {
        for argument in arguments.iter().filter(|argument| argument.get_action().takes_values()) {
            let id = argument.get_id().as_str();
            if !ARGUMENTS.iter().any(|(known, _)| *known == id) {
                unknown.push(format!("{command} {id}"));
            }
        }
    }
    assert!(unknown.is_empty(), "add to the table what these take: {unknown:?}");
}

#[test]
fn a_key_given_as_an_argument_is_refused_and_not_repeated() {
    let key = "ks_0000000000000000_00000000000000000000000000000000abcdef";
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyswap"));
    let output = command.args(["api-key", "inspect", key]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("not as an argument") && !said.contains("000000"), "{said}");
}
