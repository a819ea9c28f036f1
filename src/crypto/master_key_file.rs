//! A master key, and its file.

use crate::{
    crypto::{
        hex,
        secret_file::{SecretFileError, read_secret},
    },
    domain::common::entropy::{Entropy, EntropyUnavailable},
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// A 256-bit key that encrypts the secrets in the database.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyUnavailable> {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy.fill(bytes.as_mut())?;
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the identifier under which the database registers the key: a truncated HMAC of 128
    /// bits in hexadecimal, which reveals nothing about the key.
    pub fn fingerprint(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice());
        let tag = hmac::sign(&key, b"keyswap master key fingerprint");
        hex(&tag.as_ref()[..16])
    }
}

/// Returns the key in `master.<version>`, and whether this call created the file.
pub fn create_or_read_key(
    dir: &Path,
    version: i32,
    entropy: &dyn Entropy,
) -> Result<(MasterKey, bool), MasterKeyError> {
    if let Some(key) = read_key_of_version(dir, version)? {
        return Ok((key, false));
    }
    let path = path_of(dir, version);
    let key = MasterKey::generate(entropy)?;
    let text = Zeroizing::new(format!("{}\n", STANDARD.encode(key.0.as_slice())));
    match write_secret(&path, text.as_bytes(), IfExists::Fail) {
        Ok(()) => Ok((key, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok((read(&path)?, false)),
        Err(error) => Err(MasterKeyError::unwritable(path, error)),
    }
}

/// Deletes temporary files of interrupted writers. Such a file may hold a copy of a key that would
/// otherwise never be destroyed.
pub fn remove_temporary_files(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let of = name.strip_prefix("master.").and_then(|rest| rest.strip_suffix(".tmp"));
        if of.is_some_and(|process| process.parse::<u32>().is_ok()) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Returns the key in `master.<version>`, or `None` if the file does not exist.
pub fn read_key_of_version(dir: &Path, version: i32) -> Result<Option<MasterKey>, MasterKeyError> {
    let path = path_of(dir, version);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(_) | Err(_) => read(&path).map(Some),
    }
}

/// What to do if the target file of a secret exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// Fail with `AlreadyExists`.
    Fail,
    Replace,
}

/// Writes a secret with mode 0600, atomically. The file is on stable storage when the function
/// returns.
pub fn write_secret(path: &Path, bytes: &[u8], if_exists: IfExists) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = (|| {
        let _ = fs::remove_file(&temporary);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        match if_exists {
            // `hard_link` fails if the target exists. `rename` would replace it.
            IfExists::Fail => fs::hard_link(&temporary, path),
            IfExists::Replace => fs::rename(&temporary, path),
        }
    })();
    let _ = fs::remove_file(&temporary);
    written?;
    fs::File::open(dir)?.sync_all()
}

/// Returns the path of the file of a version.
pub fn path_of(dir: &Path, version: i32) -> PathBuf {
    dir.join(format!("master.{version}"))
}

pub(crate) fn parse_file_version(path: &Path) -> Option<i32> {
    let digits = path.file_name()?.to_str()?.strip_prefix("master.")?;
    digits.parse().ok().filter(|version: &i32| *version > 0 && version.to_string() == digits)
}

pub(crate) fn read(path: &Path) -> Result<MasterKey, MasterKeyError> {
    let text = read_secret(path)?;
    let decoded = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| MasterKeyError::NoKey(path.to_owned()))?);
    let bytes = decoded.as_slice().try_into().map_err(|_| MasterKeyError::NoKey(path.to_owned()))?;
    Ok(MasterKey(Zeroizing::new(bytes)))
}

/// Why master keys cannot be loaded or created. File errors name the file.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error("failed to read {}: {}", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    #[error("failed to write {}: {}", .0.display(), .1)]
    Unwritable(PathBuf, io::Error),
    #[error("failed to create {}, because its directory is not writable: create it in the Secret or volume that the directory is mounted from, with `head -c 32 /dev/urandom | base64`, and repeat the command", .0.display())]
    DirectoryNotWritable(PathBuf),
    #[error(transparent)]
    File(#[from] SecretFileError),
    #[error("{} holds no master key: 32 bytes in base64 are expected; restore it from your backup", .0.display())]
    NoKey(PathBuf),
    #[error("{} is missing: the database was encrypted with it. Restore it from your backup; without it no key can be used", .0.display())]
    Missing(PathBuf),
    #[error("{} is missing. It is retired and no row needs it: if it was destroyed on purpose, run `keyswap master-key remove {}`; otherwise restore it", .0.display(), .1)]
    Retired(PathBuf, i32),
    #[error("{} is not the key that the database was encrypted with (fingerprint {found}, expected {expected}). Restore the right file", .path.display())]
    Wrong { path: PathBuf, found: String, expected: String },
    #[error(transparent)]
    NoEntropy(#[from] EntropyUnavailable),
}

impl MasterKeyError {
    pub(crate) fn unwritable(path: PathBuf, error: io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied) {
            Self::DirectoryNotWritable(path)
        } else {
            Self::Unwritable(path, error)
        }
    }
}
