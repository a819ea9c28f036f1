//! Programs in namespaces of their own, as platforms run them. They need `unshare` and `mount`, and user namespaces
//! unless the tests run as root. Each program keeps the process id of the command.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Stdio},
};

/// The user and the group as which `as_ordinary_user` runs a program.
pub const ORDINARY: u32 = 1000;

/// `program` with a read-only mount of a copy of `directory`, as platforms mount secrets: on a device of its own.
pub fn with_read_only(directory: &Path, program: &Command) -> Command {
    with_mount(
        r#"(cd "$0" && mount -t tmpfs tmpfs "$0" && cp -a . "$0") && mount -o remount,ro "$0" && exec "$@""#,
        directory,
        program,
    )
}

/// `program` for which `directory` is read-only where it is, as for a service of systemd with `ProtectSystem=strict`.
pub fn with_read_only_tree(directory: &Path, program: &Command) -> Command {
    with_mount(r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@""#, directory, program)
}

/// `script` has the directory as `$0` and the program as its arguments.
fn with_mount(script: &str, directory: &Path, program: &Command) -> Command {
    let user: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let mut arguments: Vec<&OsStr> = user.iter().map(OsStr::new).collect();
    arguments.extend(["--mount", "sh", "-c", script].map(OsStr::new));
    arguments.push(directory.as_os_str());
    unshare(&arguments, program)
}

/// `program` as an ordinary user with one group. Files of the user and group of the tests belong to them.
pub fn as_ordinary_user(program: &Command) -> Command {
    let [user, group] = ["user", "group"].map(|what| format!("--map-{what}={ORDINARY}"));
    unshare(&["--user", &user, &group].map(OsStr::new), program)
}

fn unshare(arguments: &[&OsStr], program: &Command) -> Command {
    let mut command = Command::new("unshare");
    command.args(arguments).arg(program.get_program()).args(program.get_args());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(directory) = program.get_current_dir() {
        command.current_dir(directory);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
