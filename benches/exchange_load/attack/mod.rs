//! Right calls under attack: whether they are served, and how fast, while the same server receives
//! requests with wrong keys, or connections that make no progress. All clients have the same source
//! address, as behind a proxy that is not trusted, and the brute-force limiter has its default
//! settings.

mod attackers;
mod client;
mod fixture;
mod outcomes;
mod report;
mod right_clients;
mod stalled;

use std::{
    collections::BTreeMap,
    path::Path,
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use keyswap::domain::signing::Algorithm;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    databases::{Database, TemporaryDeployment},
    load::Rate,
    options::Options,
    processes::{Process, ask},
    table,
};
use attackers::{AttackRequests, Attackers};
use client::Client;
use fixture::Fixture;
use outcomes::{Outcomes, RightCalls};
use report::Comparison;
use right_clients::RightClients;

/// The rates of an attack, as parts of the capacity: the rate at which the server answers its
/// requests if nothing else is sent, while the client shares its cores.
const SHARES: [f64; 3] = [0.25, 0.5, 1.5];
const HALF: f64 = 0.5;
/// The connections of the attackers up to the capacity and beyond it. The latter suffice for more
/// requests than the 2,048 look-ups that may wait.
const CONNECTIONS: u16 = 1_024;
const CROWD: u16 = 4_096;

const WARM_UP: Duration = Duration::from_secs(1);
const CAPACITY_RUN: Duration = Duration::from_secs(3);
/// The time for the end of an attack.
const PAUSE: Duration = Duration::from_millis(500);
/// How many phases with a p99 that is too long are repeated for each program and database. Other
/// processes can only make it longer.
const REPEATS: u32 = 3;

/// The descriptors that the client and the server need with `CROWD` connections.
const DESCRIPTORS: u64 = 6_000;
/// The usual soft limit of a service. A server that is to hold stalled connections starts with it.
const USUAL_DESCRIPTORS: u64 = 1_024;

/// An attack: a request that is sent over and over, or connections that make no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attack {
    /// Well-formed keys that do not exist.
    UnknownKeys,
    /// The keys of right clients with other secrets.
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

/// The right calls during an attack at one rate.
pub struct Phase {
    pub attack: Attack,
    /// The rate as a part of the capacity. `None` for connections, whose number is fixed.
    pub share: Option<f64>,
    /// The requests that the attackers send in a second.
    pub rate: f64,
    pub right: RightCalls,
    pub attackers: Outcomes,
}

/// All phases of one program on one database.
pub struct Measurements {
    pub database: Database,
    program: &'static str,
    version: String,
    /// The right calls before each attack.
    pub quiet: RightCalls,
    pub phases: Vec<Phase>,
}

/// A program and its database.
struct Subject {
    place: TemporaryDeployment,
    algorithm: Algorithm,
    fixture: Fixture,
    length: Duration,
    repeats_left: u32,
    measurements: Measurements,
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
        self.share.is_none_or(|share| share <= HALF)
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
        let after = Subject::create(database, "after", &options.server, options).measure(&mut capacities);
        let before = options
            .before
            .as_ref()
            .map(|program| Subject::create(database, "before", program, options).measure(&mut capacities));
        comparisons.push(Comparison { before, after });
    }
    let versions: Vec<_> = comparisons.iter().map(|comparison| comparison.after.version.as_str()).collect();
    println!("{}; {}; {} s a phase.\n", table::hardware(), versions.join(", "), options.seconds);
    println!("{}\n{}", report::quiet_lines(&comparisons), report::table(&comparisons));
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
        "the attackers have {CROWD} connections: raise the hard limit of open files to {DESCRIPTORS} (ulimit -Hn)"
    );
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("the hard limit");
}

impl Subject {
    fn create(database: Database, program: &'static str, path: &Path, options: &Options) -> Self {
        let place = TemporaryDeployment::make(database, path);
        let algorithm = options.algorithm[0];
        let fixture = Fixture::create(&Process::server(&place, algorithm), &place.administrator());
        place.settle();
        let version = place.version();
        Self {
            place,
            algorithm,
            fixture,
            length: Duration::from_secs(options.seconds),
            repeats_left: REPEATS,
            measurements: Measurements { database, program, version, quiet: RightCalls::default(), phases: Vec::new() },
        }
    }

    /// Measures all attacks. Attacks without a capacity get one.
    fn measure(mut self, capacities: &mut BTreeMap<Attack, f64>) -> Measurements {
        for attack in Attack::ALL {
            self.measure_attack(attack, capacities);
        }
        self.measurements
    }

    fn measure_attack(&mut self, attack: Attack, capacities: &mut BTreeMap<Attack, f64>) {
        // A server of its own, whose brute-force limiter has counted no failures.
        let server = self.start_server(attack);
        let right = RightClients::new(server.port, self.fixture.right_requests());
        let requests = self.fixture.attack_requests(attack);
        check_answers(&server, &right, requests.as_ref(), attack);
        right.run(WARM_UP);
        let quiet = right.run(self.length);
        report::report_progress(&self.measurements.label(), "quiet", &quiet);
        self.measurements.quiet.iter_mut().zip(&quiet).for_each(|(all, calls)| all.add(calls));
        let Some(requests) = requests else {
            let phase = |right, attackers| Phase { attack, share: None, rate: 0.0, right, attackers };
            return self.measure_phase(&server, &right, &Attackers::Stalled, phase);
        };
        let capacity = *capacities.entry(attack).or_insert_with(|| measure_capacity(&server, &requests));
        for share in SHARES {
            let rate = capacity * share;
            let connections = if share > 1.0 { CROWD } else { CONNECTIONS };
            let attackers = Attackers::Requests { requests: &requests, connections, rate: Rate::PerSecond(rate) };
            let phase = |right, attackers| Phase { attack, share: Some(share), rate, right, attackers };
            self.measure_phase(&server, &right, &attackers, phase);
        }
    }

    /// Measures one phase, and again if only its p99 is not as it must be.
    fn measure_phase(
        &mut self,
        server: &Process,
        right: &RightClients,
        attackers: &Attackers<'_>,
        phase: impl Fn(RightCalls, Outcomes) -> Phase,
    ) {
        let label = self.measurements.label();
        let measure = || {
            sleep(PAUSE);
            let (calls, outcomes) = attackers.attack_while(server.port, || right.run(self.length));
            let measured = phase(calls, outcomes);
            let what = format!("{}, {}", measured.attack.name(), report::load(&measured));
            report::report_progress(&label, &what, &measured.right);
            eprintln!("{label}, {what}, the attackers: {outcomes:?}");
            measured
        };
        let slowdown = |phase: &Phase| report::slowdown(phase, &self.measurements.quiet);
        let refused = |phase: &Phase| outcomes::sum(&phase.right).refused + outcomes::sum(&phase.right).other;
        let (mut best, mut repeats) = (measure(), 0);
        while best.is_within_half()
            && refused(&best) == 0
            && !slowdown(&best).is_allowed()
            && repeats < self.repeats_left
        {
            repeats += 1;
            let again = measure();
            if refused(&again) > 0 || slowdown(&again).times < slowdown(&best).times {
                best = again;
            }
        }
        self.repeats_left -= repeats;
        self.measurements.phases.push(best);
    }

    fn start_server(&self, attack: Attack) -> Process {
        let limit = getrlimit(Resource::Nofile);
        if attack == Attack::StalledConnections {
            let usual = Rlimit { current: Some(USUAL_DESCRIPTORS), maximum: limit.maximum };
            setrlimit(Resource::Nofile, usual).expect("a lower limit");
        }
        let server = Process::server(&self.place, self.algorithm);
        setrlimit(Resource::Nofile, limit).expect("the limit from before");
        server
    }
}

/// The requests of an attack that are answered in a second if nothing else is sent.
fn measure_capacity(server: &Process, requests: &AttackRequests) -> f64 {
    let attackers = Attackers::Requests { requests, connections: CONNECTIONS, rate: Rate::Highest };
    let (elapsed, outcomes) = attackers.attack_while(server.port, || {
        let started = Instant::now();
        sleep(CAPACITY_RUN);
        started.elapsed()
    });
    assert!(outcomes.answered() > 0, "the attack is not answered: {outcomes:?}: {}", server.said());
    outcomes.answered() as f64 / elapsed.as_secs_f64()
}

/// Checks that right calls are served before the attack, and that the requests of the attack are
/// what they are meant to be.
fn check_answers(server: &Process, right: &RightClients, requests: Option<&AttackRequests>, attack: Attack) {
    let mut client = Client::new(server.port);
    let mut call = |request: &[u8]| {
        let status = client.call(request, Instant::now() + right_clients::TIMEOUT).expect("an answer");
        (status, String::from_utf8_lossy(client.body()).into_owned())
    };
    for request in right.samples() {
        let (status, body) = call(request);
        assert_eq!(status, 200, "{body}: {}", server.said());
    }
    let Some(requests) = requests else {
        let (status, document) = ask(server.port, "GET", stalled::DOCUMENT, "").expect("a document");
        assert!(status == 200 && document.len() > 500_000, "{} is not a large document", stalled::DOCUMENT);
        return;
    };
    let request = requests.kind.with_value(requests.keys.get(0));
    let expected = if attack == Attack::SpentKeys { 429 } else { 401 };
    // The first request of a key with a rate limit is served, and the next one may fall into another
    // minute.
    let answers: Vec<_> = (0..3).map(|_| call(&request)).collect();
    assert!(answers.iter().any(|(status, _)| *status == expected), "{}: {answers:?}", attack.name());
}
