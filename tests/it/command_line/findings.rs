//! Settings that are valid but weaken the deployment: `config check`, the start of a server and
//! `doctor` report the same ones.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use crate::{
    faults::process::{Deployment, ProcessOutput},
    support::Kind,
};

/// Settings, and the beginning of the only finding that they cause, or an empty text for none.
const SETTINGS: &[(&[&str], &str)] = &[
    (&[], ""),
    (&["server.public_url=https://keys.example", "server.trusted_proxies=[\"10.0.0.0/8\",\"fd00::/8\"]"], ""),
    (&["server.public_url=https://keys.example"], "server.trusted_proxies: []: a proxy ends TLS"),
    (&["server.public_url=http://keys.example"], "server.public_url: http://keys.example: keys and tokens"),
    (&["server.bind=0.0.0.0:8080"], "server.bind: 0.0.0.0:8080: keys and tokens"),
    (&["server.bind=[::]:8080", "server.public_url=http://localhost:8080"], "server.bind: [::]:8080: keys"),
    (&["server.trusted_proxies=[\"0.0.0.0/0\"]"], "server.trusted_proxies: 0.0.0.0/0: "),
    (&["server.trusted_proxies=[\"::/0\"]"], "server.trusted_proxies: ::/0: "),
    (&["server.trusted_proxies=[\"128.0.0.0/1\"]"], "server.trusted_proxies: 128.0.0.0/1: "),
    (&["webhooks.allowed_networks=[\"10.0.0.0/8\",\"0.0.0.0/0\"]"], "webhooks.allowed_networks: 0.0.0.0/0: "),
    (&["webhooks.allow_http=true"], "webhooks.allow_http: true: "),
    (&["portal.allowed_origins=[\"http://app.example\"]"], "portal.allowed_origins: http://app.example: "),
    (&["portal.allowed_origins=[\"http://localhost:3000\",\"http://127.0.0.1\",\"https://app.example\"]"], ""),
    (&["portal.public_url=http://keys.example"], "portal.public_url: http://keys.example: "),
    (&["tokens.max_ttl=25h"], "tokens.max_ttl: "),
    (&["tokens.max_ttl=24h"], ""),
    (&["database.url=postgres://keyswap@db.example/keyswap"], "database.url: postgres://db.example/keyswap: "),
    (&["database.url=postgres://db.example:5432/k?sslmode=prefer"], "database.url: postgres://db.example:5432/k: "),
    (&["database.url=postgres:///k?host=10.0.0.7"], "database.url: postgres:///k: "),
    (&["database.url=postgres://localhost,db.example/k"], "database.url: postgres://localhost,db.example/k: "),
    (&["database.url=postgres://keyswap@db.example/k?connect_timeout=3&sslmode=verify-full"], ""),
    (&["database.url=postgres://db.example/k?sslmode=require"], ""),
    (&["database.url=postgres://keyswap@localhost:5433/k"], ""),
    (&["database.url=postgres://[::1]:5433/k"], ""),
    (&["database.url=postgres:///k?host=/run/postgresql"], ""),
    (&["database.url=postgres://%2Frun%2Fpostgresql/k"], ""),
    (&["database.url=postgres://%2frun%2fpostgresql/k"], ""),
];

#[test]
fn each_risky_setting_is_reported() {
    let scratch = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (settings, expected) in SETTINGS {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyswap"));
        command.args(["config", "check"]).args(settings.iter().flat_map(|setting| ["--set", setting]));
        let output = command.current_dir(scratch.path()).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let reported: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("warning: ")).collect();
        let fits = match reported.as_slice() {
            [] => expected.is_empty(),
            [one] => !expected.is_empty() && one.starts_with(expected) && one.len() > expected.len(),
            _ => false,
        };
        if !fits || !output.status.success() {
            wrong.push(format!("{settings:?}: {said}{}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The lines of `config check` that report a finding.
fn findings_of(said: &ProcessOutput) -> Vec<String> {
    said.out.lines().filter_map(|line| line.strip_prefix("warning: ")).map(str::to_owned).collect()
}

#[test]
fn check_start_and_doctor_report_the_same_findings() {
    let deployment = Deployment::new(Kind::Sqlite).with(&[
        "server.public_url=http://keyswap.test",
        "server.trusted_proxies=[\"0.0.0.0/0\"]",
        "portal.allowed_origins=[\"http://app.example\"]",
        "tokens.max_ttl=48h",
    ]);
    deployment.serve().stop();
    let open = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(&deployment.keys(), 0o755);
    open(&deployment.keys().join("rollback_guard"), 0o644);
    let database: &std::path::Path = deployment.database.url.strip_prefix("sqlite://").unwrap().as_ref();
    open(database, 0o640);
    open(database.parent().unwrap(), 0o775);
    let checked = findings_of(&deployment.run(&["config", "check"]));
    for (setting, text) in [
        ("server.public_url", "unencrypted"),
        ("server.trusted_proxies", "0.0.0.0/0"),
        ("portal.allowed_origins", "http://app.example"),
        ("tokens.max_ttl", "locally"),
        ("keys.dir", "chmod 700"),
        ("keys.rollback_guard", "(mode 644): run chmod 600"),
        ("database.url", "(mode 640): run chmod 600"),
        ("database.url", "is accessible to other users (mode 775): run chmod go-w"),
    ] {
        assert!(checked.iter().any(|line| line.starts_with(setting) && line.contains(text)), "{setting}: {checked:#?}");
    }
    let doctor = deployment.json(&["doctor"]);
    let is_finding = |check: &&serde_json::Value| check["what"] == "configuration" && check["status"] == "warning";
    let diagnosed: Vec<_> =
        doctor.as_array().unwrap().iter().filter(is_finding).map(|check| check["detail"].as_str().unwrap()).collect();
    assert_eq!(diagnosed, checked);
    let server = deployment.serve();
    let log = server.process.log();
    server.stop();
    for finding in &checked {
        let (_, text) = finding.split_once(": ").unwrap();
        assert!(log.contains(text), "{finding}: {log}");
    }
}
