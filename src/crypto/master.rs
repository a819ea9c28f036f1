//! Master keys: files `master.<version>` in `keys.dir`, mode 0600, each 32 random bytes in base64.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;
use zeroize::Zeroizing;

use crate::domain::entropy::{Entropy, NoEntropy};

/// 256 bits that seal everything else.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// # Errors
    /// No randomness.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy.fill(bytes.as_mut())?;
        Ok(Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the database remembers the key by: it tells two keys apart and gives nothing away.
    pub fn fingerprint(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice());
        let tag = hmac::sign(&key, b"keyswap master key fingerprint");
        tag.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The master keys at hand, by version.
#[derive(Debug, Clone)]
pub struct MasterKeys {
    newest: (i32, MasterKey),
    older: BTreeMap<i32, MasterKey>,
}

impl MasterKeys {
    pub const fn single(version: i32, key: MasterKey) -> Self {
        Self { newest: (version, key), older: BTreeMap::new() }
    }

    /// The newest of `versions` seals. Nothing when there are none.
    pub fn from_versions(versions: impl IntoIterator<Item = (i32, MasterKey)>) -> Option<Self> {
        let mut older: BTreeMap<_, _> = versions.into_iter().collect();
        let newest = older.pop_last()?;
        Some(Self { newest, older })
    }

    /// The key that seals.
    pub const fn newest(&self) -> (i32, &MasterKey) {
        (self.newest.0, &self.newest.1)
    }

    pub fn version(&self, version: i32) -> Option<&MasterKey> {
        if version == self.newest.0 { Some(&self.newest.1) } else { self.older.get(&version) }
    }

    /// All of them, the newest first.
    pub(super) fn each(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.newest.1).chain(self.older.values().rev())
    }

    /// Version and fingerprint of each.
    pub fn fingerprints(&self) -> BTreeMap<i32, String> {
        let newest = (self.newest.0, self.newest.1.fingerprint());
        self.older.iter().map(|(version, key)| (*version, key.fingerprint())).chain([newest]).collect()
    }

    /// Reads every `master.<version>` in `dir`.
    ///
    /// # Errors
    /// A file that cannot be read, that others can read, or that holds no key; each named. `Ok(None)` when there is none.
    pub fn load(dir: &Path) -> Result<Option<Self>, MasterKeyError> {
        let mut keys = BTreeMap::new();
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(MasterKeyError::Unreadable(dir.to_owned(), error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| MasterKeyError::Unreadable(dir.to_owned(), error))?.path();
            if let Some(version) = version_of(&path) {
                keys.insert(version, read(&path)?);
            }
        }
        Ok(Self::from_versions(keys))
    }

    /// Makes `master.1` in `dir`, or takes the one that another process has just made there.
    ///
    /// # Errors
    /// The directory or file cannot be written, or there is no randomness.
    pub fn create(dir: &Path, entropy: &dyn Entropy) -> Result<Self, MasterKeyError> {
        let path = path_of(dir, 1);
        let unwritable = |error| MasterKeyError::Unwritable(path.clone(), error);
        fs::create_dir_all(dir).map_err(unwritable)?;
        let key = MasterKey::generate(entropy)?;
        let text = Zeroizing::new(format!("{}\n", STANDARD.encode(key.0.as_slice())));
        match write_secret(&path, text.as_bytes(), IfExists::Keep) {
            Ok(()) => Ok(Self::single(1, key)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Self::single(1, read(&path)?)),
            Err(error) => Err(unwritable(error)),
        }
    }
}

/// What to do with a file that stands where a secret is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// Fail with `AlreadyExists`.
    Keep,
    Replace,
}

/// Writes a secret with mode 0600, whole or not at all, and on the disk when this returns.
///
/// # Errors
/// As the file system has it.
pub fn write_secret(path: &Path, bytes: &[u8], if_exists: IfExists) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = (|| {
        let _ = fs::remove_file(&temporary);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        match if_exists {
            // A hard link refuses to replace, where a rename would.
            IfExists::Keep => fs::hard_link(&temporary, path),
            IfExists::Replace => fs::rename(&temporary, path),
        }
    })();
    let _ = fs::remove_file(&temporary);
    written?;
    fs::File::open(dir)?.sync_all()
}

fn path_of(dir: &Path, version: i32) -> PathBuf {
    dir.join(format!("master.{version}"))
}

fn version_of(path: &Path) -> Option<i32> {
    let digits = path.file_name()?.to_str()?.strip_prefix("master.")?;
    digits.parse().ok().filter(|version: &i32| *version > 0 && version.to_string() == digits)
}

fn read(path: &Path) -> Result<MasterKey, MasterKeyError> {
    let unreadable = |error| MasterKeyError::Unreadable(path.to_owned(), error);
    let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(MasterKeyError::Exposed(path.to_owned(), mode));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(unreadable)?);
    let decoded = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| MasterKeyError::NoKey(path.to_owned()))?);
    let bytes = decoded.as_slice().try_into().map_err(|_| MasterKeyError::NoKey(path.to_owned()))?;
    Ok(MasterKey(Zeroizing::new(bytes)))
}

/// Why the master keys are not at hand; each names the file.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error("cannot read {}: {}", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    #[error("cannot write {}: {}", .0.display(), .1)]
    Unwritable(PathBuf, io::Error),
    #[error("{} is open to others (mode {:03o}): run chmod 600 on it", .0.display(), .1)]
    Exposed(PathBuf, u32),
    #[error("{} holds no master key: 32 bytes in base64 are expected; restore it from your backup", .0.display())]
    NoKey(PathBuf),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
}
