//! The runs of one cell of the table, in an order that exposes the server and the baseline to the
//! same drift.

use std::{
    sync::Arc,
    thread::{available_parallelism, sleep},
    time::Duration,
};

use keyswap::domain::signing::Algorithm;

use super::{
    databases::{Database, TemporaryDeployment},
    draw::Draw,
    load::{Load, Rate, RequestKind, Run},
    options::Options,
    probe::{probe, probe_average},
    processes::Process,
    seed::{Keys, Population},
    usage,
};

pub const WARM_UP: Duration = Duration::from_secs(1);
const BASELINE_RUN: Duration = Duration::from_secs(3);

/// The share of the cores that other processes may use. A run with more is repeated.
const QUIET: f64 = 0.05;
const TRIES: usize = 3;
/// The longest wait for an idle machine before each try.
const QUIET_TIMEOUT: Duration = Duration::from_secs(20);

/// The results of one run, or the means of several.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    pub per_second: f64,
    /// Microseconds, like `p99`, `cpu`, `database_cpu` and `client_cpu`. CPU times are per
    /// exchange.
    pub p50: f64,
    pub p99: f64,
    pub cpu: f64,
    /// The CPU time of PostgreSQL during the run.
    pub database_cpu: Option<f64>,
    /// The CPU time of the client, to show that the client is not the bottleneck.
    pub client_cpu: f64,
    /// MiB.
    pub memory: f64,
    /// The share of all cores used by other processes and by the hypervisor.
    pub others: f64,
}

impl Figures {
    fn mean(all: &[Self]) -> Self {
        let mean = |of: &dyn Fn(&Self) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
        Self {
            per_second: mean(&|figures| figures.per_second),
            p50: mean(&|figures| figures.p50),
            p99: mean(&|figures| figures.p99),
            cpu: mean(&|figures| figures.cpu),
            database_cpu: all[0].database_cpu.map(|_| mean(&|figures| figures.database_cpu.unwrap_or_default())),
            client_cpu: mean(&|figures| figures.client_cpu),
            memory: mean(&|figures| figures.memory),
            others: mean(&|figures| figures.others),
        }
    }
}

/// A build with a filled database of its own.
pub struct Build {
    pub place: TemporaryDeployment,
    pub keys: Arc<Keys>,
}

/// The builds that are measured in turn, with the same population.
pub struct Builds {
    pub population: Population,
    pub current: Build,
    pub before: Option<Build>,
}

/// What is measured in a cell of the table, for each of the builds.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    pub database: Database,
    pub population: Population,
    pub algorithm: Algorithm,
    pub draw: Draw,
    pub connections: u16,
}

/// One cell of the table.
pub struct Cell {
    pub conditions: Conditions,
    pub server: Figures,
    /// The earlier build.
    pub before: Option<Figures>,
    pub signed: Figures,
    pub bare: Figures,
    failures: u64,
}

impl Cell {
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    /// The figures of all programs.
    pub fn all(&self) -> impl Iterator<Item = &Figures> {
        self.before.iter().chain([&self.server, &self.signed, &self.bare])
    }
}

impl Builds {
    pub fn all(&self) -> impl Iterator<Item = &Build> {
        self.before.iter().chain([&self.current])
    }

    /// Measures one cell in the order baseline, server, server, baseline. Both runs of an earlier
    /// build are between those of the server.
    pub fn cell(&self, algorithm: Algorithm, draw: Draw, connections: u16, options: &Options) -> Cell {
        let (population, place) = (self.population, &self.current.place);
        let conditions = Conditions { database: place.database, population, algorithm, draw, connections };
        let mut failures = 0;
        // Probed first, because the baseline returns a body of the same size.
        let answer = probe_average(&Process::server(place, algorithm), algorithm, &self.current.keys);
        let length = Duration::from_secs(options.seconds);
        let mut server = |build: &Build, program: &str| {
            undisturbed(|| {
                let (figures, failed) = conditions.measure_server(build, length);
                failures += failed;
                tell(&conditions, program, &figures);
                figures
            })
        };
        let baseline_once = |signs: bool| {
            let process = Process::baseline(place, algorithm, signs, &answer);
            let (figures, run) = conditions.measure(&process, &self.current.keys, BASELINE_RUN.min(length), None);
            assert_eq!(run.failures, 0, "the baseline fails: {}", process.said());
            let program = if signs { "baseline with signature" } else { "baseline without signature" };
            tell(&conditions, program, &figures);
            figures
        };
        let baseline = |signs: bool| undisturbed(|| baseline_once(signs));
        let (signed, bare) = (baseline(true), baseline(false));
        let first = server(&self.current, "server");
        let before = self.before.as_ref().map(|before| [server(before, "before"), server(before, "before")]);
        let servers = [first, server(&self.current, "server")];
        let (bare, signed) = ([bare, baseline(false)], [signed, baseline(true)]);
        Cell {
            conditions,
            server: Figures::mean(&servers),
            before: before.map(|before| Figures::mean(&before)),
            signed: Figures::mean(&signed),
            bare: Figures::mean(&bare),
            failures,
        }
    }
}

impl Conditions {
    /// Returns the figures of a server, and the number of requests that failed.
    fn measure_server(&self, build: &Build, length: Duration) -> (Figures, u64) {
        let Build { place, keys } = build;
        let process = Process::server(place, self.algorithm);
        probe(&process, self.algorithm, keys.get(keys.count() - 1));
        let (figures, run) = self.measure(&process, keys, length, place.postmaster);
        let failed = run.failures + run.refused;
        if failed > 0 {
            eprintln!("{failed} requests failed: {}", process.said());
        }
        (figures, failed)
    }

    fn measure(
        &self,
        process: &Process,
        keys: &Arc<Keys>,
        length: Duration,
        postmaster: Option<u32>,
    ) -> (Figures, Run) {
        let kind = RequestKind::exchange(keys).with_draw(self.draw);
        let mut load = Load::connect(process.port, self.connections, keys, &kind);
        run(process, &mut load, Rate::Highest, length, postmaster)
    }
}

/// A run on an otherwise idle machine. Other processes change the cost of a wake-up and the content
/// of the caches. After `TRIES` runs the least disturbed one is used; the output contains the share
/// of other processes.
pub fn undisturbed(mut once: impl FnMut() -> Figures) -> Figures {
    let mut best: Option<Figures> = None;
    for _ in 0..TRIES {
        wait_for_quiet();
        let figures = once();
        if best.is_none_or(|best| figures.others < best.others) {
            best = Some(figures);
        }
        if figures.others <= QUIET {
            break;
        }
    }
    best.expect("at least one try")
}

fn wait_for_quiet() {
    let look = Duration::from_millis(300);
    for _ in 0..QUIET_TIMEOUT.as_millis() / look.as_millis() {
        let before = usage::machine();
        sleep(look);
        if (usage::machine() - before).as_secs_f64() <= QUIET * all_cores(look) {
            return;
        }
    }
}

/// The CPU time that all cores together provide in `time`, in seconds.
fn all_cores(time: Duration) -> f64 {
    time.as_secs_f64() * available_parallelism().map_or(1, usize::from) as f64
}

/// Runs exchanges of keys that are drawn uniformly, at the highest load.
pub fn measured(
    process: &Process,
    keys: &Arc<Keys>,
    connections: u16,
    length: Duration,
    postmaster: Option<u32>,
) -> (Figures, Run) {
    let mut load = Load::connect(process.port, connections, keys, &RequestKind::exchange(keys));
    run(process, &mut load, Rate::Highest, length, postmaster)
}

/// A run after a warm-up, which is not counted.
pub fn run(
    process: &Process,
    load: &mut Load,
    pace: Rate,
    length: Duration,
    postmaster: Option<u32>,
) -> (Figures, Run) {
    let warm: Run = load.run(WARM_UP, pace);
    let this = std::process::id();
    let spent = || {
        let database = postmaster.map(usage::cpu_with_children);
        (usage::cpu(process.pid()), database, usage::cpu(this), usage::machine())
    };
    let before = spent();
    let mut run = load.run(length, pace);
    let after = spent();
    let each = |before: Duration, after: Duration| {
        after.saturating_sub(before).as_secs_f64() * 1e6 / run.exchanges.max(1) as f64
    };
    let mut figures = Figures {
        per_second: run.per_second(),
        p50: run.percentile(0.5),
        p99: run.percentile(0.99),
        cpu: each(before.0, after.0),
        database_cpu: before.1.zip(after.1).map(|(before, after)| each(before, after)),
        client_cpu: each(before.2, after.2),
        memory: usage::resident(process.pid()) as f64 / 1024.0,
        others: 0.0,
    };
    let ours = figures.cpu + figures.client_cpu + figures.database_cpu.unwrap_or_default();
    let theirs = (each(before.3, after.3) - ours) * run.exchanges as f64 / 1e6;
    figures.others = (theirs / all_cores(run.elapsed)).max(0.0);
    run.failures += warm.failures + warm.refused;
    (figures, run)
}

fn tell(conditions: &Conditions, program: &str, figures: &Figures) {
    let Conditions { database, population, algorithm, draw, connections } = conditions;
    let (database, population, draw) = (database.name(), population.name(), draw.name());
    let Figures { per_second, p50, p99, cpu, database_cpu, client_cpu, memory, others } = figures;
    let postgres = database_cpu.map(|cpu| format!(", PostgreSQL's {cpu:.1}")).unwrap_or_default();
    eprintln!(
        "{database}, {population}, {draw}, {algorithm}, {connections} connections, {program}: {per_second:.0}/s, p50 {p50:.0} µs, \
         p99 {p99:.0} µs, CPU {cpu:.1} µs{postgres}, the client's {client_cpu:.1}, {memory:.1} MiB, others {:.0} %",
        others * 100.0
    );
}
