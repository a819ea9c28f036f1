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
it.

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
    let file = &settings.keys.rollback_guard();
    let (state, _) = rollback_guard::compare(&store, file).await?;
    match command {
        RestoreCommand::Status { json } => {
            let restored = if let GuardState::RolledBack(restored) = &state { Some(&**restored) } else { None };
            let report = RestoreReport { asks: state.requires_decision(), why: state.describe_problem(), restored };
            print_result(json, &report, |report| {
                println!("{}", report.why.as_deref().unwrap_or("The database was not rolled back."));
            })
        }
        RestoreCommand::Accept { yes } => {
            if state.requires_decision() {
                explain(&state);
                if !yes {
                    let message = "nothing was changed; run `keyswap restore accept --yes` to proceed";
                    return Err(Failure::Other(message.to_owned()));
                }
            }
            rollback_guard::accept(&store, file, Origin::of(Actor::Operator)).await?;
            println!("Accepted. Servers with this rollback guard sign again within seconds. Accept on the other");
            println!("replicas as well.");
            Ok(())
        }
    }
}

fn explain(state: &GuardState) {
    println!("{}.", state.describe_problem().unwrap_or_default());
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
