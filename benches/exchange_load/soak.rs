//! Half of the highest load for a long time, while keys are created, rotated, exchanged and
//! revoked. Detects growth of memory, descriptors and files.

use std::{
    fs,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    databases::{Database, TemporaryDeployment},
    load::{Load, Rate, RequestKind},
    options::Options,
    processes::{Process, ask_with},
    seed::Keys,
    seed_database, usage,
};

const CONNECTIONS: u16 = 64;
const HIGHEST: Duration = Duration::from_secs(10);
/// The number of snapshots over the whole run.
const SAMPLES: u32 = 40;
/// The interval between samples of memory. Buffered last-used times grow for ten seconds until they
/// are written, so a single sample would depend on its moment.
const SAMPLE: Duration = Duration::from_millis(50);
/// The pause between two changes.
const CHANGE: Duration = Duration::from_millis(50);
/// The growth that counts as noise, in addition to one twentieth: in MiB, and in descriptors.
const MEMORY: f64 = 4.0;
const DESCRIPTORS: f64 = 8.0;
const LOG: f64 = 8.0;
/// The growth allowed for each key that was created, rotated and revoked, in KiB: its rows and
/// events are kept by design.
const PER_KEY: f64 = 24.0;

/// One snapshot.
#[derive(Debug, Clone, Copy)]
struct Sample {
    minutes: f64,
    /// In MiB: the mean since the previous snapshot, and the maximum.
    memory: f64,
    peak: f64,
    descriptors: f64,
    /// In MiB: the database and its write-ahead log.
    database: f64,
    log: f64,
    /// The number of keys created, rotated and revoked so far.
    changed: f64,
}

pub fn soak(options: &Options, length: Duration) -> ExitCode {
    let mut good = true;
    for &database in &options.database {
        let (place, keys) = seed_database(database, options, options.algorithm[0], options.keys);
        good &= is_flat(database, &take_samples(&place, &keys, options, length));
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn take_samples(place: &TemporaryDeployment, keys: &Arc<Keys>, options: &Options, length: Duration) -> Vec<Sample> {
    let name = place.database.name();
    // Each key is also presented after it has ended, which the brute-force limiter counts as a
    // failure.
    let server = Process::server_with(place, options.algorithm[0], &["brute_force.per_source=1000000"]);
    let mut load = Load::connect(server.port, CONNECTIONS, keys, &RequestKind::exchange(keys));
    let highest = load.run(HIGHEST.min(length), Rate::Highest).per_second();
    let half = Rate::PerSecond(highest / 2.0);
    eprintln!("{name}: {highest:.0}/s at most, so {:.0}/s for {} s", highest / 2.0, length.as_secs());
    let (stop, changed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let changing = {
        let (stop, changed, port, admin) =
            (Arc::clone(&stop), Arc::clone(&changed), server.port, place.administrator());
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                change(port, &admin);
                changed.fetch_add(1, Ordering::Relaxed);
                thread::sleep(CHANGE);
            }
        })
    };
    let (started, mut all) = (Instant::now(), Vec::new());
    for _ in 0..SAMPLES {
        let (run, memory) = measure_load(server.pid(), || load.run(length / SAMPLES, half));
        assert_eq!(run.failures + run.refused, 0, "requests failed: {}", server.said());
        let (database, log) = place.sizes();
        let look = Sample {
            minutes: started.elapsed().as_secs_f64() / 60.0,
            memory: memory.iter().sum::<f64>() / memory.len() as f64,
            peak: memory.iter().copied().fold(0.0, f64::max),
            descriptors: fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("the process runs").count() as f64,
            database,
            log,
            changed: changed.load(Ordering::Relaxed) as f64,
        };
        let Sample { minutes, memory, peak, descriptors, changed, .. } = look;
        eprintln!(
            "{name}: {minutes:.1} min, {:.0}/s, p99 {:.0} µs, memory {memory:.1} MiB and {peak:.1} at most, {descriptors} descriptors, database \
             {database:.1} MiB, log {log:.1} MiB, {changed} keys changed",
            run.per_second(),
            run.percentile(0.99)
        );
        all.push(look);
    }
    stop.store(true, Ordering::Relaxed);
    changing.join().expect("the changes succeed");
    all
}

/// Returns the result of `run`, and samples of the memory of the process during it, in MiB.
fn measure_load<T>(process: u32, run: impl FnOnce() -> T) -> (T, Vec<f64>) {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let memory = scope.spawn(|| {
            let mut memory = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                memory.push(usage::resident(process) as f64 / 1024.0);
                thread::sleep(SAMPLE);
            }
            memory
        });
        let run = run();
        ended.store(true, Ordering::Relaxed);
        (run, memory.join().expect("the process runs"))
    })
}

/// Creates, exchanges and rotates a key, exchanges the new value, and revokes the key. Asserts that
/// ended values are refused.
fn change(port: u16, admin: &str) {
    let call = |path: &str, bearer: &str, body: &str, status: u16| {
        let headers = format!("Authorization: Bearer {bearer}\r\nContent-Type: application/json\r\n");
        let (found, answer) = ask_with(port, "POST", path, &headers, body).expect("an answer");
        assert_eq!(found, status, "{path}: {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice::<Value>(&answer).expect("JSON")
    };
    let text = |value: &Value, name: &str| value[name].as_str().expect(name).to_owned();
    let key = call("/v1/api-keys", admin, r#"{"name":"soak","owner":{"type":"none"},"permissions":[]}"#, 201);
    let path = format!("/v1/api-keys/{}", text(&key, "id"));
    call("/v1/exchange", &text(&key, "value"), "{}", 200);
    let rotated = call(&format!("{path}/rotate"), admin, r#"{"grace":"0s"}"#, 200);
    call("/v1/exchange", &text(&key, "value"), "{}", 401);
    call("/v1/exchange", &text(&rotated, "value"), "{}", 200);
    call(&format!("{path}/revoke"), admin, "{}", 200);
    call("/v1/exchange", &text(&rotated, "value"), "{}", 401);
}

/// Whether no figure has grown beyond its bound. Only the second half counts, because caches fill
/// up in the first one.
fn is_flat(database: Database, all: &[Sample]) -> bool {
    let name = database.name();
    let settled = &all[all.len() / 2..];
    let minutes = settled[settled.len() - 1].minutes - settled[0].minutes;
    let mut good = true;
    let mut check_growth = |what: &str, unit: &str, of: &dyn Fn(&Sample) -> f64, noise: f64| {
        let mean = settled.iter().map(of).sum::<f64>() / settled.len() as f64;
        let slope = slope(settled.iter().map(|look| (look.minutes, of(look))));
        let fits = slope * minutes <= mean / 20.0 + noise;
        println!(
            "{name}: {what} {mean:.1}{unit} on average, {slope:+.3}{unit} a minute{}",
            if fits { "" } else { ": it grows" }
        );
        good &= fits;
    };
    check_growth("memory", " MiB", &|look| look.memory, MEMORY);
    check_growth("memory at most", " MiB", &|look| look.peak, MEMORY);
    check_growth("descriptors", "", &|look| look.descriptors, DESCRIPTORS);
    // PostgreSQL chooses the size of its WAL itself (`max_wal_size`), independent of the load.
    check_growth(
        "the log of the database",
        " MiB",
        &|look| look.log,
        if database == Database::Sqlite { LOG } else { f64::INFINITY },
    );
    let per_key = slope(settled.iter().map(|look| (look.changed, look.database * 1024.0)));
    // The size of PostgreSQL's files varies with the dead rows that are not vacuumed yet.
    let (first, last) = (settled[0], settled[settled.len() - 1]);
    let allowed = last.database / 20.0 + (last.changed - first.changed) * PER_KEY / 1024.0;
    let fits = last.database - first.database <= allowed;
    println!(
        "{name}: the database {per_key:.1} KiB for each key that was made, rotated and revoked{}",
        if fits { "" } else { ": too much" }
    );
    good && fits
}

/// The slope of the least-squares line through the points.
fn slope(points: impl Iterator<Item = (f64, f64)>) -> f64 {
    let points: Vec<_> = points.collect();
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0 / count, sum.1 + point.1 / count));
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let square: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if square > 0.0 { both / square } else { 0.0 }
}
