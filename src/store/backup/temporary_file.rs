//! The file beside the target that becomes the backup once it is complete.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// An incomplete backup, with mode 0600. Dropping the value deletes the file.
pub struct TemporaryFile {
    directory: PathBuf,
    target: PathBuf,
    path: PathBuf,
    file: File,
}

impl TemporaryFile {
    /// Creates `<target>.<process>.tmp`, and deletes what interrupted backups to the same target
    /// have left.
    pub fn create(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // SQLite takes an absolute path as it is, and a relative one may look like a URI.
        let directory = fs::canonicalize(parent)?;
        remove_interrupted(&directory, name);
        let mut temporary = name.to_owned();
        temporary.push(format!(".{}.tmp", std::process::id()));
        let (path, target) = (directory.join(temporary), directory.join(name));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { directory, target, path, file })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name, and returns its size. It is on stable storage then.
    pub fn publish(self) -> io::Result<u64> {
        self.file.sync_all()?;
        let size = self.file.metadata()?.len();
        // A hard link would fail if the target exists, but not every file system of backups has
        // them.
        fs::rename(&self.path, &self.target)?;
        File::open(&self.directory)?.sync_all()?;
        Ok(size)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Deletes `<name>.<process>.tmp`.
fn remove_interrupted(directory: &Path, name: &OsStr) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let prefix = [name.as_encoded_bytes(), b"."].concat();
    for entry in entries.flatten() {
        let found = entry.file_name();
        let process =
            found.as_encoded_bytes().strip_prefix(prefix.as_slice()).and_then(|rest| rest.strip_suffix(b".tmp"));
        if process.is_some_and(|process| !process.is_empty() && process.iter().all(u8::is_ascii_digit)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
