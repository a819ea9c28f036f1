//! The `keyswap migrate` command.

use std::sync::Arc;

use crate::{
    cli::common::{CommonArgs, Failure, print_json},
    crypto::{random::SystemEntropy, sha256},
    store::{CreationPolicy, Store, SystemClock},
};

pub fn run(common: &CommonArgs, status: bool, json: bool) -> Result<(), Failure> {
    let settings = common.settings()?;
    let if_missing = if status { CreationPolicy::Fail } else { CreationPolicy::Create };
    let entropy = Arc::new(SystemEntropy::default());
    let store = Store::open(&settings.database, if_missing, Arc::new(SystemClock), entropy, sha256)?;
    let migrated = if status { Vec::new() } else { store.run_migrations()? };
    let state = store.migration_status()?;
    if json {
        return print_json(&state);
    }
    for migration in migrated {
        println!("Applied {migration}.");
    }
    println!("{} of {} migrations are applied.", state.applied.len(), state.applied.len() + state.pending.len());
    Ok(())
}
