//! What can be asked for.

use clap::{Parser, value_parser};
use keyswap::domain::signing::Algorithm;

use super::databases::Database;

/// Measures what an exchange costs, beside a floor that only answers and signs, and prints the table of docs/performance.md.
/// PostgreSQL comes from KEYSWAP_TEST_POSTGRES (a superuser's URL without a database name) and KEYSWAP_TEST_PGDATA (its data
/// directory); without them a throw-away one is started with scripts/with-postgres.
#[derive(Debug, Parser)]
#[command(name = "exchange_load")]
pub struct Options {
    /// How many API keys each database holds; each request takes a random one
    #[arg(long, default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub keys: u32,
    /// Keep-alive connections, one request at a time on each
    #[arg(long, value_delimiter = ',', default_value = "16,64", value_parser = value_parser!(u16).range(1..=1024))]
    pub connections: Vec<u16>,
    /// The length of a run of the server; the multiples of 10 have a fair share of the last-used times, which are written
    /// every 10 s. The floor has no such period: 3 s are enough for it
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Of the tokens: ES256, ES384, EdDSA, RS256 or PS256
    #[arg(long, value_delimiter = ',', default_value = "EdDSA,ES256,RS256")]
    pub algorithm: Vec<Algorithm>,
    #[arg(long, value_enum, value_delimiter = ',', default_value = "sqlite,postgres")]
    pub database: Vec<Database>,
    /// Another build of the program, to compare this one with
    #[arg(long, default_value = env!("CARGO_BIN_EXE_keyswap"))]
    pub server: std::path::PathBuf,
    /// Only whether the ratio to the floor has become worse by half: EdDSA, 16 connections, 10,000 keys; the ratios are in benches/ratios.toml
    #[arg(long)]
    pub check: bool,
    /// Only half of the highest load for so long, such as `20m`, while keys are made, rotated and revoked: fails when memory, descriptors or
    /// files grow
    #[arg(long, value_parser = humantime::parse_duration, conflicts_with = "check")]
    pub soak: Option<std::time::Duration>,
    /// Only the figures beside the table: memory, idle connections, the start, the JWKS, a validation, the p99 at half of the highest load
    #[arg(long, conflicts_with_all = ["check", "soak"])]
    pub figures: bool,
    /// Only what is served under three times the highest load: fails under nine tenths of the most
    #[arg(long, conflicts_with_all = ["check", "soak", "figures"])]
    pub overload: bool,
    /// What Cargo gives to every bench
    #[arg(long, hide = true)]
    bench: bool,
}
