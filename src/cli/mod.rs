//! The command line: reads, puts the rooms together, and prints. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the one room that talks to a terminal")]

mod api_key;
pub mod compose;
mod configure;
mod demo;
mod doctor;
mod import;
mod master_key;
mod migrate;
mod restore;
mod serve;
mod signing_key;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{config, service};

/// Swaps long-lived API keys for short-lived signed JWTs, and publishes the JWKS that lets every service verify them alone.
#[derive(Debug, Parser)]
#[command(
    name = "keyswap",
    version,
    after_help = "Examples:\n  keyswap demo                       see all of it work, on throw-away data\n  keyswap serve                      \
                  run the server on SQLite, with nothing to set up\n  keyswap api-key create --name ci --permission projects:read\n  \
                  keyswap doctor                     what is wrong, and what to do about it"
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
struct Common {
    /// The configuration file (TOML); settings it does not name keep their defaults
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, over file and environment; may be given several times
    #[arg(long = "set", global = true, value_name = "PATH=VALUE")]
    set: Vec<String>,
}

impl Common {
    fn config(&self) -> Result<config::Config, Failure> {
        compose::config(self.config.as_deref(), &self.set)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A throw-away server with sample data: makes a key, swaps it over HTTP, verifies the token, and serves until Ctrl-C
    Demo {
        /// End at once instead of serving on
        #[arg(long)]
        once: bool,
    },
    /// The server
    Serve,
    /// API keys
    #[command(subcommand)]
    ApiKey(api_key::ApiKeyCommand),
    /// Signing keys
    #[command(subcommand)]
    SigningKey(signing_key::SigningKeyCommand),
    /// The keys that seal everything in the database
    #[command(subcommand)]
    MasterKey(master_key::MasterKeyCommand),
    /// What to do after the database was put back to an older state
    #[command(subcommand)]
    Restore(restore::RestoreCommand),
    /// Bring the database up to this version
    Migrate {
        /// Only say which migrations have run and which have not
        #[arg(long)]
        status: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Mirror organizations, users and members from lines of JSON, many at once; the same lines again change nothing
    #[command(
        after_help = "A line is one of\n  {\"type\":\"organization\",\"id\":\"acme\",\"name\":\"Acme\"}\n  {\"type\":\"user\",\"id\":\"alice\",\"profile\":{\"email\":\"alice@acme.example\"}}\n  {\"type\":\"member\",\"organization_id\":\"acme\",\"user_id\":\"alice\",\"roles\":[\"editor\"]}\nwith the members that the PUTs of the API take. Lines that are refused are listed, and the exit code is 1."
    )]
    Import {
        /// Where the lines are; - is standard input
        file: PathBuf,
        /// Print the report as JSON
        #[arg(long)]
        json: bool,
    },
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look for what is wrong, and say what to do about it
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the OpenAPI document of the API, as a server with this configuration serves it at /openapi.json
    #[command(
        after_help = "Examples:\n  keyswap openapi > openapi.json\n  keyswap openapi --set server.public_url=https://keys.example"
    )]
    Openapi,
    /// Say what `apply` would change
    #[command(
        after_help = "Examples:\n  keyswap plan keyswap.toml\n  keyswap plan keyswap.yaml --prune --detailed-exitcode    0: nothing to change, 2: something, 1: it failed"
    )]
    Plan(configure::Plan),
    /// Make permissions, roles, audiences and service clients as a file has them; a second time changes nothing
    #[command(
        after_help = "Examples:\n  keyswap apply keyswap.toml\n  keyswap apply keyswap.yaml --prune    remove what the file does not name\n  generate | keyswap apply - --format yaml"
    )]
    Apply(configure::Apply),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read the configuration as the server would, and name every fault
    Check,
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Config(#[from] config::Invalid),
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Start(#[from] service::start::StartError),
    #[error(transparent)]
    Open(#[from] crate::store::OpenError),
    #[error(transparent)]
    Serve(#[from] crate::http::server::ServeError),
    #[error(transparent)]
    Service(#[from] service::Error),
    #[error("{0}")]
    Other(String),
}

impl Failure {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Usage(_) => 2,
            Self::Start(_) | Self::Open(_) | Self::Serve(_) | Self::Service(_) | Self::Other(_) => 1,
        }
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    forbid_core_dumps();
    // Wrong usage ends here, with 2.
    let cli = Cli::parse();
    let result = actix_web::rt::System::new().block_on(run(cli));
    match result {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("keyswap: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// A core dump would hold every secret in memory (design rule 6).
fn forbid_core_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let common = cli.common;
    let done = match cli.command {
        Command::Demo { once } => demo::run(once).await,
        Command::Serve => serve::run(&common).await,
        Command::ApiKey(command) => api_key::run(&common, command).await,
        Command::SigningKey(command) => signing_key::run(&common, command).await,
        Command::MasterKey(command) => master_key::run(&common, command).await,
        Command::Restore(command) => restore::run(&common, command).await,
        Command::Migrate { status, json } => migrate::run(&common, status, json),
        Command::Import { file, json } => import::run(&common, &file, json).await,
        Command::Config(ConfigCommand::Check) => {
            common.config()?;
            println!("The configuration is in order.");
            Ok(())
        }
        Command::Doctor { json } => doctor::run(&common, json).await,
        Command::Openapi => {
            let document = crate::http::openapi::document(&common.config()?.server.public_url)?;
            print!("{}", String::from_utf8_lossy(&document.body));
            Ok(())
        }
        Command::Plan(plan) => return configure::plan(&common, plan).await,
        Command::Apply(apply) => return configure::apply(&common, apply).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Prints something as JSON, for `--json`.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Other(error.to_string()))?;
    println!("{text}");
    Ok(())
}
