//! The users who may have access to a file with a secret. `crypto::secret_file` reads the
//! permissions.

use std::{fmt, path::PathBuf};

const ROOT: u32 = 0;

/// What decides which users can read or change a file or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileAccess {
    pub owner: u32,
    pub group: u32,
    /// The permission bits, with the sticky bit.
    pub mode: u32,
    pub is_directory: bool,
    /// Whether it is on a read-only mount of a device other than that of `/`: the platform that
    /// mounts it decides who can read it.
    pub is_mounted_read_only: bool,
    /// Whether systemd provides the file, below `$CREDENTIALS_DIRECTORY`. Access is granted by an
    /// ACL, whose mask replaces the bits of the group.
    pub is_systemd_credential: bool,
}

/// The user and the groups of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessUser {
    pub id: u32,
    pub groups: Vec<u32>,
}

/// Why a file or a directory is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessFault {
    /// A user other than the owner can write.
    WritableByOthers,
    /// The owner is neither root nor the user of the process.
    OtherOwner,
    ReadableByOthers,
    /// The process is not a member of the group that can read.
    ReadableByGroup,
    /// The process itself cannot read it.
    Unreadable,
}

/// Decides who may have access to a secret. A process of root accepts every owner, because commands
/// are run as root on files of the server's user.
pub fn find_fault(access: &FileAccess, process: &ProcessUser) -> Option<AccessFault> {
    let permits = |bits: u32| access.mode & bits != 0;
    // In a directory with the sticky bit, others cannot replace files.
    if access.is_directory && (permits(0o1000) || access.is_mounted_read_only) {
        return None;
    }
    if permits(if access.is_systemd_credential { 0o002 } else { 0o022 }) {
        return Some(AccessFault::WritableByOthers);
    }
    if access.is_systemd_credential || access.is_mounted_read_only {
        return None;
    }
    if ![access.owner, ROOT].contains(&process.id) && access.owner != ROOT {
        Some(AccessFault::OtherOwner)
    } else if permits(0o004) {
        Some(AccessFault::ReadableByOthers)
    } else if permits(0o040) && !process.groups.contains(&access.group) {
        Some(AccessFault::ReadableByGroup)
    } else {
        None
    }
}

/// Returns whether other users can replace the files of a directory.
pub fn lets_others_replace_files(directory: &FileAccess, process: &ProcessUser) -> bool {
    let permits = |bits: u32| directory.mode & bits != 0;
    let is_protected = permits(0o1000) || directory.is_mounted_read_only || directory.is_systemd_credential;
    !is_protected && (permits(0o002) || permits(0o020) && !process.groups.contains(&directory.group))
}

/// A file or a directory that is not accepted. The text states its permissions, and what makes it
/// acceptable.
#[derive(Debug)]
pub struct InsecureFile {
    pub path: PathBuf,
    pub access: FileAccess,
    pub process: ProcessUser,
    pub fault: AccessFault,
}

impl fmt::Display for InsecureFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, access, process, fault } = self;
        let (user, groups) = (process.id, process.groups.iter().map(u32::to_string).collect::<Vec<_>>().join(", "));
        let (owner, group) = (access.owner, access.group);
        let mode = if access.is_directory { "700" } else { "600" };
        let problem = match fault {
            AccessFault::WritableByOthers => "can be written by other users",
            AccessFault::OtherOwner => "belongs to another user",
            AccessFault::ReadableByOthers | AccessFault::ReadableByGroup => "can be read by other users",
            AccessFault::Unreadable => "cannot be read by this process",
        };
        let permissions = access.mode;
        write!(f, "{} {problem} (mode {permissions:04o}, owner {owner}, group {group}; ", path.display())?;
        write!(f, "this process has the user {user} and the groups {groups}): ")?;
        match fault {
            AccessFault::WritableByOthers => write!(
                f,
                "only the owner may write it. Run chmod {mode} on it; if it is on a Kubernetes volume with fsGroup, use a \
                 Secret instead"
            ),
            AccessFault::OtherOwner => write!(
                f,
                "run chown {user} on it, or run the process as the user {owner} (Kubernetes: runAsUser; Docker: user; \
                 systemd: User)"
            ),
            AccessFault::ReadableByOthers => write!(
                f,
                "run chmod {mode} on it, or mount it read-only (Kubernetes: a Secret with defaultMode 0440 and fsGroup; \
                 Docker: a secret)"
            ),
            AccessFault::ReadableByGroup => write!(
                f,
                "run chmod {mode} on it, or add the group {group} to the process (Kubernetes: fsGroup; Docker: \
                 group_add; systemd: SupplementaryGroups)"
            ),
            AccessFault::Unreadable => write!(
                f,
                "run chown {user} on it (Kubernetes: defaultMode 0440 and fsGroup; Docker: uid and mode of the secret; \
                 systemd: LoadCredential)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileAccess = FileAccess {
        owner: 1000,
        group: 1000,
        mode: 0o600,
        is_directory: false,
        is_mounted_read_only: false,
        is_systemd_credential: false,
    };
    const MOUNTED: FileAccess = FileAccess { is_mounted_read_only: true, ..FILE };
    const CREDENTIAL: FileAccess = FileAccess { owner: 0, group: 0, is_systemd_credential: true, ..FILE };
    const DIRECTORY: FileAccess = FileAccess { mode: 0o700, is_directory: true, ..FILE };

    #[test]
    fn only_the_process_and_the_owner_have_access() {
        use AccessFault::{OtherOwner, ReadableByGroup, ReadableByOthers, WritableByOthers};
        let process = ProcessUser { id: 1000, groups: vec![1000, 2000] };
        for (owner, group, modes, expected) in [
            (1000, 1000, &[0o400, 0o600, 0o700][..], None),
            // A Kubernetes Secret with fsGroup, or a package: readable by a group of the process.
            (0, 1000, &[0o400, 0o440, 0o640, 0o750][..], None),
            (0, 2000, &[0o440][..], None),
            (1000, 2000, &[0o440, 0o640][..], None),
            (1000, 3000, &[0o400, 0o600, 0o610][..], None),
            (1000, 3000, &[0o440, 0o640, 0o650][..], Some(ReadableByGroup)),
            (0, 0, &[0o440][..], Some(ReadableByGroup)),
            (0, 0, &[0o444, 0o644, 0o604][..], Some(ReadableByOthers)),
            (1000, 1000, &[0o444, 0o644, 0o604][..], Some(ReadableByOthers)),
            (1000, 1000, &[0o620, 0o660, 0o602, 0o666, 0o777][..], Some(WritableByOthers)),
            (0, 1000, &[0o460, 0o666][..], Some(WritableByOthers)),
            (3000, 1000, &[0o400, 0o440, 0o600, 0o644][..], Some(OtherOwner)),
        ] {
            for mode in modes {
                let access = FileAccess { owner, group, mode: *mode, ..FILE };
                assert_eq!(find_fault(&access, &process), expected, "{owner}:{group} {mode:04o}");
            }
        }
        // Root reads the files of the server's user.
        let root = ProcessUser { id: 0, groups: vec![0] };
        for (group, mode, expected) in [
            (1000, 0o600, None),
            (0, 0o640, None),
            (1000, 0o640, Some(ReadableByGroup)),
            (1000, 0o604, Some(ReadableByOthers)),
            (1000, 0o602, Some(WritableByOthers)),
        ] {
            assert_eq!(find_fault(&FileAccess { group, mode, ..FILE }, &root), expected, "{group} {mode:04o}");
        }
    }

    #[test]
    fn the_platform_decides_about_its_mounts() {
        let process = ProcessUser { id: 1000, groups: vec![1000] };
        for (access, modes, is_accepted) in [
            (FileAccess { owner: 0, group: 0, ..MOUNTED }, &[0o440, 0o444, 0o644][..], true),
            // A file of the host in a container with other users.
            (FileAccess { owner: 3000, group: 3000, ..MOUNTED }, &[0o400, 0o644][..], true),
            (MOUNTED, &[0o464, 0o446, 0o666][..], false),
            // The bits of the group are the mask of the ACL.
            (CREDENTIAL, &[0o400, 0o440, 0o444, 0o460][..], true),
            (CREDENTIAL, &[0o442, 0o666][..], false),
        ] {
            for mode in modes {
                let fault = find_fault(&FileAccess { mode: *mode, ..access }, &process);
                assert_eq!(fault.is_none(), is_accepted, "{access:?} {mode:04o}");
            }
        }
    }

    #[test]
    fn others_cannot_replace_the_file() {
        let process = ProcessUser { id: 1000, groups: vec![1000] };
        for (group, mode, expected) in [
            (1000, 0o700, false),
            (1000, 0o755, false),
            (1000, 0o775, false),
            (3000, 0o775, true),
            (1000, 0o757, true),
            (3000, 0o1777, false),
        ] {
            let directory = FileAccess { group, mode, ..DIRECTORY };
            assert_eq!(lets_others_replace_files(&directory, &process), expected, "{group} {mode:04o}");
            let mounted = FileAccess { is_mounted_read_only: true, ..directory };
            assert!(!lets_others_replace_files(&mounted, &process), "{group} {mode:04o}");
        }
        assert_eq!(find_fault(&FileAccess { mode: 0o755, ..DIRECTORY }, &process), Some(AccessFault::ReadableByOthers));
        assert_eq!(find_fault(&FileAccess { mode: 0o1777, ..DIRECTORY }, &process), None);
    }

    #[test]
    fn each_fault_names_what_was_found_and_the_remedy() {
        for (fault, problem, remedy) in [
            (AccessFault::WritableByOthers, "can be written by other users", "chmod 600"),
            (AccessFault::OtherOwner, "belongs to another user", "chown 1000"),
            (AccessFault::ReadableByOthers, "can be read by other users", "chmod 600"),
            (AccessFault::ReadableByGroup, "can be read by other users", "group 3000"),
            (AccessFault::Unreadable, "cannot be read", "fsGroup"),
        ] {
            let access = FileAccess { group: 3000, mode: 0o644, ..FILE };
            let process = ProcessUser { id: 1000, groups: vec![1000, 2000] };
            let text = InsecureFile { path: "k/master.1".into(), access, process, fault }.to_string();
            let permissions =
                "(mode 0644, owner 1000, group 3000; this process has the user 1000 and the groups 1000, 2000)";
            assert!(text.starts_with(&format!("k/master.1 {problem}")), "{text}");
            assert!(text.contains(permissions) && text.contains(remedy), "{text}");
        }
    }
}
