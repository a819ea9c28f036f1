//! Command line: parses arguments, connects the modules, and prints results. Exit codes: 0 success,
//! 1 failure, 2 invalid usage or configuration. `plan --detailed-exitcode` also exits with 2, for
//! pending changes.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the only layer that writes to a terminal")]

mod api_key;
mod api_key_options;
mod api_key_output;
mod backup;
pub mod common;
mod configure;
mod demo;
mod doctor;
mod import;
mod integrity;
mod master_key;
mod migrate;
mod reload;
mod restore;
mod serve;
mod signals;
mod signing_key;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use rustix::fs::Mode;

use crate::{
    cli::common::{CommonArgs, Failure},
    config::findings,
    telemetry::{FlushAtExit, stderr},
};

/// Exchange long-lived API keys for short-lived signed JWTs and publish the
/// JWKS with which every service verifies them offline.
#[derive(Debug, Parser)]
#[command(
    name = "keyswap",
    version,
    max_term_width = 80,
    after_help = "Examples:
  keyswap demo                          see the workflow on temporary data
  keyswap serve                         run the server on SQLite
  keyswap api-key create --name ci --permission projects:read
  keyswap doctor                        diagnose the deployment"
)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a temporary server with sample data: create a key, exchange it over
    /// HTTP, verify the token, and serve until Ctrl-C.
    #[command(after_help = "Examples:
  keyswap demo
  keyswap demo --set server.bind=0.0.0.0:8080
  keyswap demo --once                   exit after the demonstration")]
    Demo {
        /// Exit after the demonstration.
        #[arg(long)]
        once: bool,
    },
    /// Run the server. The first start creates the database and its keys.
    #[command(after_help = "Examples:
  keyswap serve
  keyswap serve --config keyswap.toml --set server.bind=0.0.0.0:8080")]
    Serve,
    /// Manage API keys.
    #[command(subcommand)]
    ApiKey(api_key::ApiKeyCommand),
    /// Manage signing keys.
    #[command(subcommand)]
    SigningKey(signing_key::SigningKeyCommand),
    /// Manage the master keys, which encrypt all secrets in the database.
    #[command(subcommand)]
    MasterKey(master_key::MasterKeyCommand),
    /// Copy the database to a file while servers use it, and check the copy.
    #[command(after_help = "On SQLite the file is a database. On PostgreSQL it is an archive of pg_dump,
which must be installed, in the version of the server or later.
Back up the master keys too, in another place. A backup is useless without them.

Examples:
  keyswap backup /var/backups/keyswap.db
  keyswap backup keyswap.dump --force   replace the previous backup
  keyswap backup keyswap.db --json")]
    Backup(backup::BackupArgs),
    /// Detect and accept a rolled back database.
    #[command(subcommand)]
    Restore(restore::RestoreCommand),
    /// Find rows that were altered outside of Keyswap.
    #[command(subcommand)]
    Integrity(integrity::IntegrityCommand),
    /// Migrate the database schema to this version.
    #[command(after_help = "Examples:\n  keyswap migrate --status")]
    Migrate {
        /// Show applied and pending migrations without running any.
        #[arg(long)]
        status: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Import organizations, users and members in bulk from JSON lines.
    /// Idempotent.
    #[command(after_help = "Each line is one object, with the members that PUT accepts:
  {\"type\":\"organization\",\"id\":\"acme\",\"name\":\"Acme\"}
  {\"type\":\"user\",\"id\":\"ada\",\"profile\":{\"email\":\"ada@acme.example\"}}
  {\"type\":\"member\",\"organization_id\":\"acme\",\"user_id\":\"ada\",\"roles\":[\"editor\"]}
Refused lines are listed, and the exit code is then 1.

Examples:
  keyswap import directory.ndjson")]
    Import {
        /// Read the lines from this file. Use - for standard input.
        file: PathBuf,
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Validate the configuration and warn of settings that are risky.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Diagnose the deployment and suggest a remedy for each fault.
    #[command(after_help = "Examples:\n  keyswap doctor --config keyswap.toml")]
    Doctor {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the OpenAPI document that a server with this configuration
    /// publishes at /openapi.json.
    #[command(after_help = "Examples:
  keyswap openapi > openapi.json
  keyswap openapi --set server.public_url=https://keys.example")]
    Openapi,
    /// Show what `apply` would change.
    #[command(after_help = "Examples:
  keyswap plan keyswap.toml
  keyswap plan keyswap.yaml --prune --detailed-exitcode")]
    Plan(configure::Plan),
    /// Create or update permissions, roles, audiences and service clients as
    /// defined in a file. Idempotent.
    #[command(after_help = "Examples:
  keyswap apply keyswap.toml
  keyswap apply keyswap.yaml --prune    remove what the file does not list
  generate | keyswap apply - --format yaml")]
    Apply(configure::Apply),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read the configuration as the server does. Report every fault, and every
    /// setting that weakens the deployment.
    #[command(after_help = "Examples:\n  keyswap config check --config keyswap.toml")]
    Check,
}

/// Returns the tree of commands and options.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program.
pub fn main() -> ExitCode {
    forbid_core_dumps();
    // Files that Keyswap creates have mode 0600, directories 0700.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    // `parse` exits with 2 on invalid usage.
    let cli = Cli::parse();
    let flush = FlushAtExit;
    let result = actix_web::rt::System::new().block_on(run(cli));
    // The log precedes the reason of a failure.
    drop(flush);
    match result {
        Ok(code) => code,
        Err(failure) => {
            stderr::print(format!("keyswap: {failure}\n"));
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Disables core dumps, which would contain every secret in memory (invariant 6).
fn forbid_core_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let common = cli.common;
    let done = match cli.command {
        Command::Demo { once } => demo::run(&common, once).await,
        Command::Serve => serve::run(&common).await,
        Command::ApiKey(command) => api_key::run(&common, command).await,
        Command::SigningKey(command) => signing_key::run(&common, command).await,
        Command::MasterKey(command) => master_key::run(&common, command).await,
        Command::Backup(args) => backup::run(&common, args).await,
        Command::Restore(command) => restore::run(&common, command).await,
        Command::Integrity(command) => integrity::run(&common, command).await,
        Command::Migrate { status, json } => migrate::run(&common, status, json),
        Command::Import { file, json } => import::run(&common, &file, json).await,
        Command::Config(ConfigCommand::Check) => {
            let settings = common.settings()?;
            println!("The configuration is valid.");
            for finding in findings::find(&settings) {
                println!("warning: {finding}");
            }
            Ok(())
        }
        Command::Doctor { json } => doctor::run(&common, json).await,
        Command::Openapi => {
            let document = crate::http::openapi::document(&common.settings()?.server.public_url)?;
            print!("{}", String::from_utf8_lossy(&document.body));
            Ok(())
        }
        Command::Plan(plan) => return configure::plan(&common, plan).await,
        Command::Apply(apply) => return configure::apply(&common, apply).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}
