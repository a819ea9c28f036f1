//! Rollback guard: a small file outside of the database and its backups that records the progress
//! of the database. A database that is behind its guard file was rolled back: keys that were
//! revoked since work again, and signing keys that were published since are unknown. An operator
//! must decide before anything is signed.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use crate::{
    crypto::{
        jwk::PublicJwk,
        master::{IfExists, write_secret},
    },
    domain::{
        event::{EventKind, NewEvent, Origin},
        id::SigningKeyId,
        signing::SigningKeyState,
    },
    store::{self, Conn, Outcome, Store, StoreError, signing_keys::StoredSigningKey},
};

use super::{App, Error, signing_keys};

/// The progress of a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Id of the first event. A different id means a different database and not a backup of this
    /// one.
    pub database: String,
    /// Sequence number of the last event.
    pub seq: i64,
    /// Hash of the last event. It detects a history that has diverged after a rollback, even if it
    /// is longer.
    pub hash: String,
    /// Sum of the versions of all signing keys. It never decreases, except by a rollback.
    pub generation: i64,
    /// All signing keys of the past and present. Published keys must remain published, and revoked
    /// keys must not return.
    #[serde(default)]
    pub keys: Vec<SeenKey>,
}

/// A signing key as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenKey {
    pub kid: SigningKeyId,
    pub state: SigningKeyState,
    /// The public half, while the key is published.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub jwk: Option<PublicJwk>,
}

impl SeenKey {
    fn of(key: StoredSigningKey) -> Self {
        let StoredSigningKey { info, public_jwk, .. } = key;
        let jwk = if info.state.is_published() { serde_json::from_str(&public_jwk).ok() } else { None };
        Self { kid: info.kid, state: info.state, jwk }
    }
}

/// The result of a comparison between the database and the guard file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// They agree, or there is no guard file yet, or it belongs to a different database.
    Fine,
    /// The guard file could not be read or written, so a rollback might not be detected.
    Unkept(String),
    /// The database is behind the guard file or has diverged from it.
    Restored(Box<Restored>),
    /// The guard file is corrupt.
    Spoilt(String),
}

/// The recorded and the actual progress of a rolled back database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    pub witness: Seen,
    pub database: Seen,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seen, is) = (&self.witness, &self.database);
        if is.seq < seen.seq {
            write!(
                f,
                "the database looks like an old backup: it ends with event {}, and event {} was seen",
                is.seq, seen.seq
            )
        } else if is.generation < seen.generation {
            write!(f, "the database looks like an old backup: it knows less of the signing keys than was seen")
        } else {
            write!(
                f,
                "the database looks like an old backup that was used since: event {} is not the one that was seen",
                seen.seq
            )
        }
    }
}

impl Restored {
    /// Returns the keys to publish while an operator must decide. `found` are the published keys of
    /// the database. Published keys remain published (invariant K3), and keys that are revoked in
    /// the guard file or in the database do not return. For all other keys the guard file takes
    /// precedence.
    pub fn published<'a>(&'a self, found: impl Iterator<Item = &'a PublicJwk>) -> Vec<&'a PublicJwk> {
        let known: BTreeSet<_> = self.witness.keys.iter().map(|key| &key.kid).collect();
        let is_revoked = |key: &&SeenKey| key.state == SigningKeyState::Revoked;
        let revoked: BTreeSet<_> = self.database.keys.iter().filter(is_revoked).map(|key| &key.kid).collect();
        let seen = self.witness.keys.iter().filter_map(|key| key.jwk.as_ref());
        let others = found.filter(|jwk| !known.contains(&jwk.kid));
        seen.chain(others).filter(|jwk| !revoked.contains(&jwk.kid)).collect()
    }
}

impl Verdict {
    /// Returns whether an operator must decide before anything is signed.
    pub const fn asks(&self) -> bool {
        matches!(self, Self::Restored(_) | Self::Spoilt(_))
    }

    /// Returns a description of the problem in one line.
    pub fn told(&self) -> Option<String> {
        match self {
            Self::Fine => None,
            Self::Unkept(why) => Some(why.clone()),
            Self::Restored(restored) => {
                Some(format!("{restored}; nothing is signed or accepted until `keyswap restore accept` was run here"))
            }
            Self::Spoilt(why) => {
                Some(format!("{why}; nothing is signed or accepted until `keyswap restore accept` was run here"))
            }
        }
    }
}

/// The rollback guard of one replica.
pub struct Witness {
    file: PathBuf,
    verdict: ArcSwap<Verdict>,
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Witness({})", self.file.display())
    }
}

impl Witness {
    pub fn new(file: PathBuf) -> Self {
        Self { file, verdict: ArcSwap::from_pointee(Verdict::Fine) }
    }

    /// Returns the result of the last comparison.
    pub fn verdict(&self) -> Arc<Verdict> {
        self.verdict.load_full()
    }
}

/// Compares the database with the guard file. Halts signing while an operator must decide. If the
/// database does not answer, the previous result remains.
pub async fn look(app: &App) -> Result<(), Error> {
    let (verdict, _) = compare(&app.store, &app.witness.file).await?;
    settle(app, verdict);
    Ok(())
}

/// Like `look`, and records the progress of the database in the guard file.
pub async fn keep(app: &App) -> Result<(), Error> {
    let (verdict, seen) = compare(&app.store, &app.witness.file).await?;
    let verdict = match (verdict, seen) {
        (Verdict::Fine, Some(seen)) => {
            let file = app.witness.file.clone();
            let written = tokio::task::spawn_blocking(move || advance(&file, &seen)).await;
            match written.map_err(io::Error::other).and_then(|written| written) {
                Ok(()) => Verdict::Fine,
                Err(error) => Verdict::Unkept(format!(
                    "the witness cannot be written, so an old backup might not be noticed: {error}"
                )),
            }
        }
        (other, _) => other,
    };
    settle(app, verdict);
    Ok(())
}

fn settle(app: &App, verdict: Verdict) {
    let before = app.witness.verdict();
    if *before != verdict {
        match verdict.told() {
            Some(why) if verdict.asks() => tracing::error!(why, "nothing is signed"),
            Some(why) => tracing::warn!(why, file = %app.witness.file.display(), "see keys.witness"),
            None => tracing::info!("the database and its witness agree"),
        }
    }
    let asks = verdict.asks();
    app.witness.verdict.store(Arc::new(verdict));
    app.keys.halt(asks);
}

/// Compares the database with the guard file `file`. Also returns the progress of the database, or
/// `None` if it has no events.
pub async fn compare(store: &Store, file: &Path) -> Result<(Verdict, Option<Seen>), Error> {
    let file = file.to_owned();
    store
        .read(move |connection| {
            // The file is read before the database. Otherwise progress that is recorded in between
            // would look like a rollback.
            let found = read(&file);
            let Some(is) = seen(connection)? else { return Ok((Verdict::Fine, None)) };
            let verdict = match found {
                Ok(None) => Verdict::Fine,
                Ok(Some(seen)) => judge(connection, seen, &is)?,
                Err(Unread::Spoilt(why)) => Verdict::Spoilt(why),
                Err(Unread::Io(why)) => Verdict::Unkept(why),
            };
            Ok((verdict, Some(is)))
        })
        .await
}

fn seen(connection: &mut Conn) -> Result<Option<Seen>, StoreError> {
    let Some(first) = store::events::find(connection, 1)? else { return Ok(None) };
    // The keys are read before the chain head. An event that is read may have changed the keys
    // after they were read, but every change that is read has its event.
    let keys = store::signing_keys::list(connection, false)?;
    let generation = keys.iter().map(|key| key.info.version).sum();
    let (seq, hash) = store::events::head(connection)?;
    let keys = keys.into_iter().map(SeenKey::of).collect();
    Ok(Some(Seen { database: first.id.to_string(), seq, hash, generation, keys }))
}

fn judge(connection: &mut Conn, witness: Seen, is: &Seen) -> Result<Verdict, StoreError> {
    if witness.database != is.database {
        // The database was set up again or replaced. Nothing that was recorded can return.
        tracing::warn!("the witness is of another database, and begins anew with this one");
        return Ok(Verdict::Fine);
    }
    let same_history = match is.seq.cmp(&witness.seq) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => is.hash == witness.hash,
        std::cmp::Ordering::Greater => {
            let next = store::events::find(connection, witness.seq + 1)?;
            next.is_none_or(|next| next.prev_hash == witness.hash)
        }
    };
    if same_history && is.generation >= witness.generation {
        return Ok(Verdict::Fine);
    }
    Ok(Verdict::Restored(Box::new(Restored { witness, database: is.clone() })))
}

enum Unread {
    Io(String),
    Spoilt(String),
}

fn read(file: &Path) -> Result<Option<Seen>, Unread> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Unread::Io(format!(
                "the witness cannot be read, so an old backup might not be noticed: {error}"
            )));
        }
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|_| Unread::Spoilt("the witness holds something else than a witness".to_owned()))
}

/// Serializes writes within this process: they share the name of the temporary file.
static WRITING: Mutex<()> = Mutex::new(());

/// Writes `seen`, unless the file records the same or more. Replicas may share the file.
fn advance(file: &Path, seen: &Seen) -> io::Result<()> {
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Ok(Some(there)) = read(file)
        && there.database == seen.database
        && there.seq >= seen.seq
        && there.generation >= seen.generation
        && there.keys.len() >= seen.keys.len()
    {
        return Ok(());
    }
    write(file, seen)
}

fn write(file: &Path, seen: &Seen) -> io::Result<()> {
    if let Some(dir) = file.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir)?;
    }
    write_secret(file, &serde_json::to_vec(seen)?, IfExists::Replace)
}

/// Accepts the current state of the database by decision of an operator, and appends an event.
/// Returns `Error::Conflict` if there is nothing to accept.
pub async fn accept(store: &Store, file: &Path, origin: Origin) -> Result<Verdict, Error> {
    let (verdict, _) = compare(store, file).await?;
    if !verdict.asks() {
        return Err(Error::Conflict("the database is as the witness saw it: there is nothing to accept".to_owned()));
    }
    let event = match &verdict {
        Verdict::Restored(restored) => NewEvent::new(EventKind::RestoreAccepted, &restored.database.database)
            .with("seen_seq", restored.witness.seq)
            .with("seen_hash", restored.witness.hash.clone())
            .with("seq", restored.database.seq),
        Verdict::Spoilt(_) | Verdict::Fine | Verdict::Unkept(_) => NewEvent::new(EventKind::RestoreAccepted, "witness"),
    };
    store
        .change(origin, move |tx| {
            // Keys removed after the backup are back and verifiers may have dropped them, so every
            // propagation delay restarts.
            store::lock(tx, signing_keys::LOCK)?;
            let now = store::now(tx)?;
            store::rotation_clock::begin_anew(tx, now)?;
            Ok::<_, Error>(Outcome::event((), event))
        })
        .await?;
    let now =
        store.read(seen).await?.ok_or_else(|| Error::Internal("an event that was just written is gone".to_owned()))?;
    let unwritable = |error: io::Error| Error::Conflict(format!("cannot write {}: {error}", file.display()));
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    write(file, &now).map_err(unwritable)?;
    Ok(verdict)
}
