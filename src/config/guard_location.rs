//! Where the rollback guard of this process records the progress of the database.

use std::path::{Path, PathBuf};

use crate::crypto::secret_file::is_writable_directory;

/// The file of the rollback guard, and whether the process can write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardLocation {
    pub file: PathBuf,
    /// Whether the guard survives a restart. Otherwise it is in memory only. The file is read
    /// nevertheless: it may be from a time when the directory was writable.
    pub is_persistent: bool,
}

impl GuardLocation {
    /// Returns `configured` if it is set, whether it can be written or not. Otherwise returns a
    /// file in `keys_dir`, or in the state directory of systemd if `keys_dir` is not writable.
    pub(crate) fn find(configured: Option<&Path>, keys_dir: &Path) -> Self {
        let in_directory = |directory: &Path| directory.join("rollback_guard");
        if let Some(file) = configured {
            return Self { file: file.to_owned(), is_persistent: true };
        }
        if is_writable_directory(keys_dir) {
            return Self { file: in_directory(keys_dir), is_persistent: true };
        }
        match systemd_state_directory() {
            Some(directory) => Self { file: in_directory(&directory), is_persistent: true },
            None => Self { file: in_directory(keys_dir), is_persistent: false },
        }
    }

    /// States what a guard in memory does not detect, and the remedy. Returns `None` for a guard
    /// that survives a restart.
    pub fn describe_memory_only(&self) -> Option<&'static str> {
        (!self.is_persistent).then_some(
            "the rollback guard is in memory only, because keys.dir is not writable: a rollback of the database while the \
             server is stopped is not detected; set keys.rollback_guard to a file in a writable directory that survives \
             restarts",
        )
    }
}

/// The directory of `StateDirectory=`. systemd separates several ones by colons.
fn systemd_state_directory() -> Option<PathBuf> {
    let directories = std::env::var_os("STATE_DIRECTORY")?;
    std::env::split_paths(&directories).find(|directory| directory.is_absolute())
}
