//! Command-line options.

use clap::{Parser, builder::ArgPredicate, value_parser};
use keyswap::domain::signing::Algorithm;

use super::{databases::Database, draw::Draw, seed::Population};

/// Measure the cost of an exchange against a baseline that only responds and
/// signs, and print the table of docs/development/performance.md. PostgreSQL is
/// taken from KEYSWAP_TEST_POSTGRES (a superuser's URL without a database name)
/// and KEYSWAP_TEST_PGDATA (its data directory). Without them,
/// scripts/with-postgres starts a temporary server.
#[derive(Debug, Parser)]
#[command(name = "exchange_load")]
pub struct Options {
    /// Store this many API keys in each database.
    #[arg(long, default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub keys: u32,
    /// Give the keys these owners and limits. Modes other than the table use
    /// the first one, and --check the keys of one service client. With --day
    /// the default is directory.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "service",
        default_value_if("day", ArgPredicate::IsPresent, "directory")
    )]
    pub population: Vec<Population>,
    /// Draw the key of each request like this, for the table and --day, whose
    /// default is zipf.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "uniform",
        default_value_if("day", ArgPredicate::IsPresent, "zipf")
    )]
    pub draw: Vec<Draw>,
    /// Open this many keep-alive connections, with one request at a time on
    /// each.
    #[arg(long, value_delimiter = ',', default_value = "16,64", value_parser = value_parser!(u16).range(1..=1024))]
    pub connections: Vec<u16>,
    /// Run the server for this many seconds. Use a multiple of 10: last-used
    /// times are written every 10 s, so each run then includes its share of
    /// them. The baseline runs for at most 3 s.
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Sign tokens with ES256, ES384, EdDSA, RS256 or PS256. Modes other than
    /// the table use the first one.
    #[arg(long, value_delimiter = ',', default_value = "EdDSA,ES256,RS256")]
    pub algorithm: Vec<Algorithm>,
    #[arg(long, value_enum, value_delimiter = ',', default_value = "sqlite,postgres")]
    pub database: Vec<Database>,
    /// Measure this build of the program instead of the current one.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_keyswap"))]
    pub server: std::path::PathBuf,
    /// Only check that the ratio to the baseline is at most 1.5 times the value
    /// in benches/ratios.toml, with EdDSA, 16 connections and 10,000 keys.
    #[arg(long)]
    pub check: bool,
    /// Only run half of the highest load for this long, such as `20m`, while
    /// keys are created, rotated and revoked. Fail if memory, descriptors or
    /// files grow.
    #[arg(long, value_parser = humantime::parse_duration, conflicts_with = "check")]
    pub soak: Option<std::time::Duration>,
    /// Only exchange at the rate of a billion a day for this long, such as
    /// `1h`, while keys and signing keys are rotated and a backup is made. Fail
    /// if an exchange fails or is late, if an ended key is accepted, or if
    /// memory or the log of the database grow.
    #[arg(long, value_parser = humantime::parse_duration, conflicts_with_all = ["check", "soak"])]
    pub day: Option<std::time::Duration>,
    /// Only measure the figures beside the table: memory, idle connections,
    /// start time, JWKS, validation, and the p99 at half of the highest load.
    #[arg(long, conflicts_with_all = ["check", "soak", "day"])]
    pub figures: bool,
    /// Only measure the goodput at three times the highest load. Fail if it is
    /// below 90 % of the highest load.
    #[arg(long, conflicts_with_all = ["check", "soak", "day", "figures"])]
    pub overload: bool,
    /// Only measure legitimate calls under attack, in phases of --seconds. Fail
    /// if one is refused, if their p99 exceeds three times the quiet one at up
    /// to half of the capacity, or if above it they are answered 503 more often
    /// than the attackers.
    #[arg(long, conflicts_with_all = ["check", "soak", "day", "figures", "overload"])]
    pub attack: bool,
    /// Measure this earlier build in turn with the current one, for the table
    /// and with --attack. It has databases of its own. Its schema may be
    /// another one, as long as its API and the encryption of secrets are the
    /// same: the first keys are created through the API, and the others are
    /// copies of their rows.
    #[arg(long, conflicts_with_all = ["check", "soak", "day", "figures", "overload"])]
    pub before: Option<std::path::PathBuf>,
    /// Accept the flag that Cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}
