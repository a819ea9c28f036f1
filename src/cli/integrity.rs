//! The `keyswap integrity` command: rows that were altered outside of Keyswap.

use std::{sync::Arc, time::Duration};

use clap::Subcommand;

use crate::{
    app::startup::{self, StartMode},
    cli::common::{CommonArgs, Failure, print_result},
    domain::events::{Actor, Origin},
    service::integrity,
    store::SystemClock,
};

#[derive(Debug, Subcommand)]
pub enum IntegrityCommand {
    /// Check all rows that Keyswap authenticates, and list those that were
    /// altered outside of Keyswap. Changes nothing. The exit code is 1 if there
    /// are any.
    #[command(after_help = "Examples:\n  keyswap integrity list\n  keyswap integrity list --json")]
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Accept an altered row as it is now, or an older version as the newest
    /// one. An event records the decision.
    #[command(after_help = "Examine the row first: a person with write access may have altered it.
Restore the row from a backup instead if you can, or delete it.

Examples:
  keyswap integrity accept credentials hO3vT9pQ2xLmN7cR
  keyswap integrity accept audiences aud_01JD8V3T6Q4Z9R7M2N5K8P1XYA")]
    Accept {
        /// The table: credentials, audiences, access_records, signing_keys or
        /// signing_key_manifest.
        table: String,
        /// The id of the row, as listed.
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
}

pub async fn run(common: &CommonArgs, command: IntegrityCommand) -> Result<(), Failure> {
    let services = startup::start(common.settings()?, StartMode::Command, Arc::new(SystemClock)).await?;
    match command {
        IntegrityCommand::List { json } => {
            let report = integrity::check(&services, Duration::ZERO).await?;
            print_result(json, &report, |report| {
                for row in &report.faults {
                    println!("{}  {}  {}", row.table.as_str(), row.id, row.fault.as_str());
                }
                for (table, count) in &report.checked {
                    println!("{count} rows of {} checked", table.as_str());
                }
            })?;
            match report.faults.len() {
                0 => Ok(()),
                count => Err(Failure::Other(format!("{count} rows were altered outside of Keyswap"))),
            }
        }
        IntegrityCommand::Accept { table, id } => {
            integrity::accept(&services, &table, id.clone(), Origin::of(Actor::Operator)).await?;
            println!("Accepted {table}/{id} as it is now.");
            Ok(())
        }
    }
}
