//! Master keys: files `master.<version>` in `keys.dir`. Each file holds 32 random bytes in base64.

use std::{
    collections::BTreeMap,
    fs,
    io::{self},
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::{ArcSwap, Guard};

use crate::{
    crypto::master_key_file::{
        MasterKey, MasterKeyError, create_or_read_key, parse_file_version, path_of, read, read_key_of_version,
    },
    domain::{
        common::entropy::Entropy,
        signing::master_key::{MasterKeyInfo, MasterKeyState},
    },
};

/// The loaded master keys. Clones share their state, so all of them use a key that a rotation has
/// added.
#[derive(Debug, Clone)]
pub struct MasterKeys(Arc<LoadedKeys>);

#[derive(Debug)]
struct LoadedKeys {
    /// Directory from which a key that is not loaded yet is read.
    dir: Option<PathBuf>,
    snapshot: ArcSwap<MasterKeySnapshot>,
}

/// A snapshot of the loaded keys, by version.
#[derive(Debug, Clone)]
pub struct MasterKeySnapshot {
    current: (i32, MasterKey),
    others: BTreeMap<i32, MasterKey>,
    missing: BTreeMap<i32, MissingMasterKey>,
}

/// A key that is registered in the database and not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingMasterKey {
    pub state: MasterKeyState,
    /// The reason, without the path of the file, because `/readyz` returns it.
    pub reason: String,
}

impl MasterKeySnapshot {
    /// Returns the key that encrypts new rows, with its version.
    pub const fn current(&self) -> (i32, &MasterKey) {
        (self.current.0, &self.current.1)
    }

    pub fn version(&self, version: i32) -> Option<&MasterKey> {
        if version == self.current.0 { Some(&self.current.1) } else { self.others.get(&version) }
    }

    /// Iterates over all keys: the encrypting key first, then the others from newest to oldest.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.current.1).chain(self.others.values().rev())
    }

    /// Returns the fingerprint of each key, by version.
    pub fn fingerprints(&self) -> BTreeMap<i32, String> {
        let current = (self.current.0, self.current.1.fingerprint());
        self.others.iter().map(|(version, key)| (*version, key.fingerprint())).chain([current]).collect()
    }

    pub const fn missing(&self) -> &BTreeMap<i32, MissingMasterKey> {
        &self.missing
    }
}

impl MasterKeys {
    pub fn single(version: i32, key: MasterKey) -> Self {
        Self::new(None, (version, key), BTreeMap::new())
    }

    fn new(dir: Option<PathBuf>, current: (i32, MasterKey), others: BTreeMap<i32, MasterKey>) -> Self {
        let snapshot = MasterKeySnapshot { current, others, missing: BTreeMap::new() };
        Self(Arc::new(LoadedKeys { dir, snapshot: ArcSwap::from_pointee(snapshot) }))
    }

    /// The newest of `versions` encrypts. Returns `None` if `versions` is empty.
    pub fn from_versions(versions: impl IntoIterator<Item = (i32, MasterKey)>) -> Option<Self> {
        let mut others: BTreeMap<_, _> = versions.into_iter().collect();
        let newest = others.pop_last()?;
        Some(Self::new(None, newest, others))
    }

    pub fn snapshot(&self) -> Arc<MasterKeySnapshot> {
        self.0.snapshot.load_full()
    }

    /// Loads the snapshot without updating its reference count, for the exchange path.
    pub(crate) fn load(&self) -> Guard<Arc<MasterKeySnapshot>> {
        self.0.snapshot.load()
    }

    /// Returns the fingerprint of each key, by version.
    pub fn fingerprints(&self) -> BTreeMap<i32, String> {
        self.load().fingerprints()
    }

    /// Reads every `master.<version>` file in `dir`. Returns `Ok(None)` if there is none.
    pub fn read_dir(dir: &Path) -> Result<Option<Self>, MasterKeyError> {
        let mut keys = BTreeMap::new();
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(MasterKeyError::Unreadable(dir.to_owned(), error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| MasterKeyError::Unreadable(dir.to_owned(), error))?.path();
            if let Some(version) = parse_file_version(&path) {
                keys.insert(version, read(&path)?);
            }
        }
        let newest = keys.pop_last();
        Ok(newest.map(|newest| Self::new(Some(dir.to_owned()), newest, keys)))
    }

    /// Loads the registered keys from `dir`. A file with an unregistered version is ignored,
    /// because nothing is encrypted with it. The file of an incoming key may be missing, because it
    /// may not have been copied to this replica yet.
    pub fn open(dir: &Path, registered: &[MasterKeyInfo]) -> Result<Self, MasterKeyError> {
        let (mut keys, mut current) = (BTreeMap::new(), None);
        for info in registered {
            let path = path_of(dir, info.version);
            match read_key_of_version(dir, info.version)? {
                Some(key) if key.fingerprint() == info.fingerprint => {
                    if info.state == MasterKeyState::Current {
                        current = Some((info.version, key));
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
        let current = current.ok_or_else(|| MasterKeyError::Missing(path_of(dir, 1)))?;
        let keys = Self::new(Some(dir.to_owned()), current, keys);
        keys.synchronize(registered);
        Ok(keys)
    }

    /// Synchronizes the loaded keys with `registered`: reads missing keys from the directory and
    /// drops unregistered ones.
    pub fn synchronize(&self, registered: &[MasterKeyInfo]) {
        let before = self.snapshot();
        let (mut others, mut missing, mut current) = (BTreeMap::new(), BTreeMap::new(), None);
        for info in registered {
            let known = before.version(info.version).filter(|key| key.fingerprint() == info.fingerprint);
            match known.cloned().map_or_else(|| self.read_registered_key(info), Ok) {
                Ok(key) if info.state == MasterKeyState::Current => current = Some((info.version, key)),
                Ok(key) => {
                    others.insert(info.version, key);
                }
                Err(reason) => {
                    missing.insert(info.version, MissingMasterKey { state: info.state, reason });
                }
            }
        }
        // If the current key is missing, the previous key continues to encrypt. The database
        // rejects rows under a version that has been removed.
        let current = current.unwrap_or_else(|| before.current.clone());
        others.remove(&current.0);
        self.0.snapshot.store(Arc::new(MasterKeySnapshot { current, others, missing }));
    }

    fn read_registered_key(&self, info: &MasterKeyInfo) -> Result<MasterKey, String> {
        let name = format!("master.{}", info.version);
        let dir = self.0.dir.as_deref().ok_or_else(|| format!("{name} is not available"))?;
        match read_key_of_version(dir, info.version) {
            Ok(Some(key)) if key.fingerprint() == info.fingerprint => Ok(key),
            Ok(Some(_)) => Err(format!("{name} is another key than the registered one")),
            Ok(None) => Err(format!("{name} is missing")),
            Err(error) => {
                tracing::warn!(%error, "failed to read a master key; will retry");
                Err(format!("{name} cannot be read"))
            }
        }
    }

    /// Reads a key that a row requires and that is not loaded. Another replica may have started to
    /// encrypt with it earlier.
    pub(crate) fn read_unloaded_key(&self, version: i32) -> Option<MasterKey> {
        read_key_of_version(self.0.dir.as_deref()?, version).ok().flatten()
    }

    /// Adds a key that has decrypted a row and is therefore authentic.
    pub(crate) fn add_key(&self, version: i32, key: &MasterKey) {
        self.0.snapshot.rcu(|snapshot| {
            let mut snapshot = MasterKeySnapshot::clone(snapshot);
            if snapshot.version(version).is_none() {
                snapshot.others.insert(version, key.clone());
                snapshot.missing.remove(&version);
            }
            snapshot
        });
    }

    /// Creates `master.1` in `dir`, or loads the file if another process has just created it.
    pub fn create(dir: &Path, entropy: &dyn Entropy) -> Result<Self, MasterKeyError> {
        fs::create_dir_all(dir).map_err(|error| MasterKeyError::unwritable(path_of(dir, 1), error))?;
        let (key, _) = create_or_read_key(dir, 1, entropy)?;
        Ok(Self::new(Some(dir.to_owned()), (1, key), BTreeMap::new()))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;
    use crate::{
        crypto::{encryption::private_key_row, random::SystemEntropy},
        domain::common::{
            encryption::{Encrypted, RowCipher as _},
            time::Timestamp,
        },
    };

    fn write(dir: &Path, version: i32, key: &MasterKey) {
        let file = path_of(dir, version);
        fs::write(&file, STANDARD.encode(key.bytes())).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn info(version: i32, key: &MasterKey, state: MasterKeyState) -> MasterKeyInfo {
        let created_at = Timestamp::from_millis(0);
        let fingerprint = key.fingerprint();
        MasterKeyInfo { version, fingerprint, state, created_at, activated_at: None, retired_at: None }
    }

    #[test]
    fn every_row_stays_readable_during_a_rotation() {
        let entropy = SystemEntropy::default();
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = [MasterKey::generate(&entropy).unwrap(), MasterKey::generate(&entropy).unwrap()];
        write(dir.path(), 1, &one);
        let keys = MasterKeys::open(dir.path(), &[info(1, &one, MasterKeyState::Current)]).unwrap();
        let clone = keys.clone();
        let old = keys.encrypt(&private_key_row("a"), b"digest", &entropy).unwrap();
        let decrypts = |keys: &MasterKeys, row: &Encrypted| keys.decrypt(&private_key_row("a"), row).is_ok();

        // Incoming: another replica has the key file. This one does not, and reports it.
        let incoming = [info(1, &one, MasterKeyState::Current), info(2, &two, MasterKeyState::Incoming)];
        keys.synchronize(&incoming);
        assert!(keys.snapshot().missing()[&2].reason.contains("master.2 is missing"));
        assert_eq!(keys.snapshot().current().0, 1, "nothing is encrypted with it");
        write(dir.path(), 2, &one);
        keys.synchronize(&incoming);
        assert!(keys.snapshot().missing()[&2].reason.contains("another key"));
        write(dir.path(), 2, &two);

        // A row of a replica that activated the key earlier: this replica reads the file on demand.
        let elsewhere = MasterKeys::from_versions([(1, one.clone()), (2, two.clone())]).unwrap();
        let new = elsewhere.encrypt(&private_key_row("a"), b"digest", &entropy).unwrap();
        assert_eq!((old.master_version, new.master_version), (1, 2));
        assert!(decrypts(&keys, &new) && decrypts(&keys, &old) && decrypts(&clone, &new), "clones share their keys");

        let current = [info(1, &one, MasterKeyState::Retiring), info(2, &two, MasterKeyState::Current)];
        keys.synchronize(&current);
        assert!(clone.snapshot().missing().is_empty());
        assert_eq!(clone.snapshot().current().0, 2);
        assert!(decrypts(&clone, &old) && decrypts(&clone, &new));
    }
}
