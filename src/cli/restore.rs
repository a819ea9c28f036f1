//! The `keyswap restore` command: recovery after a rollback of the database.

use clap::Subcommand;
use serde::Serialize;

use crate::{
    app::startup::StartMode,
    cli::common::{CommonArgs, Failure, print_json},
    domain::events::{Actor, Origin},
    service::encryption::{
        database_progress::{self, Verdict},
        rollback_guard,
    },
};

#[derive(Debug, Subcommand)]
pub enum RestoreCommand {
    /// Compare the database with its rollback guard. Changes nothing.
    #[command(after_help = "Examples:\n  keyswap restore status\n  keyswap restore status --json")]
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Accept a rolled back database. Prints the consequences, and proceeds
    /// only with --yes.
    #[command(
        after_help = "Examples:\n  keyswap restore accept          what was lost, and what to do about it\n  keyswap restore accept --yes    go on: on every replica that asks, each has its own witness"
    )]
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
    restored: Option<&'a database_progress::Restored>,
}

pub async fn run(common: &CommonArgs, command: RestoreCommand) -> Result<(), Failure> {
    let (settings, store) = common.open_store(StartMode::Command)?;
    let file = &settings.keys.rollback_guard();
    let (verdict, _) = rollback_guard::compare(&store, file).await?;
    match command {
        RestoreCommand::Status { json: true } => {
            let restored = if let Verdict::Restored(restored) = &verdict { Some(&**restored) } else { None };
            print_json(&RestoreReport { asks: verdict.requires_decision(), why: verdict.told(), restored })
        }
        RestoreCommand::Status { json: false } => {
            println!("{}", verdict.told().as_deref().unwrap_or("The database is as far as its witness has seen it."));
            Ok(())
        }
        RestoreCommand::Accept { yes } => {
            if verdict.requires_decision() {
                explain(&verdict);
                if !yes {
                    return Err(Failure::Other(
                        "nothing was done: run `keyswap restore accept --yes` to go on".to_owned(),
                    ));
                }
            }
            rollback_guard::accept(&store, file, Origin::of(Actor::Operator)).await?;
            println!(
                "Accepted: servers with this witness sign again within seconds. Other replicas have their own, and ask as well."
            );
            Ok(())
        }
    }
}

fn explain(verdict: &Verdict) {
    println!("{}.", verdict.told().unwrap_or_default());
    if let Verdict::Restored(restored) = verdict {
        let lost = (restored.rollback_guard.seq - restored.database.seq).max(0);
        println!("Of the history that was seen, {lost} events or more are missing. What was done in them is undone:");
    } else {
        println!("What was done since is unknown. If the database was put back to an older state:");
    }
    println!("  - API keys that were revoked, suspended or rotated since work again as they did: revoke them again.");
    println!("  - API keys, users and rights that were made since are unknown; those that were taken away are back.");
    println!(
        "  - Signing keys that were published since are unknown, and tokens they signed are refused; one that was"
    );
    println!("    revoked since is published again: revoke it again, and rotate, before anything relies on it.");
    println!("If a newer backup is at hand, restore that instead.");
}
