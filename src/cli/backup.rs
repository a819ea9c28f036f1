//! The `keyswap backup` command: copies a running database to a file.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use serde::Serialize;

use crate::{
    cli::common::{CommonArgs, Failure, print_result},
    config::Settings,
    crypto::{master_key_file::path_of, random::SystemEntropy},
    store::{
        DatabaseUrl, SystemClock,
        backup::{self, Backup, ExistingFile},
    },
};

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
    let (database, target) = (settings.database.clone(), file.clone());
    let copy = tokio::task::spawn_blocking(move || {
        let entropy = SystemEntropy::default();
        backup::back_up(&database, Arc::new(SystemClock), &entropy, &target, existing)
    });
    let backup = copy.await.map_err(Failure::other)?.map_err(Failure::other)?;
    let dir = &settings.keys.dir;
    let master_key_files = backup.master_keys.iter().map(|version| path_of(dir, *version)).collect();
    let report = BackupReport { file, backup, master_key_files };
    print_result(json, &report, |report| print_report(report, &settings.database.url))
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
