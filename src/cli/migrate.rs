//! The `keyswap migrate` command.

use std::sync::Arc;

use crate::{
    cli::{
        common::{CommonArgs, Failure, print_json},
        compose,
    },
    store::{self, SystemClock},
};

pub fn run(common: &CommonArgs, status: bool, json: bool) -> Result<(), Failure> {
    let config = common.config()?;
    let database = compose::database(&config)?;
    let entropy = Arc::new(crate::crypto::random::SystemEntropy::default());
    let if_missing = if status { store::CreationPolicy::Fail } else { store::CreationPolicy::Create };
    let store = store::Store::open(&database, if_missing, Arc::new(SystemClock), entropy, crate::crypto::sha256)?;
    let ran = if status { Vec::new() } else { store.run_migrations()? };
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
