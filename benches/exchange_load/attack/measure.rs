//! The measurement of one program on one database.

use std::{
    collections::BTreeMap,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use keyswap::domain::signing::Algorithm;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    Attack, HALF_CAPACITY, Measurements, OVERLOAD_CONNECTIONS, Phase,
    attackers::{AttackRequests, Attackers},
    client::Client,
    fixture::Fixture,
    legitimate_clients::{self, LegitimateClients},
    outcomes::{LegitimateCalls, Outcomes, sum_outcomes},
    report, stalled,
};
use crate::{
    databases::{Database, TemporaryDeployment},
    load::Rate,
    options::Options,
    processes::{Process, ask},
};

/// The rates of an attack, as parts of the capacity: the rate at which the server answers its
/// requests if nothing else is sent, while the client shares its cores.
const CAPACITY_SHARES: [f64; 3] = [0.25, HALF_CAPACITY, 1.5];
/// The connections of the attackers up to the capacity.
const CONNECTIONS: u16 = 1_024;

const WARM_UP: Duration = Duration::from_secs(1);
const CAPACITY_RUN: Duration = Duration::from_secs(3);
/// The time for the end of an attack.
const PAUSE: Duration = Duration::from_millis(500);
/// How many phases with a p99 that is too long are repeated for each program and database. Other
/// processes can only make it longer.
const REPEATS: u32 = 3;

/// The usual soft limit of a service. A server that is to hold stalled connections starts with it.
const USUAL_DESCRIPTORS: u64 = 1_024;

/// A program and its database.
pub struct MeasuredProgram {
    place: TemporaryDeployment,
    algorithm: Algorithm,
    fixture: Fixture,
    length: Duration,
    repeats_left: u32,
    measurements: Measurements,
}

impl MeasuredProgram {
    pub fn create(database: Database, program: &'static str, path: &Path, options: &Options) -> Self {
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
            measurements: Measurements {
                database,
                program,
                version,
                quiet: LegitimateCalls::default(),
                phases: Vec::new(),
            },
        }
    }

    /// Measures all attacks. Attacks without a capacity get one.
    pub fn measure(mut self, capacities: &mut BTreeMap<Attack, f64>) -> Measurements {
        for attack in Attack::ALL {
            self.measure_attack(attack, capacities);
        }
        self.measurements
    }

    fn measure_attack(&mut self, attack: Attack, capacities: &mut BTreeMap<Attack, f64>) {
        // A server of its own, whose brute-force limiter has counted no failures.
        let server = self.start_server(attack);
        let clients = LegitimateClients::new(server.port, self.fixture.legitimate_requests());
        let requests = self.fixture.attack_requests(attack);
        check_answers(&server, &clients, requests.as_ref(), attack);
        clients.run(WARM_UP);
        let quiet = clients.run(self.length);
        report::report_progress(&self.measurements.label(), "quiet", &quiet);
        self.measurements.quiet.iter_mut().zip(&quiet).for_each(|(all, calls)| all.add(calls));
        let Some(requests) = requests else {
            let phase = |legitimate, attackers| Phase { attack, share: None, rate: 0.0, legitimate, attackers };
            return self.measure_phase(&server, &clients, &Attackers::Stalled, phase);
        };
        let capacity = *capacities.entry(attack).or_insert_with(|| measure_capacity(&server, &requests));
        for share in CAPACITY_SHARES {
            let rate = capacity * share;
            let connections = if share > 1.0 { OVERLOAD_CONNECTIONS } else { CONNECTIONS };
            let attackers = Attackers::Requests { requests: &requests, connections, rate: Rate::PerSecond(rate) };
            let phase = |legitimate, attackers| Phase { attack, share: Some(share), rate, legitimate, attackers };
            self.measure_phase(&server, &clients, &attackers, phase);
        }
    }

    /// Measures one phase, and again if only its p99 is not as it must be.
    fn measure_phase(
        &mut self,
        server: &Process,
        clients: &LegitimateClients,
        attackers: &Attackers<'_>,
        phase: impl Fn(LegitimateCalls, Outcomes) -> Phase,
    ) {
        let label = self.measurements.label();
        let measure = || {
            sleep(PAUSE);
            let (calls, outcomes) = attackers.attack_while(server.port, || clients.run(self.length));
            let measured = phase(calls, outcomes);
            let what = format!("{}, {}", measured.attack.name(), report::format_load(&measured));
            report::report_progress(&label, &what, &measured.legitimate);
            eprintln!("{label}, {what}, the attackers: {outcomes:?}");
            measured
        };
        let slowdown = |phase: &Phase| report::slowdown(phase, &self.measurements.quiet);
        let refused = |phase: &Phase| sum_outcomes(&phase.legitimate).refused + sum_outcomes(&phase.legitimate).other;
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

/// Checks that legitimate calls are served before the attack, and that the requests of the attack
/// are what they are meant to be.
fn check_answers(server: &Process, clients: &LegitimateClients, requests: Option<&AttackRequests>, attack: Attack) {
    let mut client = Client::new(server.port);
    let mut call = |request: &[u8]| {
        let status = client.call(request, Instant::now() + legitimate_clients::TIMEOUT).expect("an answer");
        (status, String::from_utf8_lossy(client.body()).into_owned())
    };
    for request in clients.samples() {
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
    // The first request of a key with a rate limit is served, and the next one may fall into
    // another minute.
    let answers: Vec<_> = (0..3).map(|_| call(&request)).collect();
    assert!(answers.iter().any(|(status, _)| *status == expected), "{}: {answers:?}", attack.name());
}
