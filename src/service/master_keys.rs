//! The rotation of the master key, step by step. Each step is one change, or many small ones that can be cut off anywhere: whoever
//! begins again finds what is left to do. Every row is readable with the old key or the new one at every moment.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Serialize;

use crate::{
    crypto::{
        foreign,
        master::{self, MasterKeyError, MasterKeys},
        random::SystemEntropy,
        seal::{Purpose, SealError, Sealed},
    },
    domain::{
        event::{EventKind, NewEvent, Origin},
        id::PortalSessionId,
        master_key::{MasterKeyInfo, MasterKeyState},
        time::Span,
    },
    store::{
        self, Conn, Outcome, Store, StoreError, Tx,
        replicas::Replica,
        sealed::{Anew, Place, SealedRow},
    },
};

use super::{App, Error, signing_keys, start::LOCK};

/// How many rows are sealed anew in one change: few enough that nobody waits for it.
const AT_ONCE: i64 = 100;

impl From<MasterKeyError> for Error {
    fn from(error: MasterKeyError) -> Self {
        Self::Conflict(error.to_string())
    }
}

/// Looks which master keys the database knows, and has them at hand.
///
/// # Errors
/// The database does not answer.
pub async fn refresh(app: &App) -> Result<(), StoreError> {
    let master = app.master.clone();
    let missing = app.master.held().missing().clone();
    app.store
        .read(move |connection| {
            master.keep(&store::master_keys::list(connection)?);
            Ok::<_, StoreError>(())
        })
        .await?;
    let held = app.master.held();
    if *held.missing() != missing {
        for lack in held.missing().values() {
            tracing::error!(why = lack.why, "a master key is not here: copy the file to this replica");
        }
    }
    Ok(())
}

/// Has every key at hand that a row may be sealed under.
///
/// # Errors
/// The database does not answer, or a file is missing here: what is not found may be there all the same.
pub(super) fn catch_up(connection: &mut Conn, master: &MasterKeys) -> Result<(), StoreError> {
    let registered = store::master_keys::list(connection)?;
    let held = master.held().fingerprints();
    let lacks = |info: &MasterKeyInfo| held.get(&info.version) != Some(&info.fingerprint);
    if registered.iter().any(lacks) {
        master.keep(&registered);
    }
    let held = master.held();
    // With one that is on its way nothing is sealed yet.
    match held.missing().values().find(|lack| lack.state != MasterKeyState::Incoming) {
        Some(lack) => Err(StoreError::Unavailable(format!("a master key is not here: {}", lack.why))),
        None => Ok(()),
    }
}

/// A key, and how many rows need it.
#[derive(Debug, Clone, Serialize)]
pub struct Counted {
    #[serde(flatten)]
    pub info: MasterKeyInfo,
    /// `here`, `missing`, or what is wrong with the file.
    pub file: String,
    pub rows: i64,
    /// Where, leaving out where there are none.
    pub rows_by_place: BTreeMap<Place, i64>,
}

/// Every key that the database knows, as it lies in `dir`, with the rows that need it.
///
/// # Errors
/// The database does not answer.
pub async fn status(store: &Store, dir: &Path) -> Result<Vec<Counted>, Error> {
    let dir = dir.to_owned();
    store
        .read(move |connection| {
            let listed = store::master_keys::list(connection)?;
            let counted = listed.into_iter().map(|info| {
                let rows_by_place = needed(connection, info.version)?;
                let file = file_of(&dir, &info);
                Ok(Counted { file, rows: rows_by_place.values().sum(), rows_by_place, info })
            });
            counted.collect()
        })
        .await
}

fn file_of(dir: &Path, info: &MasterKeyInfo) -> String {
    match master::read_version(dir, info.version) {
        Ok(Some(key)) if key.fingerprint() == info.fingerprint => "here".to_owned(),
        Ok(Some(_)) => "another key is here".to_owned(),
        Ok(None) => "missing".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn needed(connection: &mut Conn, version: i32) -> Result<BTreeMap<Place, i64>, StoreError> {
    let mut needed = BTreeMap::new();
    for place in Place::ALL {
        let count = store::sealed::count(connection, place, version)?;
        if count > 0 {
            needed.insert(place, count);
        }
    }
    Ok(needed)
}

/// "3 credentials, 1 webhooks".
pub fn told(needed: &BTreeMap<Place, i64>) -> String {
    let parts: Vec<_> = needed.iter().map(|(place, count)| format!("{count} {}", place.as_str())).collect();
    parts.join(", ")
}

/// The key that comes next, and how it came.
#[derive(Debug, Clone, Serialize)]
pub struct Begun {
    #[serde(flatten)]
    pub info: MasterKeyInfo,
    /// Whether the file was made now, and not found.
    pub made: bool,
    /// Whether it was registered now, and not before.
    pub registered: bool,
}

/// Makes `master.<next>`, or takes the one that lies there, and registers it: from now on replicas can get to know it, and nothing is
/// sealed with it yet. The file is on the disk before the database knows it.
///
/// # Errors
/// The file cannot be read or written, or holds a key that was here before.
pub async fn begin(store: &Store, dir: &Path, origin: Origin, entropy: &SystemEntropy) -> Result<Begun, Error> {
    let registered = store.read(store::master_keys::list).await?;
    if let Some(info) = in_state(&registered, MasterKeyState::Incoming) {
        return Ok(Begun { info: info.clone(), made: false, registered: false });
    }
    let version = registered.last().map_or(1, |info| info.version + 1);
    fs::create_dir_all(dir)
        .map_err(|error| Error::Conflict(format!("cannot make the directory {}: {error}", dir.display())))?;
    master::sweep(dir);
    let (key, made) = master::make_or_take(dir, version, entropy)?;
    let fingerprint = key.fingerprint();
    store
        .change(origin, move |tx| {
            store::lock(tx, LOCK)?;
            let listed = store::master_keys::list(tx)?;
            if let Some(info) = in_state(&listed, MasterKeyState::Incoming) {
                return Ok(Outcome::bookkeeping(Begun { info: info.clone(), made: false, registered: false }));
            }
            if listed.iter().any(|info| info.fingerprint == fingerprint) {
                return Err(Error::Conflict(format!("master.{version} holds a key that is or was in use already")));
            }
            store::master_keys::insert(tx, version, &fingerprint, MasterKeyState::Incoming)?;
            let event = NewEvent::new(EventKind::MasterKeyRegistered, version).with("fingerprint", fingerprint.clone());
            let info = in_state(&store::master_keys::list(tx)?, MasterKeyState::Incoming).cloned();
            let info =
                info.ok_or_else(|| StoreError::Corrupt("a master key that was registered is gone".to_owned()))?;
            Ok(Outcome::event(Begun { info, made, registered: true }, event))
        })
        .await
}

/// Whether a rotation has begun and not ended.
///
/// # Errors
/// The database does not answer.
pub async fn is_under_way(store: &Store) -> Result<bool, Error> {
    let listed = store.read(store::master_keys::list).await?;
    Ok(listed.iter().any(|info| matches!(info.state, MasterKeyState::Incoming | MasterKeyState::Retiring)))
}

/// What becomes of a rotation while replicas that are up lack the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    Refused,
    PassedOver,
}

/// The replicas that are up and have not told that they hold the incoming key, where there is one.
///
/// # Errors
/// The database does not answer.
pub async fn lacking(store: &Store) -> Result<Vec<Replica>, Error> {
    let found = store.read(|connection| {
        let listed = store::master_keys::list(connection)?;
        let incoming = in_state(&listed, MasterKeyState::Incoming);
        incoming.map_or_else(|| Ok(Vec::new()), |info| that_lack(connection, info))
    });
    Ok(found.await?)
}

fn that_lack(connection: &mut Conn, info: &MasterKeyInfo) -> Result<Vec<Replica>, StoreError> {
    let mut lacking = signing_keys::up(connection)?;
    lacking.retain(|replica| !replica.master_keys.split(' ').any(|held| held == info.fingerprint));
    Ok(lacking)
}

/// "one (rep_…), two (rep_…)".
pub fn named(replicas: &[Replica]) -> String {
    let names: Vec<_> = replicas.iter().map(|replica| format!("{} ({})", replica.name, replica.id)).collect();
    names.join(", ")
}

/// The longest staleness among the replicas and `own`: when it has passed, each of them has looked.
///
/// # Errors
/// The database does not answer.
pub async fn longest_staleness(store: &Store, own: Span) -> Result<Span, Error> {
    let replicas = store.read(store::replicas::list).await?;
    Ok(replicas.iter().map(|replica| replica.timing.replica_staleness).fold(own, Span::max))
}

/// Lets the incoming key seal from now on; nothing to do when there is none.
///
/// # Errors
/// Its file is missing here, or is another; a replica that is up lacks it.
pub async fn activate(
    store: &Store,
    dir: &Path,
    origin: Origin,
    lacking: Lacking,
) -> Result<Option<MasterKeyInfo>, Error> {
    let dir = dir.to_owned();
    store
        .change(origin, move |tx| {
            store::lock(tx, LOCK)?;
            let listed = store::master_keys::list(tx)?;
            let Some(incoming) = in_state(&listed, MasterKeyState::Incoming).cloned() else {
                return Ok(Outcome::bookkeeping(None));
            };
            match file_of(&dir, &incoming).as_str() {
                "here" => {}
                other => return Err(Error::Conflict(format!("master.{}: {other}", incoming.version))),
            }
            let without = that_lack(tx, &incoming)?;
            if lacking == Lacking::Refused && !without.is_empty() {
                return Err(Error::Conflict(format!(
                    "these replicas are up and do not hold master.{}: {}. Copy the file to keys.dir there; or pass them over with --force: \
                     they answer 503 for what is sealed with it",
                    incoming.version,
                    named(&without)
                )));
            }
            let faster = || Error::Conflict("another rotation of the master key was faster".to_owned());
            let old = in_state(&listed, MasterKeyState::Current).ok_or_else(faster)?;
            let moved =
                store::master_keys::advance(tx, old.version, MasterKeyState::Current, MasterKeyState::Retiring)?
                    && store::master_keys::advance(
                        tx,
                        incoming.version,
                        MasterKeyState::Incoming,
                        MasterKeyState::Current,
                    )?;
            if !moved {
                return Err(faster());
            }
            let event = NewEvent::new(EventKind::MasterKeyActivated, incoming.version)
                .with("fingerprint", incoming.fingerprint.clone());
            let current = in_state(&store::master_keys::list(tx)?, MasterKeyState::Current).cloned();
            Ok(Outcome::event(current, event))
        })
        .await
}

fn in_state(listed: &[MasterKeyInfo], state: MasterKeyState) -> Option<&MasterKeyInfo> {
    listed.iter().find(|info| info.state == state)
}

/// What was sealed anew, and what could not be.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Resealed {
    pub rows: BTreeMap<Place, i64>,
    /// Rows that do not open: they were altered, and are left as they are.
    pub damaged: Vec<Damaged>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Damaged {
    pub place: Place,
    pub id: String,
}

impl Resealed {
    pub fn total(&self) -> i64 {
        self.rows.values().sum()
    }
}

/// Seals anew everything that stands under another key than the current one, a few rows at a time, and tells `progress` of each few.
///
/// # Errors
/// The database does not answer; what was done until then is done.
pub async fn reseal(
    store: &Store,
    keys: &MasterKeys,
    origin: &Origin,
    entropy: &SystemEntropy,
    done: &mut Resealed,
    mut progress: impl FnMut(&Resealed),
) -> Result<(), Error> {
    let listed = store.read(store::master_keys::list).await?;
    keys.keep(&listed);
    let others = listed.iter().filter(|info| matches!(info.state, MasterKeyState::Retiring | MasterKeyState::Retired));
    done.damaged.clear();
    for version in others.map(|info| info.version) {
        for place in Place::ALL {
            let mut after = String::new();
            loop {
                let (keys, entropy, from) = (keys.clone(), entropy.clone(), after.clone());
                let batch = store
                    .change(origin.clone(), move |tx| {
                        Ok::<_, Error>(Outcome::bookkeeping(some(tx, &keys, &entropy, place, version, &from)?))
                    })
                    .await?;
                let Some(last) = batch.last else { break };
                after = last;
                if batch.resealed > 0 {
                    *done.rows.entry(place).or_default() += batch.resealed;
                }
                done.damaged.extend(batch.damaged.into_iter().map(|id| Damaged { place, id }));
                progress(done);
            }
        }
    }
    Ok(())
}

struct Batch {
    resealed: i64,
    damaged: Vec<String>,
    last: Option<String>,
}

fn some(
    tx: &mut Tx<'_>,
    keys: &MasterKeys,
    entropy: &SystemEntropy,
    place: Place,
    version: i32,
    after: &str,
) -> Result<Batch, Error> {
    let rows = store::sealed::some(tx, place, version, after, AT_ONCE)?;
    let mut batch = Batch { resealed: 0, damaged: Vec::new(), last: rows.last().map(|row| row.id.clone()) };
    for row in rows {
        match anew(keys, entropy, place, version, &row) {
            // Of a row that has changed or gone since, nothing is left to do here; what took its place is found the next time.
            Ok(anew) => batch.resealed += i64::from(store::sealed::replace(tx, place, &row, &anew)?),
            Err(SealError::DoesNotOpen) => batch.damaged.push(row.id),
            Err(error @ (SealError::NoEntropy | SealError::NoMasterKey(_))) => return Err(error.into()),
        }
    }
    Ok(batch)
}

fn anew(
    keys: &MasterKeys,
    entropy: &SystemEntropy,
    place: Place,
    master_version: i32,
    row: &SealedRow,
) -> Result<Anew, SealError> {
    let sealed = Sealed { master_version, bytes: row.bytes.clone() };
    if row.has_lookup {
        let (anew, lookup) = foreign::reseal(keys, &row.id, &sealed, entropy)?;
        return Ok(Anew { bytes: anew.bytes, version: anew.master_version, lookup: Some(lookup) });
    }
    let purpose = match place {
        Place::SigningKeys => Purpose::SigningKey,
        Place::Credentials => Purpose::Credential,
        Place::PortalSessions => Purpose::PortalSession,
        Place::Webhooks | Place::OldWebhookSecrets => Purpose::Webhook,
    };
    // A session is sealed for the id that stands in its token: its own without the prefix.
    let id = match place {
        Place::PortalSessions => row.id.strip_prefix(PortalSessionId::PREFIX).unwrap_or(&row.id),
        Place::SigningKeys | Place::Credentials | Place::Webhooks | Place::OldWebhookSecrets => &row.id,
    };
    let anew = keys.reseal(purpose, id, &sealed, entropy)?;
    Ok(Anew { bytes: anew.bytes, version: anew.master_version, lookup: None })
}

/// Marks every key that seals no more and that no row needs as retired; gives what rows still need of the others.
///
/// # Errors
/// The database does not answer.
pub async fn retire(store: &Store, origin: Origin) -> Result<BTreeMap<i32, BTreeMap<Place, i64>>, Error> {
    store
        .change(origin, |tx| {
            store::lock(tx, LOCK)?;
            let (mut left, mut events) = (BTreeMap::new(), Vec::new());
            for info in store::master_keys::list(tx)? {
                if !matches!(info.state, MasterKeyState::Retiring | MasterKeyState::Retired) {
                    continue;
                }
                let needed = needed(tx, info.version)?;
                if !needed.is_empty() {
                    left.insert(info.version, needed);
                } else if info.state == MasterKeyState::Retiring
                    && store::master_keys::advance(tx, info.version, MasterKeyState::Retiring, MasterKeyState::Retired)?
                {
                    events.push(
                        NewEvent::new(EventKind::MasterKeyRetired, info.version).with("fingerprint", info.fingerprint),
                    );
                }
            }
            Ok(Outcome::events(left, events))
        })
        .await
}

/// Forgets a key that no row needs; its file is for the operator to destroy.
///
/// # Errors
/// No such key; it seals what is written; or a row still needs it.
pub async fn remove(store: &Store, origin: Origin, version: i32) -> Result<MasterKeyInfo, Error> {
    store
        .change(origin, move |tx| {
            store::lock(tx, LOCK)?;
            let listed = store::master_keys::list(tx)?;
            let info = listed.into_iter().find(|info| info.version == version).ok_or(Error::NotFound("master key"))?;
            match info.state {
                MasterKeyState::Current => {
                    return Err(Error::Conflict(format!(
                        "master.{version} seals what is written now: rotate first, `keyswap master-key rotate`"
                    )));
                }
                MasterKeyState::Retiring | MasterKeyState::Retired | MasterKeyState::Incoming => {}
            }
            let needed = needed(tx, version)?;
            if !needed.is_empty() {
                return Err(Error::Conflict(format!(
                    "master.{version} is still needed by {}: run `keyswap master-key rotate --continue`",
                    told(&needed)
                )));
            }
            if info.state == MasterKeyState::Retiring {
                return Err(Error::Conflict(format!(
                    "master.{version} is not retired yet: run `keyswap master-key rotate --continue`"
                )));
            }
            store::master_keys::delete(tx, version)?;
            let event = NewEvent::new(EventKind::MasterKeyRemoved, version)
                .with("fingerprint", info.fingerprint.clone())
                .with("state", info.state.as_str());
            Ok(Outcome::event(info, event))
        })
        .await
}
