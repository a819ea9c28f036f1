//! Properties of the whole command line: every command, every option and every way to give a wrong configuration.

mod configuration_faults;
mod environment_files;
mod files;
mod findings;
mod options;
mod secrets;

use std::collections::BTreeMap;

/// The required arguments of each command. `{…}` is replaced by a value of the deployment.
const REQUIRED: &[(&str, &str)] = &[
    ("demo", "--once"),
    ("serve", ""),
    ("api-key create", "--name n"),
    ("api-key list", ""),
    ("api-key show", "{plain}"),
    ("api-key patch", "{plain}"),
    ("api-key rotate", "{plain}"),
    ("api-key cancel-rotation", "{plain}"),
    ("api-key suspend", "{plain}"),
    ("api-key resume", "{plain}"),
    ("api-key revoke", "{plain}"),
    ("api-key inspect", ""),
    ("signing-key list", ""),
    ("signing-key plan", ""),
    ("signing-key rotate", ""),
    ("signing-key import", "{rows}"),
    ("signing-key revoke", "{kid}"),
    ("master-key init", ""),
    ("master-key status", ""),
    ("master-key rotate", ""),
    ("master-key remove", "7"),
    ("backup", "{absent}"),
    ("restore status", ""),
    ("restore accept", ""),
    ("integrity list", ""),
    ("integrity accept", "audiences aud_01JD8V3T6Q4Z9R7M2N5K8P1XYA"),
    ("migrate", ""),
    ("import", "{rows}"),
    ("config check", ""),
    ("doctor", ""),
    ("openapi", ""),
    ("plan", "{fresh}"),
    ("apply", "{fresh}"),
];

/// Returns the options of each command in the command tree of the program.
fn options_by_command() -> BTreeMap<String, Vec<clap::Arg>> {
    fn collect(command: &clap::Command, path: &str, found: &mut BTreeMap<String, Vec<clap::Arg>>) {
        for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
            let path = format!("{path} {}", child.get_name());
            if child.has_subcommands() {
                collect(child, &path, found);
            } else {
                found.insert(path.trim().to_owned(), child.get_arguments().cloned().collect());
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(&keyswap::cli::command(), "", &mut found);
    found
}

#[test]
fn the_table_of_commands_is_complete() {
    let listed: Vec<_> = options_by_command().into_keys().collect();
    let mut required: Vec<_> = REQUIRED.iter().map(|(command, _)| *command).collect();
    required.sort_unstable();
    assert_eq!(listed, required);
}

/// A kid is base64url (RFC 7638 §3.1), of which one text in 64 begins with a hyphen.
#[test]
fn a_kid_may_begin_with_every_character_of_base64url() {
    let alphabet: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']).collect();
    for start in alphabet.iter().flat_map(|c| [format!("{c}x"), format!("-{c}")]) {
        let kid = format!("{start}{}", "x".repeat(41));
        for line in [vec!["revoke", &kid], vec!["revoke", &kid, "--json"], vec!["revoke", "--json", &kid]] {
            let line = [vec!["keyswap", "signing-key"], line].concat();
            let parsed = keyswap::cli::command().try_get_matches_from(&line).map_err(|error| error.to_string());
            assert!(parsed.is_ok(), "{line:?}: {parsed:?}");
        }
    }
    let unknown_option = ["keyswap", "signing-key", "revoke", "--jsno"];
    assert!(keyswap::cli::command().try_get_matches_from(unknown_option).is_err());
}

#[test]
fn every_command_has_help_of_80_columns_with_examples() {
    fn check(command: &mut clap::Command, path: &str) {
        let help = command.clone().term_width(80).render_long_help().to_string();
        assert!(command.has_subcommands() || path.contains(" help") || help.contains("Examples:"), "{path}");
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{path}: {} columns: {line}", line.chars().count());
        }
        for child in command.get_subcommands_mut() {
            let path = format!("{path} {}", child.get_name());
            let about = child.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(about.starts_with(char::is_uppercase), "{path} has no description");
            check(child, &path);
        }
    }
    let mut command = keyswap::cli::command();
    command.build();
    check(&mut command, "keyswap");
}
