//! Every option of every command has an effect, or is refused with a reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use super::{REQUIRED, options_by_command};
use crate::{
    faults::process::{Deployment, ProcessOutput},
    support::Kind,
};

/// A command, an option, and a text that the command prints only with the option.
const EFFECTS: &[(&str, &str, &str)] = &[
    ("api-key list --json", "--service-client svc_01ARZ3NDEKTSV4RRFFQ69G5FAV", "[]\n"),
    ("api-key list --json", "--organization acme", "[]\n"),
    ("api-key list --json", "--user ada", "[]\n"),
    ("api-key list --json", "--owner-type organization", "[]\n"),
    ("api-key list --json", "--state revoked", "[]\n"),
    ("api-key list --json", "--created-by user:ada", "[]\n"),
    ("api-key list --json", "--unused-for 1d", "[]\n"),
    ("api-key list --json", "--archived", "[]\n"),
    ("api-key create --name n --json", "--user ada", "\"id\": \"ada\""),
    ("api-key create --name n --json", "--organization acme", "\"id\": \"acme\""),
    ("api-key create --name n --json", "--service-client {client}", "\"type\": \"service_client\""),
    ("api-key create --name n --json", "--permission projects:read", "projects:read"),
    ("api-key create --name n --json", "--audience http://keyswap.test", "\"http://keyswap.test\""),
    ("api-key create --name n --json", "--expires-in 90d", "\"expires_at\": \"2"),
    ("api-key create --name n --json", "--max-token-ttl 5m", "\"max_token_ttl\": \"5m\""),
    ("api-key create --name n --json", "--exchanges-per-minute 7", "\"exchanges_per_minute\": 7"),
    ("api-key create --name n --json", "--record-bound", "\"record_bound\": true"),
    ("api-key create --name n --json", "--metadata {\"a\":1}", "\"a\": 1"),
    ("api-key create --name n --json", "--import-sha256 {digest}", "api_keys.imported"),
    (
        "api-key create --name n --json --set api_keys.imported=true --import-sha256 {digest}",
        "--import-masked sk_…x",
        "sk_…x",
    ),
    ("api-key create --name n --json", "--description nightly", "\"description\": \"nightly\""),
    ("api-key create --json", "--name other", "\"name\": \"other\""),
    ("api-key patch {plain} --json", "--permission projects:read", "projects:read"),
    ("api-key patch {plain} --json", "--audience http://keyswap.test", "\"http://keyswap.test\""),
    ("api-key patch {plain}", "--expires-in 1d", "expires      2"),
    ("api-key patch {plain} --json", "--max-token-ttl 5m", "\"max_token_ttl\": \"5m\""),
    ("api-key patch {plain} --json", "--exchanges-per-minute 7", "\"exchanges_per_minute\": 7"),
    ("api-key patch {plain} --json", "--record-bound", "\"record_bound\": true"),
    ("api-key patch {limited} --json", "--not-record-bound", "\"record_bound\": false"),
    ("api-key patch {plain} --json", "--metadata {\"b\":2}", "\"b\": 2"),
    ("api-key patch {plain} --json", "--description nightly", "\"description\": \"nightly\""),
    ("api-key patch {plain} --json", "--name other", "\"name\": \"other\""),
    ("api-key patch {limited}", "--no-permissions", "permissions  none"),
    ("api-key patch {limited} --json", "--any-audience", "\"audiences\": null"),
    ("api-key patch {limited}", "--no-description", "description  none"),
    ("api-key patch {limited}", "--never-expires", "expires      never"),
    ("api-key patch {limited} --json", "--unlimited", "\"exchanges_per_minute\": null"),
    ("api-key rotate {plain}", "--grace 1000d", "grace"),
    (
        "api-key revoke {limited} --dry-run",
        "--descendants",
        "\nDry run: would revoke this key and 0 keys created with it",
    ),
    ("api-key revoke {limited}", "--dry-run", "\nDry run: would revoke this key"),
    ("signing-key rotate", "--dry-run", "KID"),
    ("backup {fresh}", "--force", "The copy was checked"),
    ("apply {fresh}", "--dry-run", "1 to create"),
    ("apply {without_extension}", "--format toml", "1 created"),
    ("plan {without_extension}", "--format toml", "1 to create"),
    ("master-key rotate --set keys.dir={keys}", "--continue", "\n0 rows re-encrypted"),
];

/// Options whose effect another test shows, because it needs a special state.
const SHOWN_ELSEWHERE: &[(&str, &str, &str)] = &[
    ("demo", "once", "cli::demo_runs_to_the_end_and_leaves_no_files"),
    ("master-key rotate", "force", "encryption::replicas, on PostgreSQL"),
    ("restore accept", "yes", "encryption::rollback_guard"),
    ("migrate", "status", "faults::commands::commands_never_create_a_database"),
    // The deployment of this test has permissions in use, which are not removed.
    ("apply", "prune", "provisioning"),
    ("plan", "prune", "provisioning"),
    ("plan", "detailed-exitcode", "provisioning"),
    ("api-key inspect", "json", "cli::inspect_works_without_a_database"),
    ("signing-key rotate", "json", "signing::rotation"),
    ("signing-key import", "json", "signing::rotation"),
];

/// A deployment on SQLite with a few objects, without a running server.
struct Setup {
    deployment: Deployment,
    values: BTreeMap<&'static str, String>,
    counter: AtomicU32,
}

impl Setup {
    fn new() -> Self {
        let deployment = Deployment::new(Kind::Sqlite);
        deployment.serve().stop();
        let dir = deployment.database.dir.path();
        let file = |name: &str, text: &str| {
            fs::write(dir.join(name), text).unwrap();
            dir.join(name).display().to_string()
        };
        let rows = file(
            "rows.ndjson",
            "{\"type\":\"organization\",\"id\":\"acme\",\"name\":\"Acme\"}\n{\"type\":\"user\",\"id\":\"ada\"}\n",
        );
        assert_eq!(deployment.run(&["import", &rows]).code, Some(0));
        let catalog = file(
            "catalog.toml",
            "[[permission]]\nname = \"projects:read\"\nassignable_to = [\"user\", \"organization\", \"service_client\"]\n",
        );
        assert_eq!(deployment.run(&["apply", &catalog]).code, Some(0));
        let keys = deployment.json(&["api-key", "list"]);
        let client = keys[0]["owner"]["id"].as_str().unwrap().to_owned();
        let signing_keys = deployment.json(&["signing-key", "list"]);
        let active = signing_keys.as_array().unwrap().iter().find(|key| key["state"] == "active").unwrap();
        let kid = active["kid"].as_str().unwrap().to_owned();
        let keys = deployment.keys().display().to_string();
        let values = BTreeMap::from([("{rows}", rows), ("{client}", client), ("{kid}", kid), ("{keys}", keys)]);
        Self { deployment, values, counter: AtomicU32::new(0) }
    }

    fn key(&self, arguments: &[&str]) -> serde_json::Value {
        self.deployment.json(&[&["api-key", "create", "--name", "n"], arguments].concat())
    }

    /// Runs a command line, with a new object in place of each placeholder that needs one.
    fn run(&self, line: &str) -> ProcessOutput {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let permission = format!("[[permission]]\nname = \"fresh:{number}\"\nassignable_to = []\n");
        let limits = [
            "--description",
            "nightly",
            "--permission",
            "projects:read",
            "--audience",
            "http://keyswap.test",
            "--expires-in",
            "90d",
        ];
        let arguments = line.split(' ').filter(|word| !word.is_empty()).map(|word| {
            let mut word = word.to_owned();
            for (name, value) in &self.values {
                word = word.replace(name, value);
            }
            let id = |key: serde_json::Value| key["id"].as_str().unwrap().to_owned();
            let file = |extension: &str| {
                let path = self.deployment.database.dir.path().join(format!("{number}{extension}"));
                fs::write(&path, &permission).unwrap();
                path.display().to_string()
            };
            match word.as_str() {
                "{plain}" => id(self.key(&[])),
                "{limited}" => {
                    id(self.key(&[&limits[..], &["--exchanges-per-minute", "9", "--record-bound"]].concat()))
                }
                "{digest}" => keyswap::crypto::sha256_hex(format!("digest {number}").as_bytes()),
                "{fresh}" => file(".toml"),
                "{absent}" => {
                    self.deployment.database.dir.path().join(format!("{number}.absent")).display().to_string()
                }
                "{without_extension}" => file(""),
                _ => word,
            }
        });
        let arguments: Vec<_> = arguments.collect();
        self.deployment.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// The command of a line: the longest name that it begins with.
fn command_of(line: &str) -> &'static str {
    let names = REQUIRED.iter().map(|(name, _)| *name);
    names.filter(|name| line == *name || line.starts_with(&format!("{name} "))).max_by_key(|name| name.len()).unwrap()
}

#[test]
fn every_option_is_in_a_table() {
    let declared: BTreeSet<_> = options_by_command()
        .into_iter()
        .flat_map(|(command, options)| {
            let names = options.iter().filter_map(|option| option.get_long().map(str::to_owned)).collect::<Vec<_>>();
            names.into_iter().map(move |name| (command.clone(), name))
        })
        .filter(|(_, name)| name != "json")
        .collect();
    let effects = EFFECTS.iter().map(|(line, option, _)| (command_of(line), option.split(' ').next().unwrap()));
    let elsewhere = SHOWN_ELSEWHERE.iter().map(|(command, option, _)| (*command, *option));
    let shown: BTreeSet<_> = effects
        .chain(elsewhere)
        .map(|(command, option)| (command.to_owned(), option.trim_start_matches("--").to_owned()))
        .filter(|(_, name)| name != "json")
        .collect();
    assert_eq!(declared, shown);
}

#[test]
fn every_option_has_an_effect() {
    let setup = Setup::new();
    let mut ignored = Vec::new();
    for (line, option, expected) in EFFECTS {
        let said = |said: ProcessOutput| format!("\n{}{}", said.out, said.err);
        let (without, with) = (said(setup.run(line)), said(setup.run(&format!("{line} {option}"))));
        if without.contains(expected) || !with.contains(expected) {
            ignored.push(format!("{line} {option}: {with}\nwithout the option: {without}"));
        }
    }
    assert!(ignored.is_empty(), "{}", ignored.join("\n"));
}

#[test]
fn every_json_option_prints_json() {
    let setup = Setup::new();
    let is_json = |said: &ProcessOutput| serde_json::from_str::<serde_json::Value>(&said.out).is_ok();
    for (command, required) in REQUIRED {
        let has_json = options_by_command()[*command].iter().any(|option| option.get_long() == Some("json"));
        if !has_json || SHOWN_ELSEWHERE.iter().any(|(other, option, _)| other == command && *option == "json") {
            continue;
        }
        let line = format!("{command} {required}");
        let with = if *command == "api-key cancel-rotation" {
            let key = setup.key(&[])["id"].as_str().unwrap().to_owned();
            setup.run(&format!("api-key rotate {key}"));
            setup.run(&format!("{command} {key} --json"))
        } else {
            setup.run(&format!("{line} --json"))
        };
        assert!(is_json(&with), "{command} --json: {with:?}");
        let without = setup.run(&line);
        assert!(!is_json(&without), "{command}: {without:?}");
    }
}

#[test]
fn demo_accepts_settings_except_storage() {
    let demo = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyswap"));
        let output = command.args(["demo", "--once"]).args(arguments).stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (code, said) = demo(&["--set", &format!("server.bind=127.0.0.1:{port}"), "--set", "tokens.default_ttl=7m"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("http://127.0.0.1:{port}")) && said.contains("420"), "{said}");
    for setting in ["database.url=sqlite://x.db", "keys.dir=x", "server.public_url=http://x.test"] {
        let (code, said) = demo(&["--set", setting]);
        assert_eq!(code, Some(2), "{setting}: {said}");
        assert!(said.contains(setting.split('=').next().unwrap()) && said.lines().count() == 1, "{setting}: {said}");
    }
}
