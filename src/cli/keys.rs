//! `keyswap master-key` and `keyswap migrate`.

use std::sync::Arc;

use clap::Subcommand;

use crate::{
    service::start::{self, Mode},
    store::{self, SystemClock},
};

use super::{Common, Failure, compose, print_json};

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
