//! Files with secrets: which of them are accepted, and how they are read. The same rule applies to
//! master keys, to the files that environment variables name, and to the warnings of the
//! configuration.

use std::{
    fs::{self, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, OFlags, StatVfsMountFlags},
    process::{Gid, getegid, geteuid, getgroups},
};
use zeroize::Zeroizing;

use crate::domain::common::file_access::{
    AccessFault, FileAccess, InsecureFile, ProcessUser, find_fault, lets_others_replace_files,
};

const MAX_BYTES: u64 = 64 * 1024;

fn current_user() -> ProcessUser {
    let groups = std::iter::once(getegid()).chain(getgroups().unwrap_or_default()).map(Gid::as_raw).collect();
    ProcessUser { id: geteuid().as_raw(), groups }
}

fn access_of(path: &Path, metadata: &Metadata, mount: StatVfsMountFlags) -> FileAccess {
    FileAccess {
        owner: metadata.uid(),
        group: metadata.gid(),
        mode: metadata.mode() & 0o7777,
        is_directory: metadata.is_dir(),
        is_mounted_read_only: mount.contains(StatVfsMountFlags::RDONLY) && !is_on_root_device(metadata),
        is_systemd_credential: is_systemd_credential(path),
    }
}

fn read_access(path: &Path) -> io::Result<FileAccess> {
    let mount = rustix::fs::statvfs(path)?.f_flag;
    Ok(access_of(path, &fs::metadata(path)?, mount))
}

/// Returns whether a file is on the device of `/`. systemd can make all files of the machine
/// read-only for a service (`ProtectSystem=strict`), and a container can have a read-only root:
/// this does not make a secret of a file. A platform mounts secrets from another device: a `tmpfs`,
/// or the host of the container.
fn is_on_root_device(metadata: &Metadata) -> bool {
    fs::metadata("/").map_or(true, |root| root.dev() == metadata.dev())
}

/// systemd passes the directory of `LoadCredential=` in the environment.
fn is_systemd_credential(path: &Path) -> bool {
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|directory| !directory.is_empty());
    let directory = directory.and_then(|directory| fs::canonicalize(directory).ok());
    directory.zip(fs::canonicalize(path).ok()).is_some_and(|(directory, path)| path.starts_with(directory))
}

/// Why a file with a secret cannot be used. No message contains a part of the content.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    #[error("failed to read {}: {}", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    #[error("{0}")]
    Insecure(Box<InsecureFile>),
    #[error("other users can replace the files in {} (mode {:04o}): run chmod go-w on it", .0.display(), .1)]
    InsecureDirectory(PathBuf, u32),
    #[error("failed to read {}: it is not a regular file; give the path of a file with the value alone", .0.display())]
    NotRegular(PathBuf),
    #[error("failed to read {}: it has more than {} bytes; give the path of a file with the value alone", .0.display(), MAX_BYTES)]
    TooLarge(PathBuf),
    #[error("failed to read {}: it is not UTF-8 text; give the path of a file with the value alone", .0.display())]
    NotText(PathBuf),
}

/// Reads a secret, through symbolic links. The permissions are those of the file that is read.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
    let process = current_user();
    let unreadable = |error: io::Error| describe_failure(path, error, &process);
    // Without the flag, opening a named pipe would wait for its writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(SecretFileError::NotRegular(path.to_owned()));
    }
    let mount = rustix::fs::fstatvfs(&file).map_err(|error| unreadable(error.into()))?.f_flag;
    let access = access_of(path, &metadata, mount);
    if let Some(fault) = find_fault(&access, &process) {
        let path = path.to_owned();
        return Err(SecretFileError::Insecure(Box::new(InsecureFile { path, access, process, fault })));
    }
    check_directories(path, &process)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_BYTES).unwrap_or_default() + 1));
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(SecretFileError::TooLarge(path.to_owned()));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| SecretFileError::NotText(path.to_owned()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Returns why a file or a directory is not accepted. Returns `None` if it does not exist.
pub fn inspect(path: &Path) -> Option<InsecureFile> {
    let (access, process) = (read_access(path).ok()?, current_user());
    let fault = find_fault(&access, &process)?;
    Some(InsecureFile { path: path.to_owned(), access, process, fault })
}

/// Returns whether files can be created in a directory, which may not exist yet.
pub fn is_writable_directory(directory: &Path) -> bool {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    match fs::metadata(directory) {
        Ok(metadata) => metadata.is_dir() && rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound && directory.parent().is_some_and(is_writable_directory),
    }
}

/// Returns the directory of a file.
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Checks the directory of the file and that of the file that a symbolic link leads to.
fn check_directories(path: &Path, process: &ProcessUser) -> Result<(), SecretFileError> {
    let resolved = fs::canonicalize(path).ok();
    for directory in std::iter::once(path).chain(resolved.as_deref()).map(directory_of) {
        let Ok(access) = read_access(directory) else { continue };
        if lets_others_replace_files(&access, process) {
            return Err(SecretFileError::InsecureDirectory(directory.to_owned(), access.mode));
        }
    }
    Ok(())
}

fn describe_failure(path: &Path, error: io::Error, process: &ProcessUser) -> SecretFileError {
    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
    match read_access(path) {
        Ok(access) if is_denied => {
            let (path, process, fault) = (path.to_owned(), process.clone(), AccessFault::Unreadable);
            SecretFileError::Insecure(Box::new(InsecureFile { path, access, process, fault }))
        }
        Ok(_) | Err(_) => SecretFileError::Unreadable(path.to_owned(), error),
    }
}
