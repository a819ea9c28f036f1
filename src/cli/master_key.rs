//! The `keyswap master-key` command.

use std::{collections::BTreeMap, time::Duration};

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{
    app::startup::{self, StartMode},
    cli::common::{CommonArgs, Failure, print_json, print_result},
    config::Settings,
    crypto::{master_key_file::path_of, random::SystemEntropy},
    domain::{
        common::time::{Span, Timestamp},
        events::{Actor, Origin},
        signing::master_key::{MasterKeyInfo, MasterKeyState},
    },
    service::{
        common::conflict::{RowCounts, format_list, format_row_counts},
        encryption::{
            master_key_usage::{self, MasterKeyUsage},
            master_keys::{self, MissingKeyPolicy, RotationStart},
            re_encryption::{self, ReencryptionReport},
        },
    },
    store::{DatabaseUrl, Store},
};

/// The longest time between the arrival of a key file on a replica and the replica's report of it:
/// two polling intervals of at most two seconds each, plus a margin.
const MAX_REPORT_DELAY: Span = Span::from_secs(5);

#[derive(Debug, Subcommand)]
pub enum MasterKeyCommand {
    /// Create the first master key for an empty database and register it.
    #[command(after_help = "Examples:\n  keyswap master-key init")]
    Init,
    /// Show the registered master keys, whether their files are present, and
    /// how many rows need each key.
    #[command(after_help = "Examples:\n  keyswap master-key status")]
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Rotate the master key online and re-encrypt every row. Resumable.
    #[command(after_help = "On SQLite, one run is enough. On PostgreSQL, the first run creates and registers
the file master.<version>. Copy it to keys.dir of every replica, and continue.
A file master.<version> that is already in keys.dir is registered instead: 32
random bytes in base64, mode 0600. Every row stays readable if the command is
interrupted; --continue resumes it.

Examples:
  keyswap master-key rotate
  keyswap master-key rotate --continue    re-encrypt all rows with the new key
  keyswap master-key remove 1             remove the old key")]
    Rotate(Rotate),
    /// Remove a master key that no row needs. Refused while a row needs it.
    #[command(after_help = "Examples:\n  keyswap master-key remove 1 && shred -u keys/master.1")]
    Remove {
        /// Select the version, the number at the end of the file name.
        version: i32,
    },
}

#[derive(Debug, Args)]
pub struct Rotate {
    /// Continue a rotation that has begun and do not begin a new one.
    #[arg(long = "continue")]
    resume: bool,
    /// Activate the new key even if running replicas lack it. They answer 503
    /// until they have it.
    #[arg(long)]
    force: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The result of one run of `rotate`.
#[derive(Debug, Serialize)]
struct RotationReport {
    /// The precondition of the next step. Absent when the rotation does not have to wait.
    waits_for: Option<&'static str>,
    registered: Option<MasterKeyInfo>,
    activated: Option<MasterKeyInfo>,
    re_encrypted: ReencryptionReport,
    keys: Vec<MasterKeyUsage>,
}

pub async fn run(common: &CommonArgs, command: MasterKeyCommand) -> Result<(), Failure> {
    let mode = if matches!(command, MasterKeyCommand::Init) { StartMode::Serve } else { StartMode::Command };
    let (settings, store) = common.open_store(mode)?;
    let dir = &settings.keys.dir;
    match command {
        MasterKeyCommand::Init => {
            let keys = startup::init_master_key(&store, dir).await?;
            for (version, fingerprint) in keys.fingerprints() {
                println!("{} is registered (fingerprint {fingerprint}).", path_of(dir, version).display());
            }
            println!("Back it up separately from the database, and copy it to every replica. Without the");
            println!("file, the database cannot be decrypted.");
            Ok(())
        }
        MasterKeyCommand::Status { json } => {
            let keys = master_key_usage::list(&store, dir).await?;
            print_result(json, &keys, |keys| print_keys(keys))
        }
        MasterKeyCommand::Rotate(how) => {
            let is_shared = matches!(settings.database.url, DatabaseUrl::Postgres(_));
            rotate(&settings, &store, is_shared, &how).await
        }
        MasterKeyCommand::Remove { version } => {
            let removed = master_keys::remove(&store, Origin::of(Actor::Operator), version).await?;
            println!("Version {version} is removed (fingerprint {}).", removed.fingerprint);
            println!("Destroy {} on every replica and in every backup.", path_of(dir, version).display());
            println!("With this file and an older backup of the database, the signing keys in the backup can");
            println!("be decrypted.");
            Ok(())
        }
    }
}

fn print_keys(keys: &[MasterKeyUsage]) {
    println!("{:<8} {:<33} {:<9} {:<8} ROWS", "VERSION", "FINGERPRINT", "STATE", "FILE");
    for key in keys {
        let rows = if key.rows == 0 {
            "0".to_owned()
        } else {
            format!("{}: {}", key.rows, format_row_counts(&key.rows_by_column))
        };
        let info = &key.info;
        println!("{:<8} {:<33} {:<9} {:<8} {rows}", info.version, info.fingerprint, info.state.as_str(), key.file);
    }
}

async fn rotate(settings: &Settings, store: &Store, is_shared: bool, how: &Rotate) -> Result<(), Failure> {
    let (dir, origin, entropy) = (&settings.keys.dir, Origin::of(Actor::Operator), SystemEntropy::default());
    // No rotation begins while the file of a key that rows need is missing.
    let keys = startup::load_registered_master_keys(store, dir).await?;
    let mut report = RotationReport {
        waits_for: None,
        registered: None,
        activated: None,
        re_encrypted: ReencryptionReport::default(),
        keys: Vec::new(),
    };
    if !how.resume && !master_keys::is_rotation_in_progress(store).await? {
        let begun = master_keys::begin(store, dir, origin.clone(), &entropy).await?;
        let stop = is_shared && begun.registered;
        if !how.json {
            print_registered_key(settings, &begun, stop);
        }
        report.registered = Some(begun.info);
        if stop {
            report.waits_for = Some("the file on every replica");
            report.keys = master_key_usage::list(store, dir).await?;
            return if how.json { print_json(&report) } else { Ok(()) };
        }
    }
    // On SQLite, the only server uses the same directory as this command.
    let lacking = if how.force || !is_shared { MissingKeyPolicy::Ignore } else { MissingKeyPolicy::Refuse };
    if lacking == MissingKeyPolicy::Refuse {
        wait_for_replicas(store).await?;
    }
    report.activated = master_keys::activate(store, dir, origin.clone(), lacking).await?;
    if let Some(info) = &report.activated
        && !how.json
    {
        println!("Version {} is current. It encrypts all new rows.", info.version);
    }
    let left = re_encrypt_all(settings, store, &keys, &origin, &mut report.re_encrypted).await?;
    report.keys = master_key_usage::list(store, dir).await?;
    if how.json {
        print_json(&report)?;
    } else {
        println!("{} rows re-encrypted.", report.re_encrypted.total());
        for old in report.keys.iter().filter(|key| key.info.state == MasterKeyState::Retired && key.rows == 0) {
            let version = old.info.version;
            println!("No row needs version {version}. Run `keyswap master-key remove {version}` and destroy its file.");
        }
    }
    if left.is_empty() { Ok(()) } else { Err(Failure::Other(describe_damaged_rows(&report.re_encrypted))) }
}

/// Waits for running replicas that have not reported the incoming key. The file may have been
/// copied a moment ago, and a stopped replica counts as running for a short time only. `activate`
/// reports a replica that has polled since and still lacks the key.
async fn wait_for_replicas(store: &Store) -> Result<(), Failure> {
    let began = store.now().await?;
    let mut waited = false;
    loop {
        let lacking = master_keys::list_replicas_without_incoming_key(store).await?;
        if lacking.iter().any(|replica| replica.last_heartbeat_at >= began.plus(MAX_REPORT_DELAY)) || lacking.is_empty()
        {
            return Ok(());
        }
        if !waited {
            eprintln!("Waiting for replicas to report the new file: {}.", format_list(&lacking));
            waited = true;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn print_registered_key(settings: &Settings, begun: &RotationStart, stop: bool) {
    let path = path_of(&settings.keys.dir, begun.info.version);
    let how = if begun.file_created { "was created" } else { "was found" };
    println!("{} {how} and is registered (fingerprint {}).", path.display(), begun.info.fingerprint);
    println!("Back it up separately from the database.");
    if stop {
        println!("It does not encrypt anything yet. Copy it to keys.dir of every replica, mode 0600. Servers");
        println!("need no restart; /readyz of a replica reports the file while it is missing. Then run");
        println!("`keyswap master-key rotate --continue`.");
    }
}

fn describe_damaged_rows(re_encrypted: &ReencryptionReport) -> String {
    let rows: Vec<_> =
        re_encrypted.undecryptable.iter().map(|row| format!("{} {}", row.place.as_str(), row.id)).collect();
    format!(
        "failed to decrypt these rows, which are unchanged: {}. Their master key is still needed; restore the rows from a backup \
         and run `keyswap master-key rotate --continue`",
        rows.join(", ")
    )
}

/// Re-encrypts until no row uses an old key and no server can encrypt with an old key any more.
/// Returns what remains: the rows that do not decrypt.
async fn re_encrypt_all(
    settings: &Settings,
    store: &Store,
    keys: &crate::crypto::master_keys::MasterKeys,
    origin: &Origin,
    re_encrypted: &mut ReencryptionReport,
) -> Result<BTreeMap<i32, RowCounts>, Failure> {
    let mut waited = false;
    loop {
        let progress = |done: &ReencryptionReport| eprintln!("{} rows re-encrypted so far", done.total());
        re_encryption::run(store, keys, origin, re_encrypted, progress).await?;
        let switchover = find_switchover_time(settings, store).await?;
        let now = store.now().await?;
        if now < switchover {
            if !waited {
                eprintln!("Waiting until {switchover}, when every server uses the new key.");
                waited = true;
            }
            tokio::time::sleep(switchover.elapsed_since(now).duration().min(Duration::from_secs(1))).await;
            continue;
        }
        let left = master_keys::retire(store, origin.clone()).await?;
        let rows: i64 = left.values().flat_map(BTreeMap::values).sum();
        let damaged = i64::try_from(re_encrypted.undecryptable.len()).unwrap_or(i64::MAX);
        if rows <= damaged {
            return Ok(left);
        }
        eprintln!("{rows} rows were encrypted with an old key in the meantime. See /readyz of each replica for a");
        eprintln!("missing master key file.");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Returns the time from which every server uses the current key.
async fn find_switchover_time(settings: &Settings, store: &Store) -> Result<Timestamp, Failure> {
    let listed = store.read(crate::store::encryption::master_keys::list).await?;
    let current = listed.iter().find(|info| info.state == MasterKeyState::Current);
    let activated = current.and_then(|info| info.activated_at);
    // The first master key needs no wait, because there was no key before it.
    let rotated = listed.iter().any(|info| info.state == MasterKeyState::Retiring);
    Ok(match activated {
        Some(at) if rotated => {
            at.plus(master_keys::max_replica_staleness(store, settings.timing.replica_staleness).await?)
        }
        Some(_) | None => Timestamp::from_millis(0),
    })
}
