//! The `keyswap restore` command: recovery after a rollback of the database.

use clap::Subcommand;
use serde::Serialize;

use crate::{
    app::startup::{StartMode, load_registered_master_keys},
    cli::common::{CommonArgs, Failure, print_result},
    domain::events::{Actor, Origin},
    service::encryption::{
        database_progress::{self, GuardState},
        rollback_guard,
    },
};

#[derive(Debug, Subcommand)]
pub enum RestoreCommand {
    /// Compare the database with its rollback guard. Changes nothing.
    #[command(after_help = "Examples:\n  keyswap restore status")]
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Accept a rolled back database. Prints the consequences, and proceeds
    /// only with --yes.
    #[command(after_help = "Each replica has its own rollback guard. Accept on every replica that requires
it. Restart servers whose rollback guard is in memory.

Examples:
  keyswap restore accept          show what was lost, and what to do
  keyswap restore accept --yes    sign again with this database")]
    Accept {
        /// Proceed with the acceptance.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Serialize)]
struct RestoreReport<'a> {
    asks: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restored: Option<&'a database_progress::Rollback>,
}

pub async fn run(common: &CommonArgs, command: RestoreCommand) -> Result<(), Failure> {
    let (settings, store) = common.open_store(StartMode::Command)?;
    load_registered_master_keys(&store, &settings.keys.dir).await?;
    let location = settings.keys.rollback_guard_location();
    let file = &location.file;
    let (state, _) = rollback_guard::compare(&store, file).await?;
    // Only the server knows what it has seen, and whether it requires a decision.
    let memory_only = location.describe_memory_only().filter(|_| !state.requires_decision());
    match command {
        RestoreCommand::Status { json } => {
            let restored = if let GuardState::RolledBack(restored) = &state { Some(&**restored) } else { None };
            let why = state.describe_problem().or_else(|| memory_only.map(str::to_owned));
            let report = RestoreReport { asks: state.requires_decision(), why, restored };
            print_result(json, &report, |report| {
                println!("{}", report.why.as_deref().unwrap_or("The database was not rolled back."));
            })
        }
        RestoreCommand::Accept { yes } => {
            if state.requires_decision() || memory_only.is_some() {
                explain(&state, memory_only);
                if !yes {
                    let message = "nothing was changed; run `keyswap restore accept --yes` to proceed";
                    return Err(Failure::Other(message.to_owned()));
                }
            }
            if memory_only.is_some() {
                rollback_guard::accept_in_memory(&store, Origin::of(Actor::Operator)).await?;
                println!("Accepted. Restart each server that reports the rollback in its log or on its operator");
                println!("listener.");
                return Ok(());
            }
            rollback_guard::accept(&store, file, Origin::of(Actor::Operator)).await?;
            println!("Accepted. Servers with this rollback guard sign again within seconds. Accept on the other");
            println!("replicas as well.");
            Ok(())
        }
    }
}

fn explain(state: &GuardState, memory_only: Option<&str>) {
    println!("{}.", state.describe_problem().as_deref().or(memory_only).unwrap_or_default());
    if let GuardState::RolledBack(restored) = state {
        let lost = (restored.recorded.seq - restored.database.seq).max(0);
        println!("At least {lost} recorded events are missing. Their changes are undone:");
    } else {
        println!("Later changes are unknown. If the database was restored from a backup:");
    }
    println!("  - API keys that were revoked, suspended or rotated since the backup are valid again.");
    println!("    Revoke them again.");
    println!("  - API keys, users and permissions created since are lost, and deleted ones are back.");
    println!("  - Signing keys published since are lost, and their tokens are refused. A signing key");
    println!("    revoked since is published again: revoke it again, and rotate, before use.");
    println!("If there is a newer backup, restore it instead.");
}
