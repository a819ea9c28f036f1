//! Logs and metrics.

pub mod database;
mod event_format;
pub mod labels;
mod log;
mod log_writer;
pub mod metrics;
pub mod panics;
pub mod process_metrics;
mod registration;
pub mod reload_metrics;
mod repeats;
pub mod signing_keys;
pub mod stderr;
pub mod text_format;

pub use log::{FlushAtExit, LogHandle, flush_and_exit, init_logging};
