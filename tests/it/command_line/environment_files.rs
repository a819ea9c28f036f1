//! Values in files that environment variables name: `KEYSWAP__DATABASE__URL_FILE` and the like. The files are on
//! ordinary directories, on read-only mounts, behind symbolic links, and credentials of systemd.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::support::mount_namespaces::{as_ordinary_user, with_read_only, with_read_only_tree};

/// The content of no file may be printed.
const SECRET: &str = "hunter2";

fn check(environment: &[(&str, &OsStr)], settings: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyswap"));
    command.args(["config", "check"]).args(settings.iter().flat_map(|setting| ["--set", setting]));
    command.envs(environment.iter().copied()).stdin(Stdio::null());
    command
}

fn file(dir: &TempDir, name: &str, content: &[u8], mode: u32) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// The text on both outputs. Asserts that it contains no secret.
fn said(output: &Output) -> String {
    let text = String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap();
    assert!(!text.contains(SECRET), "{text}");
    text
}

/// Runs `config check` in an empty directory. Returns the exit code and the lines of the faults or warnings.
fn lines(mut command: Command) -> (Option<i32>, Vec<String>) {
    let scratch = tempfile::tempdir().unwrap();
    let output = command.current_dir(scratch.path()).output().unwrap();
    let text = said(&output);
    let lines = text.lines().filter_map(|line| line.strip_prefix("  ").or(line.strip_prefix("warning: ")));
    (output.status.code(), lines.map(str::to_owned).collect())
}

#[test]
fn every_setting_can_be_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("postgres://keyswap:{SECRET}@db.example/keyswap");
    for (variable, content, finding) in [
        ("KEYSWAP__DATABASE__URL_FILE", format!("{url}\n"), "database.url: postgres://db.example/keyswap: "),
        ("KEYSWAP__DATABASE__URL_FILE", url, "database.url: postgres://db.example/keyswap: "),
        ("KEYSWAP__TOKENS__MAX_TTL_FILE", "25h\r\n".to_owned(), "tokens.max_ttl: "),
        ("KEYSWAP__WEBHOOKS__ALLOW_HTTP_FILE", "true\n".to_owned(), "webhooks.allow_http: true: "),
        ("KEYSWAP__SERVER__TRUSTED_PROXIES_FILE", "[\"0.0.0.0/0\"]".to_owned(), "server.trusted_proxies: 0.0.0.0/0: "),
    ] {
        let path = file(&dir, "value", content.as_bytes(), 0o600);
        let (code, found) = lines(check(&[(variable, path.as_os_str())], &[]));
        assert!(code == Some(0) && found.len() == 1 && found[0].starts_with(finding), "{variable}: {found:?}");
    }
    // The setting itself ends with `_file`.
    let (code, found) = lines(check(&[("KEYSWAP__BOOTSTRAP__ADMIN_KEY_FILE", "/nowhere/key".as_ref())], &[]));
    assert_eq!((code, found), (Some(0), Vec::new()));
    // --set takes precedence, and its value is shown.
    let path = file(&dir, "value", b"127.0.0.1:9000", 0o600);
    let named = [("KEYSWAP__SERVER__BIND_FILE", path.as_os_str())];
    let (code, found) = lines(check(&named, &["server.bind=localhost:1"]));
    assert!(code == Some(2) && found[0].starts_with("server.bind: \"localhost:1\""), "{found:?}");
}

#[test]
fn each_fault_of_a_file_is_one_line_without_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let large = [SECRET.repeat(10_000).as_bytes(), b"\n"].concat();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let own = |name: &str, content: &[u8]| file(&dir, name, content, 0o600);
    let url = format!("postgres://u:{SECRET}@h/d");
    let mut wrong = Vec::new();
    for (path, expected) in [
        (dir.path().join("missing"), "KEYSWAP__DATABASE__URL_FILE: failed to read "),
        (dir.path().to_owned(), "is not a regular file"),
        (pipe, "is not a regular file"),
        (PathBuf::new(), "KEYSWAP__DATABASE__URL_FILE: is empty; give the path"),
        (own("empty", b""), "is empty; write the value to it"),
        (own("newline", b"\n"), "is empty; write the value to it"),
        (own("large", &large), "it has more than 65536 bytes"),
        (own("binary", &[SECRET.as_bytes(), b"\xff"].concat()), "it is not UTF-8 text"),
        (file(&dir, "readable", url.as_bytes(), 0o644), "can be read by other users (mode 0644, "),
        (file(&dir, "writable", url.as_bytes(), 0o620), "can be written by other users (mode 0620, "),
        (
            own("scheme", format!("mysql://u:{SECRET}@h/d").as_bytes()),
            "database.url: the value in the file that KEYSWAP__DATABASE__URL_FILE names is not valid",
        ),
        (
            own("number", b"12345"),
            "database.url: the value in the file that KEYSWAP__DATABASE__URL_FILE names is not valid",
        ),
        (own("section", format!("{{ a = \"{SECRET}\" }}").as_bytes()), "database.url: the value in the file that"),
    ] {
        let (code, found) = lines(check(&[("KEYSWAP__DATABASE__URL_FILE", path.as_os_str())], &[]));
        if code != Some(2) || found.len() != 1 || !found[0].contains(expected) {
            wrong.push(format!("{}: {code:?} {found:?}, expected {expected}", path.display()));
        }
    }
    let address = own("address", SECRET.as_bytes());
    let good = own("good", url.as_bytes());
    type Case<'a> = (Vec<(&'a str, &'a OsStr)>, &'a [&'a str], &'a str);
    let cases: [Case<'_>; 4] = [
        (vec![("KEYSWAP__SERVER__BIND_FILE", address.as_os_str())], &[], "server.bind: the value in the file that"),
        (
            vec![("KEYSWAP__DATABASE__URL", OsStr::new(&url)), ("KEYSWAP__DATABASE__URL_FILE", good.as_os_str())],
            &[],
            "database.url: KEYSWAP__DATABASE__URL and KEYSWAP__DATABASE__URL_FILE are both set",
        ),
        (
            vec![("KEYSWAP__DATABASE__URLL_FILE", good.as_os_str())],
            &[],
            "database.urll_file: unknown setting; did you mean the environment variable KEYSWAP__DATABASE__URL_FILE?",
        ),
        (
            vec![],
            &["database.url_file=/run/secrets/url"],
            "database.url_file: unknown setting; did you mean the environment variable KEYSWAP__DATABASE__URL_FILE?",
        ),
    ];
    for (environment, settings, expected) in cases {
        let (code, found) = lines(check(&environment, settings));
        if code != Some(2) || found.len() != 1 || !found[0].starts_with(expected) {
            wrong.push(format!("{environment:?} {settings:?}: {code:?} {found:?}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs `config check` with a variable that names the file, through `run`.
fn accepts(path: &Path, environment: &[(&str, &OsStr)], run: impl FnOnce(&Command) -> Command) -> Result<(), String> {
    let mut command = check(environment, &[]);
    command.env("KEYSWAP__LOG__LEVEL_FILE", path);
    let output = run(&command).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(said(&output)) }
}

#[test]
fn files_of_platforms_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("mount");
    fs::create_dir_all(mount.join("..2026")).unwrap();
    // As Kubernetes lays out the files of a Secret.
    symlink("..2026", mount.join("..data")).unwrap();
    symlink("..data/level", mount.join("level")).unwrap();
    let (target, path) = (mount.join("..2026/level"), mount.join("level"));
    fs::write(&target, "info\n").unwrap();
    let chmod = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let credentials = [("CREDENTIALS_DIRECTORY", mount.as_os_str())];
    for (mode, in_directory, on_read_only_mount, as_credential) in [
        (0o400, true, true, true),
        (0o600, true, true, true),
        // The group is one of the process.
        (0o440, true, true, true),
        (0o640, true, true, true),
        (0o444, false, true, true),
        (0o644, false, true, true),
        (0o660, false, false, true),
        (0o666, false, false, false),
    ] {
        chmod(&target, mode);
        for (found, expected) in [
            (accepts(&path, &[], as_ordinary_user), in_directory),
            (accepts(&path, &[], |command| with_read_only(&mount, command)), on_read_only_mount),
            (accepts(&path, &credentials, as_ordinary_user), as_credential),
        ] {
            assert_eq!(found.is_ok(), expected, "{mode:04o}: {found:?}");
        }
    }
    // A file of the machine, which is only read-only for the service.
    chmod(&target, 0o644);
    let is_elsewhere = fs::metadata(&target).unwrap().dev() != fs::metadata("/").unwrap().dev();
    let found = accepts(&path, &[], |command| with_read_only_tree(&mount, command));
    assert_eq!(found.is_ok(), is_elsewhere, "{found:?}");
    chmod(&target, 0o400);
    // Another user could replace the file that the link leads to.
    chmod(&mount.join("..2026"), 0o757);
    let refused = accepts(&path, &[], as_ordinary_user).unwrap_err();
    assert!(refused.contains("other users can replace the files in") && refused.contains("..2026"), "{refused}");
    chmod(&mount.join("..2026"), 0o1777);
    accepts(&path, &[], as_ordinary_user).unwrap();
    chmod(&target, 0o000);
    let refused = accepts(&path, &[], as_ordinary_user).unwrap_err();
    for words in ["cannot be read by this process (mode 0000, owner 1000, group 1000", "fsGroup"] {
        assert!(refused.contains(words), "{refused}");
    }
    // Only root can give a file to another user.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&target, Some(12_345), None).unwrap();
        for (mode, text) in [(0o440, "belongs to another user"), (0o400, "cannot be read by this process")] {
            chmod(&target, mode);
            let refused = accepts(&path, &[], as_ordinary_user).unwrap_err();
            assert!(refused.contains(text), "{refused}");
        }
        // Commands are run as root on files of the server's user.
        let other = dir.path().join("other");
        fs::create_dir(&other).unwrap();
        accepts(&path, &[], |command| with_read_only(&other, command)).unwrap();
    }
}
