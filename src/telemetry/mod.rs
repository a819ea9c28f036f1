//! Logs and metrics.

pub mod labels;
pub mod metrics;
mod registration;
pub mod text_format;

use std::io;

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// Starts logging to standard error. Standard output is reserved for the results of commands. The
/// command line calls this function once; a second call has no effect.
pub fn init_logging(json: bool, level: &str) {
    install_subscriber(json, level, io::stderr);
}

fn install_subscriber<W>(json: bool, level: &str, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false);
    // `try_init` fails if a logger is already installed, as in tests that start several servers.
    let _ = if json {
        builder.json().flatten_event(true).with_span_list(false).try_init()
    } else {
        builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init()
    };
}
