//! Options, errors and output that all commands share.

use std::{path::PathBuf, sync::Arc};

use clap::Args;

use crate::{
    app::startup::{self, StartMode},
    config::{InvalidConfiguration, Settings, sections::LogFormat},
    service::{self, Services},
    store::{Store, SystemClock},
    telemetry,
};

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct CommonArgs {
    /// Read settings from this TOML file. Settings that it omits keep their
    /// defaults.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override one setting of the file and the environment. Repeatable.
    #[arg(long = "set", global = true, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
}

impl CommonArgs {
    pub fn settings(&self) -> Result<Settings, Failure> {
        Ok(Settings::load(self.config.as_deref(), &self.set)?)
    }

    /// Starts the application for a command other than `serve`. It creates nothing, and logs
    /// warnings and errors only.
    pub async fn start(&self) -> Result<Services, Failure> {
        let settings = self.settings()?;
        telemetry::init_logging(settings.log.format == LogFormat::Json, "warn");
        Ok(startup::start(settings, StartMode::Command, Arc::new(SystemClock)).await?)
    }

    /// Opens the database for a command that needs no master key.
    pub fn open_store(&self, mode: StartMode) -> Result<(Settings, Store), Failure> {
        let settings = self.settings()?;
        let store = startup::open_store(&settings.database, mode, Arc::new(SystemClock))?;
        Ok((settings, store))
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Config(#[from] InvalidConfiguration),
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
    /// Wraps an error that has no variant of its own.
    pub fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }

    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Usage(_) => 2,
            Self::Start(_) | Self::Open(_) | Self::Serve(_) | Self::Service(_) | Self::Other(_) => 1,
        }
    }
}

impl From<crate::store::StoreError> for Failure {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Service(error.into())
    }
}

/// Prints `value` as JSON, for `--json`.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    println!("{}", serde_json::to_string_pretty(value).map_err(Failure::other)?);
    Ok(())
}

/// Prints `value` as JSON or with `print_text`.
pub fn print_result<T: serde::Serialize>(json: bool, value: &T, print_text: impl FnOnce(&T)) -> Result<(), Failure> {
    if json {
        return print_json(value);
    }
    print_text(value);
    Ok(())
}
