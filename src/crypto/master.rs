//! Master keys: files `master.<version>` in `keys.dir`, mode 0600, each 32 random bytes in base64.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::{ArcSwap, Guard};
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;
use zeroize::Zeroizing;

use crate::domain::{
    entropy::{Entropy, NoEntropy},
    master_key::{MasterKeyInfo, MasterKeyState},
};

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

/// The master keys at hand. Clones share them: what a rotation brings, all of them have.
#[derive(Debug, Clone)]
pub struct MasterKeys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Where a key is looked for that is not at hand yet.
    dir: Option<PathBuf>,
    held: ArcSwap<Held>,
}

/// The keys as of one look, by version.
#[derive(Debug, Clone)]
pub struct Held {
    sealing: (i32, MasterKey),
    others: BTreeMap<i32, MasterKey>,
    missing: BTreeMap<i32, Missing>,
}

/// A key that the database knows and that is not at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub state: MasterKeyState,
    /// Without the path, which is not for everyone.
    pub why: String,
}

impl Held {
    /// The key that seals.
    pub const fn sealing(&self) -> (i32, &MasterKey) {
        (self.sealing.0, &self.sealing.1)
    }

    pub fn version(&self, version: i32) -> Option<&MasterKey> {
        if version == self.sealing.0 { Some(&self.sealing.1) } else { self.others.get(&version) }
    }

    /// All of them, the one that seals first.
    pub(super) fn each(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.sealing.1).chain(self.others.values().rev())
    }

    /// Version and fingerprint of each.
    pub fn fingerprints(&self) -> BTreeMap<i32, String> {
        let sealing = (self.sealing.0, self.sealing.1.fingerprint());
        self.others.iter().map(|(version, key)| (*version, key.fingerprint())).chain([sealing]).collect()
    }

    pub const fn missing(&self) -> &BTreeMap<i32, Missing> {
        &self.missing
    }
}

impl MasterKeys {
    pub fn single(version: i32, key: MasterKey) -> Self {
        Self::new(None, (version, key), BTreeMap::new())
    }

    fn new(dir: Option<PathBuf>, sealing: (i32, MasterKey), others: BTreeMap<i32, MasterKey>) -> Self {
        let held = Held { sealing, others, missing: BTreeMap::new() };
        Self(Arc::new(Shared { dir, held: ArcSwap::from_pointee(held) }))
    }

    /// The newest of `versions` seals. Nothing when there are none.
    pub fn from_versions(versions: impl IntoIterator<Item = (i32, MasterKey)>) -> Option<Self> {
        let mut others: BTreeMap<_, _> = versions.into_iter().collect();
        let newest = others.pop_last()?;
        Some(Self::new(None, newest, others))
    }

    pub fn held(&self) -> Arc<Held> {
        self.0.held.load_full()
    }

    /// Without counting who holds them: for the way of an exchange.
    pub(super) fn now(&self) -> Guard<Arc<Held>> {
        self.0.held.load()
    }

    /// Version and fingerprint of each.
    pub fn fingerprints(&self) -> BTreeMap<i32, String> {
        self.now().fingerprints()
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
        let newest = keys.pop_last();
        Ok(newest.map(|newest| Self::new(Some(dir.to_owned()), newest, keys)))
    }

    /// The keys in `dir` that the database was sealed with. A file that it does not know is left alone: nothing is sealed with it.
    /// One that is on its way to every replica may be missing still.
    ///
    /// # Errors
    /// A file is missing, is not the right one, or cannot be read; each named.
    pub fn of(dir: &Path, registered: &[MasterKeyInfo]) -> Result<Self, MasterKeyError> {
        let (mut keys, mut sealing) = (BTreeMap::new(), None);
        for info in registered {
            let path = path_of(dir, info.version);
            match read_version(dir, info.version)? {
                Some(key) if key.fingerprint() == info.fingerprint => {
                    if info.state == MasterKeyState::Current {
                        sealing = Some((info.version, key));
                    } else {
                        keys.insert(info.version, key);
                    }
                }
                Some(key) => {
                    let (found, expected) = (key.fingerprint(), info.fingerprint.clone());
                    return Err(MasterKeyError::Wrong { path, found, expected });
                }
                None => match info.state {
                    MasterKeyState::Incoming => {}
                    MasterKeyState::Retired => return Err(MasterKeyError::Retired(path, info.version)),
                    MasterKeyState::Current | MasterKeyState::Retiring => return Err(MasterKeyError::Missing(path)),
                },
            }
        }
        let sealing = sealing.ok_or_else(|| MasterKeyError::Missing(path_of(dir, 1)))?;
        let keys = Self::new(Some(dir.to_owned()), sealing, keys);
        keys.keep(registered);
        Ok(keys)
    }

    /// Has at hand what the database knows now, from the directory where need be, and forgets the rest.
    pub fn keep(&self, registered: &[MasterKeyInfo]) {
        let before = self.held();
        let (mut others, mut missing, mut sealing) = (BTreeMap::new(), BTreeMap::new(), None);
        for info in registered {
            let known = before.version(info.version).filter(|key| key.fingerprint() == info.fingerprint);
            match known.cloned().map_or_else(|| self.fetch(info), Ok) {
                Ok(key) if info.state == MasterKeyState::Current => sealing = Some((info.version, key)),
                Ok(key) => {
                    others.insert(info.version, key);
                }
                Err(why) => {
                    missing.insert(info.version, Missing { state: info.state, why });
                }
            }
        }
        // Without the current one, what has sealed so far goes on; whether its rows are taken is for the database to say.
        let sealing = sealing.unwrap_or_else(|| before.sealing.clone());
        others.remove(&sealing.0);
        self.0.held.store(Arc::new(Held { sealing, others, missing }));
    }

    fn fetch(&self, info: &MasterKeyInfo) -> Result<MasterKey, String> {
        let name = format!("master.{}", info.version);
        let dir = self.0.dir.as_deref().ok_or_else(|| format!("{name} is not at hand"))?;
        match read_version(dir, info.version) {
            Ok(Some(key)) if key.fingerprint() == info.fingerprint => Ok(key),
            Ok(Some(_)) => Err(format!("{name} is another key than the database knows")),
            Ok(None) => Err(format!("{name} is missing")),
            Err(error) => {
                tracing::warn!(%error, "a master key cannot be read");
                Err(format!("{name} cannot be read"))
            }
        }
    }

    /// A key that a row asks for and that is not at hand: another replica may have been faster to seal with it.
    pub(super) fn look_for(&self, version: i32) -> Option<MasterKey> {
        read_version(self.0.dir.as_deref()?, version).ok().flatten()
    }

    /// Takes in a key that opened a row, and is the right one therefore.
    pub(super) fn adopt(&self, version: i32, key: &MasterKey) {
        self.0.held.rcu(|held| {
            let mut held = Held::clone(held);
            if held.version(version).is_none() {
                held.others.insert(version, key.clone());
                held.missing.remove(&version);
            }
            held
        });
    }

    /// Makes `master.1` in `dir`, or takes the one that another process has just made there.
    ///
    /// # Errors
    /// The directory or file cannot be written, or there is no randomness.
    pub fn create(dir: &Path, entropy: &dyn Entropy) -> Result<Self, MasterKeyError> {
        fs::create_dir_all(dir).map_err(|error| MasterKeyError::Unwritable(path_of(dir, 1), error))?;
        let (key, _) = make_or_take(dir, 1, entropy)?;
        Ok(Self::new(Some(dir.to_owned()), (1, key), BTreeMap::new()))
    }
}

/// The key in `master.<version>`, which is made where there is none; and whether it was.
///
/// # Errors
/// The file cannot be read or written, or there is no randomness.
pub fn make_or_take(dir: &Path, version: i32, entropy: &dyn Entropy) -> Result<(MasterKey, bool), MasterKeyError> {
    if let Some(key) = read_version(dir, version)? {
        return Ok((key, false));
    }
    let path = path_of(dir, version);
    let key = MasterKey::generate(entropy)?;
    let text = Zeroizing::new(format!("{}\n", STANDARD.encode(key.0.as_slice())));
    match write_secret(&path, text.as_bytes(), IfExists::Keep) {
        Ok(()) => Ok((key, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok((read(&path)?, false)),
        Err(error) => Err(MasterKeyError::Unwritable(path, error)),
    }
}

/// Takes away what writers that were cut off left of their work: it may be a copy of a key, which nobody would know to destroy.
pub fn sweep(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let of = name.strip_prefix("master.").and_then(|rest| rest.strip_suffix(".tmp"));
        if of.is_some_and(|process| process.parse::<u32>().is_ok()) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// The key in `master.<version>`, where there is such a file.
///
/// # Errors
/// It cannot be read, others can read it, or it holds no key.
pub fn read_version(dir: &Path, version: i32) -> Result<Option<MasterKey>, MasterKeyError> {
    let path = path_of(dir, version);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(_) | Err(_) => read(&path).map(Some),
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

/// The file of a version.
pub fn path_of(dir: &Path, version: i32) -> PathBuf {
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
    #[error("{} is missing: the database was sealed with it. Restore it from your backup; without it no key can be used", .0.display())]
    Missing(PathBuf),
    #[error("{} is missing. It is retired and no row needs it: where it was destroyed on purpose, run `keyswap master-key remove {}`; else restore it", .0.display(), .1)]
    Retired(PathBuf, i32),
    #[error("{} is not the key that the database was sealed with (fingerprint {found}, expected {expected}). Restore the right file", .path.display())]
    Wrong { path: PathBuf, found: String, expected: String },
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
}
