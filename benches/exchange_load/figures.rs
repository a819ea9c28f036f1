//! Figures beside the table: memory, idle connections, start time, JWKS, validation, and the
//! latency of an exchange below the highest load.

use std::{
    process::ExitCode,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use keyswap::domain::signing::Algorithm;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    baseline::Answer,
    databases::TemporaryDeployment,
    load::{Load, Rate, RequestKind},
    options::Options,
    probe::probe,
    processes::{Process, ask, ask_with},
    runs::{self, Figures, undisturbed},
    seed::Keys,
    seed_database, usage,
};

const CONNECTIONS: u16 = 64;
const RUN: Duration = Duration::from_secs(5);
const STARTS: usize = 5;
const IDLE: u16 = 10_000;
const IDLE_FOR: Duration = Duration::from_secs(10);

pub fn figures(options: &Options) -> ExitCode {
    // Each connection needs a file descriptor, here and in the server, which inherits the limit.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).expect("the hard limit");
    println!("| database | figure | value | target |\n|---|---|--:|--:|");
    for &database in &options.database {
        let (place, keys) = seed_database(database, options, options.algorithm[0], options.keys);
        let subject = Subject { place, keys, algorithm: options.algorithm[0] };
        subject.start();
        subject.memory();
        subject.idle();
        subject.half();
        subject.jwks();
        subject.validation();
    }
    ExitCode::SUCCESS
}

struct Subject {
    place: TemporaryDeployment,
    keys: Arc<Keys>,
    algorithm: Algorithm,
}

impl Subject {
    fn print_figure(&self, figure: &str, value: &str, target: &str) {
        println!("| {} | {figure} | {value} | {target} |", self.place.database.name());
    }

    fn server(&self) -> Process {
        Process::server(&self.place, self.algorithm)
    }

    fn load(&self, process: &Process, asked: &RequestKind) -> Load {
        Load::connect(process.port, CONNECTIONS, &self.keys, asked)
    }

    /// The time from the start of the process to its first token. The start creates no keys and
    /// runs no migrations.
    fn start(&self) {
        let key = std::str::from_utf8(self.keys.get(0)).expect("a key");
        let headers = format!("Authorization: Bearer {key}\r\n");
        let mut times: Vec<_> = (0..STARTS)
            .map(|_| {
                let started = Instant::now();
                let process = Process::start_server(&self.place, self.algorithm, &[]);
                while ask(process.port, "POST", "/v1/exchange", &headers).is_none_or(|(status, _)| status != 200) {
                    assert!(started.elapsed() < Duration::from_secs(30), "no token: {}", process.said());
                    sleep(Duration::from_micros(500));
                }
                started.elapsed()
            })
            .collect();
        times.sort();
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let value = format!(
            "{:.0} ms ({:.0} to {:.0})",
            millis(times[STARTS / 2]),
            millis(times[0]),
            millis(times[STARTS - 1])
        );
        self.print_figure("from start to first token", &value, "100 ms");
    }

    fn memory(&self) {
        let process = self.server();
        let (figures, _) = runs::measured(&process, &self.keys, CONNECTIONS, RUN, None);
        let what = format!("memory with {} keys, after {} s of load", self.keys.count(), RUN.as_secs());
        self.print_figure(&what, &format!("{:.1} MiB", figures.memory), "64 MB");
    }

    /// Connections that have made one exchange and are then idle. All of them must be served
    /// afterwards.
    fn idle(&self) {
        let process = self.server();
        let mut load = Load::connect(process.port, IDLE, &self.keys, &RequestKind::exchange(&self.keys));
        let before = load.run_once();
        sleep(IDLE_FOR);
        let memory = usage::resident(process.pid()) as f64 / 1024.0;
        let after = load.run_once();
        let all = u64::from(IDLE);
        self.print_figure(&format!("memory with {IDLE} idle connections"), &format!("{memory:.1} MiB"), "200 MB");
        let value = format!("{} of {all}, {} of them after a 503", after.exchanges, after.refused);
        assert_eq!((before.exchanges, before.failures), (all, 0), "some were never answered");
        self.print_figure("of them that still answer, when all ask at once", &value, "all");
    }

    /// The latency at half of the highest load, compared with the baseline at the same rate.
    fn half(&self) {
        let process = self.server();
        let answer = probe(&process, self.algorithm, self.keys.get(0));
        let asked = RequestKind::exchange(&self.keys);
        let mut load = self.load(&process, &asked);
        let highest = load.run(RUN, Rate::Highest).per_second();
        let half = Rate::PerSecond(highest / 2.0);
        let server = undisturbed(|| runs::run(&process, &mut load, half, RUN, None).0);
        drop((load, process));
        let baseline = Process::baseline(&self.place, self.algorithm, true, &answer);
        let mut load = self.load(&baseline, &asked);
        let baseline = undisturbed(|| runs::run(&baseline, &mut load, half, RUN, None).0);
        let Figures { p99, per_second, .. } = server;
        let value = format!(
            "{p99:.0} µs at {per_second:.0}/s, {:.1} times the baseline's {:.0} µs",
            p99 / baseline.p99,
            baseline.p99
        );
        self.print_figure("p99 at half of the highest load", &value, "3 times, PostgreSQL 6");
    }

    /// The CPU time of a JWKS response, compared with a baseline response of the same size.
    fn jwks(&self) {
        const PATH: &str = "/.well-known/jwks.json";
        let process = self.server();
        let (_, body) = ask(process.port, "GET", PATH, "").expect("the JWKS");
        let mut load = self.load(&process, &RequestKind::get(PATH));
        let jwks = undisturbed(|| runs::run(&process, &mut load, Rate::Highest, RUN, None).0);
        drop((load, process));
        let baseline = self.baseline(false, &Answer { body: body.len(), message: 1 });
        let value = format!("{:.1} µs, {:.2} times the baseline without signature", jwks.cpu, jwks.cpu / baseline.cpu);
        self.print_figure("CPU of a JWKS answer", &value, "1.2 times");
    }

    /// The CPU time of a validation, compared with an exchange without its signature. The cost of
    /// the signature is the difference between the baseline with and without it, for bodies of the
    /// same size.
    fn validation(&self) {
        let process = self.server();
        let answer = probe(&process, self.algorithm, self.keys.get(0));
        let admin = self.place.administrator();
        let key = std::str::from_utf8(self.keys.get(0)).expect("a key");
        let headers = format!("Authorization: Bearer {admin}\r\nContent-Type: application/json\r\n");
        let body = format!("{{\"value\":\"{key}\"}}");
        let (status, said) =
            ask_with(process.port, "POST", "/v1/api-keys/validate", &headers, &body).expect("an answer");
        assert!(status == 200 && said.len() > 100, "{}", String::from_utf8_lossy(&said));
        let postmaster = self.place.postmaster;
        let cpu = |asked: &RequestKind| {
            let mut load = self.load(&process, asked);
            let figures = undisturbed(|| runs::run(&process, &mut load, Rate::Highest, RUN, postmaster).0);
            figures.cpu + figures.database_cpu.unwrap_or_default()
        };
        let exchange = cpu(&RequestKind::exchange(&self.keys));
        let validation = cpu(&RequestKind::validation(&self.keys, &admin));
        drop(process);
        let signature = self.baseline(true, &answer).cpu - self.baseline(false, &answer).cpu;
        let without = exchange - signature;
        let value = format!("{validation:.1} µs, {:.2} times the {without:.1} µs", validation / without);
        self.print_figure("CPU of a validation, beside an exchange without its signature", &value, "1.1 times");
    }

    fn baseline(&self, signs: bool, answer: &Answer) -> Figures {
        let process = Process::baseline(&self.place, self.algorithm, signs, answer);
        let mut load = self.load(&process, &RequestKind::exchange(&self.keys));
        undisturbed(|| runs::run(&process, &mut load, Rate::Highest, RUN, None).0)
    }
}
