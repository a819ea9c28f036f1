//! Legitimate calls under attack: whether they are served, and how fast, while the same server
//! receives requests with invalid keys, or connections that make no progress. All clients have the
//! same source address, as behind a proxy that is not trusted, and the brute-force limiter has its
//! default settings.

mod attackers;
mod client;
mod fixture;
mod legitimate_clients;
mod measure;
mod outcomes;
mod report;
mod stalled;

use std::{collections::BTreeMap, process::ExitCode, time::Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{databases::Database, options::Options, table};
use measure::MeasuredProgram;
use outcomes::{LegitimateCalls, Outcomes};
use report::Comparison;

/// The part of the capacity up to which calls must be served nearly as fast as without the attack.
const HALF_CAPACITY: f64 = 0.5;
/// The connections of the attackers beyond the capacity. They suffice for more requests than the
/// 2,048 look-ups that may wait.
const OVERLOAD_CONNECTIONS: u16 = 4_096;
/// The descriptors that the client and the server need with `OVERLOAD_CONNECTIONS`.
const DESCRIPTORS: u64 = 6_000;

/// An attack: a request that is sent over and over, or connections that make no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attack {
    /// Well-formed keys that do not exist.
    UnknownKeys,
    /// The keys of legitimate clients with other secrets.
    WrongSecrets,
    /// Keys with a wrong checksum.
    MalformedKeys,
    RevokedKeys,
    /// A service validates keys that do not exist.
    UnknownValidations,
    /// Keys that are used beyond their rate limit.
    SpentKeys,
    StalledConnections,
}

/// The legitimate calls during an attack at one rate.
pub struct Phase {
    pub attack: Attack,
    /// The rate as a part of the capacity. `None` for connections, whose number is fixed.
    pub share: Option<f64>,
    /// The requests that the attackers send in a second.
    pub rate: f64,
    pub legitimate: LegitimateCalls,
    pub attackers: Outcomes,
}

/// All phases of one program on one database.
pub struct Measurements {
    pub database: Database,
    program: &'static str,
    version: String,
    /// The legitimate calls before each attack.
    pub quiet: LegitimateCalls,
    pub phases: Vec<Phase>,
}

impl Attack {
    const ALL: [Self; 7] = [
        Self::UnknownKeys,
        Self::WrongSecrets,
        Self::MalformedKeys,
        Self::RevokedKeys,
        Self::UnknownValidations,
        Self::SpentKeys,
        Self::StalledConnections,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownKeys => "unknown keys",
            Self::WrongSecrets => "known ids with wrong secrets",
            Self::MalformedKeys => "malformed keys",
            Self::RevokedKeys => "revoked keys",
            Self::UnknownValidations => "validations of unknown keys",
            Self::SpentKeys => "keys over their rate limit",
            Self::StalledConnections => "idle connections and slow readers",
        }
    }
}

impl Phase {
    /// Whether calls must be served nearly as fast as without the attack.
    pub fn is_within_half(&self) -> bool {
        self.share.is_none_or(|share| share <= HALF_CAPACITY)
    }
}

impl Measurements {
    pub fn label(&self) -> String {
        format!("{}, {}", self.database.name(), self.program)
    }
}

pub fn attack(options: &Options) -> ExitCode {
    raise_descriptor_limit();
    let started = Instant::now();
    let mut comparisons = Vec::new();
    for &database in &options.database {
        // The program itself comes first: its capacity determines the rates for the earlier build.
        let mut capacities = BTreeMap::new();
        let after = MeasuredProgram::create(database, "after", &options.server, options).measure(&mut capacities);
        let before = options
            .before
            .as_ref()
            .map(|program| MeasuredProgram::create(database, "before", program, options).measure(&mut capacities));
        comparisons.push(Comparison { before, after });
    }
    let versions: Vec<_> = comparisons.iter().map(|comparison| comparison.after.version.as_str()).collect();
    println!("{}; {}; {} s a phase.\n", table::hardware(), versions.join(", "), options.seconds);
    println!("{}\n{}", report::quiet_lines(&comparisons), report::format_table(&comparisons));
    eprintln!("took {} s", started.elapsed().as_secs());
    let faults = report::find_faults(&comparisons);
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Raises the soft limit of open files. Each connection needs a descriptor, here and in the server,
/// which inherits the limit.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    assert!(
        limit.maximum.is_none_or(|maximum| maximum >= DESCRIPTORS),
        "the attackers have {OVERLOAD_CONNECTIONS} connections: raise the hard limit of open files to \
         {DESCRIPTORS} (ulimit -Hn)"
    );
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("the hard limit");
}
