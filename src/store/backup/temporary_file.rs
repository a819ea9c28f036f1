//! The file beside the target that becomes the backup once it is complete.

use std::{
    ffi::OsStr,
    fs::{self, DirEntry, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

/// How long a file must be unmodified before another backup deletes it. The process that writes it
/// may run in another container, so that its number means nothing here.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// How many numbers to try for the name of the file.
const MAX_NUMBERS: u32 = 100;

/// An incomplete backup, with mode 0600. Dropping the value deletes the file.
pub struct TemporaryFile {
    directory: PathBuf,
    target: PathBuf,
    path: PathBuf,
    file: File,
}

impl TemporaryFile {
    /// Creates `<target>.<process>.tmp`, and deletes what interrupted backups to the same target
    /// have left. If the file exists, because a process of another container has the same number,
    /// takes the next number that is free.
    pub fn create(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // SQLite takes an absolute path as it is, and a relative one may look like a URI.
        let directory = fs::canonicalize(parent)?;
        remove_interrupted(&directory, name);
        let mut number = std::process::id();
        let (path, file) = loop {
            let mut temporary = name.to_owned();
            temporary.push(format!(".{number}.tmp"));
            let path = directory.join(temporary);
            match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => break (path, file),
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists
                        && number < std::process::id().saturating_add(MAX_NUMBERS) =>
                {
                    number += 1;
                }
                Err(error) => return Err(error),
            }
        };
        let target = directory.join(name);
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
        remove(&self.path);
    }
}

/// Deletes an incomplete backup, and the journal with which SQLite writes it.
pub fn remove(path: &Path) {
    let _ = fs::remove_file(path);
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    let _ = fs::remove_file(journal);
}

/// Deletes `<name>.<process>.tmp`, unless the process runs.
fn remove_interrupted(directory: &Path, name: &OsStr) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let prefix = [name.as_encoded_bytes(), b"."].concat();
    for entry in entries.flatten() {
        let found = entry.file_name();
        let process =
            found.as_encoded_bytes().strip_prefix(prefix.as_slice()).and_then(|rest| rest.strip_suffix(b".tmp"));
        let is_number = |process: &&[u8]| !process.is_empty() && process.iter().all(u8::is_ascii_digit);
        if let Some(process) = process.filter(is_number)
            && !is_running(process)
            && is_abandoned(&entry)
        {
            remove(&entry.path());
        }
    }
}

/// Returns whether another process has this number.
fn is_running(process: &[u8]) -> bool {
    let number: Option<i32> = str::from_utf8(process).ok().and_then(|digits| digits.parse().ok());
    let other = number.filter(|number| u32::try_from(*number) != Ok(std::process::id()));
    other.and_then(Pid::from_raw).is_some_and(|process| test_kill_process(process) != Err(Errno::SRCH))
}

fn is_abandoned(entry: &DirEntry) -> bool {
    let modified = entry.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > ABANDONED_AFTER))
}
