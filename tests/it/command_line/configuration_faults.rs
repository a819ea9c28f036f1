//! Every way to give a wrong configuration: one line for each fault, which names the setting or the file, and exit
//! code 2. All commands load the configuration in one way: the first fault is tried with every command, and each
//! further one with every tenth, in turn.

use std::{
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use super::REQUIRED;

/// One wrong configuration, and the beginnings of the lines that report it.
struct Fault {
    arguments: Vec<String>,
    environment: Vec<(&'static str, OsString)>,
    lines: Vec<String>,
}

fn write(dir: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    path
}

/// A fault of a file, reported under the path of the file or, if given, of settings.
fn file(path: &Path, settings: &[&str]) -> Fault {
    let mut lines: Vec<_> = settings.iter().map(|setting| format!("{setting}: ")).collect();
    if lines.is_empty() {
        lines.push(format!("{}: ", path.display()));
    }
    Fault { arguments: vec!["--config".to_owned(), path.display().to_string()], environment: Vec::new(), lines }
}

fn set(settings: &[&str], lines: &[&str]) -> Fault {
    let arguments = settings.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]).collect();
    Fault { arguments, environment: Vec::new(), lines: lines.iter().map(|line| (*line).to_owned()).collect() }
}

fn environment(name: &'static str, value: &[u8], line: &str) -> Fault {
    let value = OsString::from_vec(value.to_vec());
    Fault { arguments: Vec::new(), environment: vec![(name, value)], lines: vec![line.to_owned()] }
}

fn faults(dir: &Path) -> Vec<Fault> {
    let unreadable = write(dir, "unreadable.toml", b"");
    fs::set_permissions(&unreadable, fs::Permissions::from_mode(0o000)).unwrap();
    let toml = |name: &str, text: &str| write(dir, name, text.as_bytes());
    let mut faults = vec![
        file(&dir.join("missing.toml"), &[]),
        file(dir, &[]),
        file(&write(dir, "latin-1.toml", b"[server]\npublic_url = \"http://caf\xe9\"\n"), &[]),
        file(&toml("syntax.toml", "[database]\nurl = \"postgres://u:hunter2@h/d\npool_size = 8\n"), &[]),
        file(&toml("unknown.toml", "[server]\nbindd = 1\n"), &["server.bindd"]),
        file(&toml("unknown-section.toml", "[nowhere]\na = 1\nb = 2\n"), &["nowhere"]),
        file(&toml("type.toml", "[database]\npool_size = \"many\"\n"), &["database.pool_size"]),
        file(&toml("value-for-section.toml", "server = 1\n"), &["server"]),
        file(&toml("section-for-value.toml", "[log.level]\nx = 1\n"), &["log.level"]),
        file(&toml("empty.toml", "[keys]\ndir = \"\"\n"), &["keys.dir"]),
        file(&toml("url.toml", "[server]\npublic_url = \"keyswap.test\"\n"), &["server.public_url"]),
        file(&toml("space.toml", "[server]\npublic_url = \"http://a b\"\n"), &["server.public_url"]),
        file(&toml("tls.toml", "[server]\ntls_certificate = \"a.pem\"\n"), &["server.tls_key"]),
        file(&toml("ttl.toml", "[tokens]\ndefault_ttl = \"2h\"\n"), &["tokens.default_ttl"]),
        file(&toml("max-ttl.toml", "[tokens]\nmax_ttl = \"soon\"\ndefault_ttl = \"2h\"\n"), &["tokens.max_ttl"]),
        file(&toml("list.toml", "[portal]\nallowed_origins = [\"x\"]\n"), &["portal.allowed_origins"]),
        file(&toml("no-list.toml", "[portal]\nchoices = \"roles\"\n"), &["portal.choices"]),
        file(
            &toml("two.toml", "[tokens]\ndefault_ttl = \"x\"\n[log]\nformat = \"xml\"\n"),
            &["tokens.default_ttl", "log.format"],
        ),
        environment("KEYSWAP__NOWHERE__X", b"1", "nowhere: "),
        environment("KEYSWAP__SERVER__BINDD", b"1", "server.bindd: "),
        environment("KEYSWAP__SERVER", b"1", "server: "),
        environment("KEYSWAP__SERVER__BIND", b"nowhere", "server.bind: "),
        environment("KEYSWAP__LOG__LEVEL", b"\xff=\xff", "log.level: "),
        environment("KEYSWAP__DATABASE__URL", b"mysql://u:hunter2@h/d", "database.url: "),
        set(&["server.bind"], &["--set: "]),
        set(&["=1"], &["--set: "]),
        set(&["database..url=postgres://u:hunter2@h/d"], &["--set database..url: "]),
        set(&["postgres://u:hunter2@h/d"], &["--set: "]),
        set(&["server.bindd=1"], &["server.bindd: "]),
        set(&["server=1"], &["server: "]),
        set(&["server.bind.x=1"], &["server.bind: "]),
        set(&["usage.flush_interval=1ms"], &["usage.flush_interval: "]),
        set(&["log.format=xml", "x=1", "y"], &["log.format: ", "x: ", "--set: "]),
        set(&["database.url=postgres://u:hunter2@h/d"], &["--set database.url: "]),
        set(&["database={url=\"postgres://h/d?password=hunter2\"}"], &["--set database.url: "]),
    ];
    // What cannot mean anything is refused with what was meant.
    for (setting, line) in [
        ("server.bnid=1", "server.bnid: unknown setting; did you mean server.bind"),
        ("servr.bind=1", "servr: unknown setting; did you mean server"),
        ("server.bind=8080", "server.bind: give an IP address and a port, such as"),
        ("server.bind=localhost:8080", "server.bind: \"localhost:8080\": give an IP address and a port, such as"),
        ("server.admin_bind=127.0.0.1:8080", "server.admin_bind: must differ from server.bind"),
        ("server.public_url=http://0.0.0.0:8080", "server.public_url: http://0.0.0.0:8080 is an address to listen on"),
        ("server.public_url=https://X.example:443", "server.public_url: must be https://x.example, because"),
        ("server.trusted_proxies=10.0.0.0/8", "server.trusted_proxies: is a list; write [\"10.0.0.0/8\""),
        (
            "server.trusted_proxies=[\"10.0.0.1\"]",
            "server.trusted_proxies: \"10.0.0.1\": is an address; write 10.0.0.1/32",
        ),
        (
            "server.trusted_proxies=[\"10.0.0.1/8\"]",
            "server.trusted_proxies: \"10.0.0.1/8\": has bits after its prefix; write 10.0.0.0/8 for the network, or 10.0.0.1/32",
        ),
        (
            "webhooks.allowed_networks=[\"fd00::1\"]",
            "webhooks.allowed_networks: \"fd00::1\": is an address; write fd00::1/128",
        ),
        ("webhooks.allowed_networks=[\"private\"]", "webhooks.allowed_networks: \"private\": give a network, such as"),
        ("webhooks.allowed_ports=[8443]", "webhooks.allowed_ports: 8443: write \"8443"),
        (
            "tokens.max_ttl=10",
            "tokens.max_ttl: invalid type: found unsigned int `10`, expected a string; the default is \"1h",
        ),
        ("tokens.max_size=100", "tokens.max_size: must be from 2048 to"),
        ("signing_keys.clock_skew=0s", "signing_keys.clock_skew: must be at least 1s: with less, the time"),
        ("database.lease=31s", "database.lease: must be from 1s to"),
        ("database.lease=999ms", "database.lease: must be from 1s to"),
        (
            "database.url=postgres://a,b/k?target_session_attrs=any",
            "database.url: target_session_attrs must be read-write or absent: a server that cannot write",
        ),
        (
            "database.url=postgres://b/k?target_session_attrs=prefer-standby",
            "database.url: target_session_attrs must be",
        ),
        (
            "database.url=postgres:///k?host=a,b",
            "database.url: must list several hosts before the database name, such as",
        ),
        ("api_keys.max_lifetime=0s", "api_keys.max_lifetime: must be at least 1s, or empty"),
        ("api_keys.owner_types=[]", "api_keys.owner_types: must contain at least one of"),
        (
            "api_keys.owner_types=[\"users\"]",
            "api_keys.owner_types: \"users\": must be one of user, organization, service_client, none; did you mean \"user",
        ),
        (
            "portal.choices=[\"role\"]",
            "portal.choices: \"role\": must be one of permissions, roles, resources; did you mean \"roles",
        ),
        ("log.level=inof", "log.level: must be error, warn, info"),
        ("database.url=sqlite://:memory:", "database.url: must be a file"),
    ] {
        faults.push(set(&[setting], &[line]));
    }
    let tls = ["server.tls_certificate=a.pem", "server.tls_key=b.pem"];
    faults.push(set(&tls, &["server.public_url: must begin with https://"]));
    // The superuser may read every file.
    if fs::read(&unreadable).is_err() {
        faults.push(file(&unreadable, &[]));
    }
    faults
}

fn run(dir: &Path, command: &str, required: &str, fault: &Fault) -> Output {
    let file = |name: &str| dir.join(name).display().to_string();
    let required = required
        .replace("{plain}", "key_01ARZ3NDEKTSV4RRFFQ69G5FAV")
        .replace("{kid}", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
        .replace("{rows}", &file("rows.ndjson"))
        .replace("{fresh}", &file("apply.toml"));
    let mut program = Command::new(env!("CARGO_BIN_EXE_keyswap"));
    program.args(command.split(' ')).args(required.split_whitespace()).args(&fault.arguments);
    program.envs(fault.environment.iter().map(|(name, value)| (*name, value)));
    program.current_dir(dir).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn each_fault_of_a_configuration_is_one_line() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    write(dir, "rows.ndjson", b"");
    write(dir, "apply.toml", b"");
    let mut wrong = Vec::new();
    for (index, fault) in faults(dir).into_iter().enumerate() {
        let given = format!("{:?} {:?}", fault.arguments, fault.environment);
        // Every combination would take minutes.
        for (_, (command, required)) in
            REQUIRED.iter().enumerate().filter(|(number, _)| index == 0 || (number + index) % 10 == 0)
        {
            let (is_offline, is_demo) = (*command == "api-key inspect", *command == "demo");
            // The demo sets some settings itself, so that the environment has no effect on them, and refuses them as
            // arguments.
            let is_fixed = |argument: &String| {
                ["database", "server.public_url", "server.tls"].iter().any(|name| argument.starts_with(name))
            };
            if (is_offline || is_demo) && !fault.environment.is_empty()
                || is_demo && fault.arguments.iter().any(is_fixed)
            {
                continue;
            }
            let output = run(dir, command, required, &fault);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let mut lines: Vec<_> = said.lines().collect();
            // These commands read no file, and the first reads no setting.
            if is_offline || is_demo && fault.arguments.first().is_some_and(|first| first == "--config") {
                if output.status.code() != Some(2) || lines.len() != 1 || !said.contains("does not read") {
                    wrong.push(format!("{command} with {given}: {:?} {said}", output.status.code()));
                }
                continue;
            }
            let mut expected: Vec<_> = fault.lines.iter().map(|line| format!("  {line}")).collect();
            expected.sort_unstable();
            lines.sort_unstable();
            let reported: Vec<_> = lines.iter().filter(|line| line.starts_with("  ")).collect();
            let fits = reported.len() == expected.len()
                && reported
                    .iter()
                    .zip(&expected)
                    .all(|(line, expected)| line.starts_with(expected) && line.len() > expected.len());
            if output.status.code() != Some(2) || !fits || lines.len() != expected.len() + 1 {
                wrong.push(format!("{command} with {given}: {:?} {said}", output.status.code()));
            }
            assert!(!said.contains("hunter2"), "a password is quoted: {said}");
        }
    }
    assert!(wrong.is_empty(), "{} of the reports are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(fs::read_dir(dir).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count(), 0);
}
