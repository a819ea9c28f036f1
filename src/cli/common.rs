//! Options, errors and output that all commands share.

use crate::{
    config::{self, Config},
    service,
    store::DatabaseUrl,
};
use clap::Args;
use std::path::Path;
use std::path::PathBuf;

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct CommonArgs {
    /// Read settings from this TOML file. Settings that it omits keep their
    /// defaults.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override one setting of the file and the environment. Repeatable.
    #[arg(long = "set", global = true, value_name = "PATH=VALUE")]
    set: Vec<String>,
}

impl CommonArgs {
    pub(crate) fn config(&self) -> Result<config::Config, Failure> {
        load_config(self.config.as_deref(), &self.set)
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Config(#[from] config::Invalid),
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Start(#[from] crate::app::start_error::StartError),
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
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Usage(_) => 2,
            Self::Start(_) | Self::Open(_) | Self::Serve(_) | Self::Service(_) | Self::Other(_) => 1,
        }
    }
}

/// Prints `value` as JSON, for `--json`.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Other(error.to_string()))?;
    println!("{text}");
    Ok(())
}

/// Loads the configuration. Each element of `set` has the form `server.bind=127.0.0.1:9000`.
pub fn load_config(file: Option<&Path>, set: &[String]) -> Result<Config, Failure> {
    let flags = set
        .iter()
        .map(|setting| match setting.split_once('=') {
            Some((path, value)) => Ok((path, value.to_owned())),
            None => {
                Err(Failure::Usage(format!("--set {setting}: give PATH=VALUE, such as server.bind=127.0.0.1:9000")))
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    let config = Config::load(file, &flags)?;
    // `store` parses the database URL. An invalid URL is reported as a fault of the configuration.
    DatabaseUrl::parse(config.database.url.expose())
        .map_err(|error| config::Invalid(vec![format!("database.url: {error}")]))?;
    Ok(config)
}
