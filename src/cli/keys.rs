//! `keyswap signing-key`, `keyswap master-key` and `keyswap migrate`.

use std::{path::PathBuf, sync::Arc};

use clap::Subcommand;

use crate::{
    service::{
        caller::Caller,
        signing_keys::{self, Listed},
        start::{self, Mode},
    },
    store::{self, SystemClock},
};

use super::{Common, Failure, compose, print_json};

#[derive(Debug, Subcommand)]
pub enum SigningKeyCommand {
    /// List every signing key, with the times that matter
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let the next key sign; refused, with the time from which it can, while some verifier may not know it
    Rotate {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Publish a private key from a file as the next one: PEM (PKCS#8, PKCS#1, SEC 1) or a private JWK
    Import {
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum MasterKeyCommand {
    /// Make the first master key over an empty database, and register it
    Init,
    /// Say which master keys the database was sealed with, and whether they are here
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub async fn signing_key(common: &Common, command: SigningKeyCommand) -> Result<(), Failure> {
    let app = compose::for_command(common).await?;
    match command {
        SigningKeyCommand::List { json } => {
            let keys = signing_keys::list(&app).await?;
            if json { print_json(&keys) } else { print_keys(&keys) }
        }
        SigningKeyCommand::Rotate { json } => {
            let rotated = signing_keys::rotate(&app, &Caller::cli()).await?;
            if json {
                return print_json(&rotated);
            }
            println!(
                "{} signs now; running servers change over within signing_keys.replica_staleness.",
                rotated.activated.info.kid
            );
            println!(
                "{} is published to follow it, and may sign from {}.",
                rotated.next.info.kid, rotated.next.may_sign_from
            );
            for old in rotated.retired {
                let until = old.may_be_removed_from.map_or_else(String::new, |time| format!(" until {time} at least"));
                println!("{} signs no more and stays published{until}.", old.info.kid);
            }
            Ok(())
        }
        SigningKeyCommand::Import { file, json } => {
            let text = std::fs::read_to_string(&file)
                .map(zeroize::Zeroizing::new)
                .map_err(|error| Failure::Other(format!("cannot read {}: {error}", file.display())))?;
            let key = signing_keys::import(&app, &Caller::cli(), &text).await?;
            if json {
                return print_json(&key);
            }
            println!("{} is published, and may sign from {}.", key.info.kid, key.may_sign_from);
            Ok(())
        }
    }
}

fn print_keys(keys: &[Listed]) -> Result<(), Failure> {
    println!("{:<43} {:<9} {:<9} {:<24} NOTE", "KID", "ALGORITHM", "STATE", "PUBLISHED");
    for key in keys {
        let note = match (key.info.state, key.may_be_removed_from, key.info.removed_at) {
            (crate::domain::signing::SigningKeyState::Next, _, _) => format!("may sign from {}", key.may_sign_from),
            (_, _, Some(removed)) => format!("removed at {removed}"),
            (_, Some(from), None) => format!("stays published until {from} at least"),
            (_, None, None) => "signs".to_owned(),
        };
        let state = format!("{:?}", key.info.state).to_lowercase();
        println!(
            "{} {:<9} {:<9} {:<24} {note}",
            key.info.kid,
            key.info.algorithm.as_str(),
            state,
            key.info.published_at.to_string()
        );
    }
    Ok(())
}

pub async fn master_key(common: &Common, command: MasterKeyCommand) -> Result<(), Failure> {
    let config = common.config()?;
    let database = compose::database(&config)?;
    let dir = &config.keys.dir;
    match command {
        MasterKeyCommand::Init => {
            let store = start::open_store(&database, Mode::Serve, Arc::new(SystemClock))?;
            let keys = start::init_master_key(&store, dir).await?;
            for (version, fingerprint) in keys.fingerprints() {
                println!(
                    "{} is registered (fingerprint {fingerprint}).",
                    dir.join(format!("master.{version}")).display()
                );
            }
            println!(
                "Back it up apart from the database, and copy it to every replica: without it nothing can be opened."
            );
            Ok(())
        }
        MasterKeyCommand::Status { json } => {
            let store = start::open_store(&database, Mode::Command, Arc::new(SystemClock))?;
            let registered = store.read(store::master_keys::list).await.map_err(crate::service::Error::from)?;
            let here = crate::crypto::master::MasterKeys::load(dir).map_err(start::StartError::from)?;
            let here = here.map(|keys| keys.fingerprints()).unwrap_or_default();
            let rows: Vec<_> = registered
                .iter()
                .map(|(version, fingerprint)| {
                    let state = match here.get(version) {
                        Some(found) if found == fingerprint => "here",
                        Some(_) => "another key is here",
                        None => "missing",
                    };
                    serde_json::json!({ "version": version, "fingerprint": fingerprint, "file": state })
                })
                .collect();
            if json {
                return print_json(&rows);
            }
            println!("{:<8} {:<33} FILE", "VERSION", "FINGERPRINT");
            for row in rows {
                let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
                println!("{:<8} {:<33} {}", row["version"], text("fingerprint"), text("file"));
            }
            Ok(())
        }
    }
}

pub fn migrate(common: &Common, status: bool, json: bool) -> Result<(), Failure> {
    let config = common.config()?;
    let database = compose::database(&config)?;
    let entropy = Arc::new(crate::crypto::random::SystemEntropy::default());
    let if_missing = if status { store::IfMissing::Refuse } else { store::IfMissing::Create };
    let store = store::Store::open(&database, if_missing, Arc::new(SystemClock), entropy, crate::crypto::sha256)?;
    let ran = if status { Vec::new() } else { store.migrate()? };
    let state = store.migration_status()?;
    if json {
        return print_json(&state);
    }
    for migration in &ran {
        println!("ran {migration}");
    }
    println!("{} of {} migrations have run.", state.applied.len(), state.applied.len() + state.pending.len());
    Ok(())
}
