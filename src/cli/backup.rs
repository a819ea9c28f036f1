//! The `keyswap backup` command: copies a running database to a file.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use serde::Serialize;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::{
    cli::common::{CommonArgs, Failure, print_result},
    config::Settings,
    crypto::{master_key_file::path_of, random::SystemEntropy},
    store::{
        DatabaseSettings, DatabaseUrl, SystemClock,
        backup::{self, Backup, BackupError, BackupTarget, Cancellation, ExistingFile},
    },
    telemetry::stderr,
};

/// How long a stop waits for the end of the copy. Nothing interrupts the copy of SQLite.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Write the backup to this file, with mode 0600. It must not exist unless
    /// --force is given.
    file: PathBuf,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct BackupReport {
    file: PathBuf,
    #[serde(flatten)]
    backup: Backup,
    /// The files without which the backup is useless.
    master_key_files: Vec<PathBuf>,
}

pub async fn run(common: &CommonArgs, args: BackupArgs) -> Result<(), Failure> {
    let BackupArgs { file, force, json } = args;
    if file == Path::new("-") {
        let message = "a backup is checked before it gets its name, so standard output is not supported: name a file";
        return Err(Failure::Usage(message.to_owned()));
    }
    let settings = common.settings()?;
    refuse_key_directory(&settings, &file)?;
    let existing = if force { ExistingFile::Replace } else { ExistingFile::Refuse };
    let backup = back_up(settings.database.clone(), BackupTarget { file: file.clone(), existing }).await?;
    let dir = &settings.keys.dir;
    let master_key_files = backup.master_keys.iter().map(|version| path_of(dir, *version)).collect();
    let report = BackupReport { file, backup, master_key_files };
    print_result(json, &report, |report| print_report(report, &settings.database.url))
}

/// Copies the database. SIGTERM and SIGINT stop the copy, and nothing of it is left.
async fn back_up(database: DatabaseSettings, target: BackupTarget) -> Result<Backup, Failure> {
    let catch = |kind| signal(kind).map_err(Failure::other);
    let (mut terminate, mut interrupt) = (catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?);
    let cancellation = Cancellation::default();
    let requested = cancellation.clone();
    let mut copy = tokio::task::spawn_blocking(move || {
        let entropy = SystemEntropy::default();
        backup::back_up(&database, Arc::new(SystemClock), &entropy, &target, &requested)
    });
    let ended = tokio::select! {
        ended = &mut copy => Some(ended),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            cancellation.request();
            match timeout(STOP_TIMEOUT, copy).await {
                Ok(ended) => ended,
                // The file is deleted, and the exit ends what still writes to it.
                Err(_) => {
                    stderr::print(format!("keyswap: {}\n", BackupError::Stopped));
                    std::process::exit(1);
                }
            }
        }
    };
    ended.map_err(Failure::other)?.map_err(Failure::other)
}

/// Refuses a backup in the directory of the master keys, where one theft gets both.
fn refuse_key_directory(settings: &Settings, file: &Path) -> Result<(), Failure> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let keys = &settings.keys.dir;
    // An error is that of the backup itself, or means that there is no such directory.
    if let (Ok(parent), Ok(directory)) = (fs::canonicalize(parent), fs::canonicalize(keys))
        && parent == directory
    {
        return Err(Failure::Other(format!(
            "{} contains the master keys: write the backup to another place, because with both anyone can sign tokens",
            keys.display()
        )));
    }
    Ok(())
}

fn print_report(report: &BackupReport, database: &DatabaseUrl) {
    let BackupReport { file, backup: Backup { size, event_seq, taken_at, .. }, master_key_files } = report;
    let file = file.display();
    println!("Wrote {file}: {size} bytes, all events up to {event_seq}, as of {taken_at}. The copy was checked.");
    println!();
    println!("It contains no secret in plain text, and is useless without the master keys. Back them up as well,");
    println!("in another place: with both, anyone can sign tokens.");
    for key in master_key_files {
        println!("  {}", key.display());
    }
    println!();
    println!("To restore it, stop all servers, then:");
    match database {
        DatabaseUrl::Sqlite(path) => {
            println!("  rm -f {path}-wal {path}-shm");
            println!("  cp {file} {path}");
        }
        DatabaseUrl::Postgres(_) => println!("  pg_restore --clean --if-exists --dbname=URL {file}"),
    }
    println!("Leave the file of the rollback guard as it is. Servers detect that the database is older, and");
    println!("`keyswap restore status` shows what is missing.");
}
