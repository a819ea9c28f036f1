//! What the program creates is accessible to its owner only, whatever the umask of its caller is.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::faults::process::{LONG, Process};

/// Returns all files and directories below `dir`, with their modes.
fn modes(dir: &Path) -> Vec<(PathBuf, u32)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let mut found = if metadata.is_dir() { modes(&path) } else { Vec::new() };
            found.push((path, metadata.permissions().mode() & 0o777));
            found
        })
        .collect()
}

#[test]
fn everything_created_is_accessible_to_the_owner_only() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let program = |arguments: &str| {
        let settings = "--set server.bind=127.0.0.1:0 --set server.drain_delay=0s --set database.url=sqlite://state/data/keyswap.db --set keys.dir=state/keys \
            --set keys.rollback_guard=guard/file --set bootstrap.admin_key_file=admin/key";
        let line = format!("umask 022; exec {} {arguments} {settings}", env!("CARGO_BIN_EXE_keyswap"));
        let mut command = Command::new("sh");
        command.args(["-c", &line]).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Process::spawn(command)
    };
    let server = program("serve").ready();
    // The files of a running server, with the write-ahead log.
    let running = modes(dir);
    server.stop();
    for command in
        ["master-key rotate --force", "signing-key list", "api-key create --name n", "doctor", "config check"]
    {
        let said = program(command).end(LONG);
        assert_eq!(said.code, Some(0), "{command}: {said:?}");
        for finding in ["accessible to other users", "can be read by other users", "can be written by other users"] {
            assert!(!said.out.contains(finding), "{command}: {said:?}");
        }
    }
    let all: Vec<_> = running.into_iter().chain(modes(dir)).collect();
    let names: Vec<_> = all.iter().map(|(path, _)| path.strip_prefix(dir).unwrap().to_str().unwrap()).collect();
    for expected in [
        "state/data/keyswap.db",
        "state/data/keyswap.db-wal",
        "state/data/keyswap.db-shm",
        "state/keys/master.2",
        "guard/file",
        "admin/key",
    ] {
        assert!(names.contains(&expected), "{expected}: {names:?}");
    }
    for (path, mode) in &all {
        let wanted = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(*mode, wanted, "{}: mode {mode:03o}", path.display());
    }
}
