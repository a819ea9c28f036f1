//! The table of a run, and the rules that it must hold.

use std::{fmt::Write, time::Duration};

use super::{
    Day,
    arrivals::Minute,
    samples::Sample,
    schedule::{MINUTE, Schedule},
};
use crate::databases::Database;

/// The period in `SETTINGS`.
const ROTATION_PERIOD: Duration = Duration::from_secs(600);
/// The part of the exchanges that must be answered in time.
const ENOUGH: f64 = 0.999;
/// The longest p99 of a minute without a backup, in milliseconds. A client notices longer ones.
const MAX_P99: f64 = 50.0;
/// Caches fill in the first minutes, which therefore do not count as growth.
const SETTLED: usize = 10;
/// Fewer minutes than these show no growth.
const MIN_MINUTES: usize = 5;
/// The growth that counts as noise in addition to one twentieth, in MiB.
const NOISE: f64 = 8.0;
/// PostgreSQL exceeds `max_wal_size` by the segments that it keeps for reuse.
const LOG_TOLERANCE: f64 = 1.25;

pub const HEAD: &str = "| minute | offered/s | reached/s | not 200 | p50 (ms) | p99 (ms) | p99.9 (ms) | longest (ms) | memory, at most (MiB) | \
                        CPU, PostgreSQL's, others | database (MiB) | log, written (MiB) | credential_usage (MiB) | events (MiB) | open files |\n\
                        |--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|";

/// The last sample is that of the minute.
pub fn row(schedule: Schedule, minute: usize, exchanges: &Minute, samples: &[Sample]) -> String {
    let Sample { memory, peak, server_cpu, database_cpu, others, descriptors, sizes } = samples[minute];
    let seconds = (schedule.end_of_minute(minute) - MINUTE.mul_f64(minute as f64)).as_secs_f64();
    let millis = |part: f64| exchanges.latencies.percentile(part) / 1e3;
    let before = minute.checked_sub(1).and_then(|before| samples[before].sizes.log_written);
    let written =
        sizes.log_written.zip(before).map_or(String::new(), |(after, before)| format!(", {:.0}", after - before));
    format!(
        "| {} | {:.0} | {:.0} | {} | {:.2} | {:.2} | {:.2} | {:.1} | {memory:.1}, {peak:.1} | {server_cpu:.2}, {}, {:.0} % | {:.1} | \
         {:.1}{written} | {:.1} | {:.1} | {descriptors} |",
        minute + 1,
        schedule.offered(minute) as f64 / seconds,
        exchanges.reached as f64 / seconds,
        exchanges.failed,
        millis(0.5),
        millis(0.99),
        millis(0.999),
        exchanges.latencies.longest() / 1e3,
        database_cpu.map_or("-".to_owned(), |cpu| format!("{cpu:.2}")),
        others * 100.0,
        sizes.database,
        sizes.log,
        sizes.credential_usage,
        sizes.events,
    )
}

pub fn format_table(day: &Day) -> String {
    let mut text = format!("{HEAD}\n");
    for (minute, exchanges) in day.minutes.iter().enumerate() {
        let row = row(day.schedule, minute, exchanges, &day.samples);
        writeln!(text, "{row}").expect("writing to a string does not fail");
    }
    text
}

/// The figures of the whole run.
pub fn summary(day: &Day) -> String {
    let backup = match &day.backup.result {
        Ok(bytes) => format!("{:.1} MiB", *bytes as f64 / 1024.0 / 1024.0),
        Err(error) => error.clone(),
    };
    let (quiet, during): (Vec<_>, Vec<_>) = (0..day.minutes.len()).partition(|minute| !is_in_backup(day, *minute));
    let longest = |minutes: &[usize]| minutes.iter().map(|minute| p99(day, *minute)).fold(0.0, f64::max);
    format!(
        "- {}: {:.3} % of {} exchanges were answered in time.\n\
         - p99 of the worst minute: {:.2} ms; of those with the backup (minutes {:?}): {:.2} ms.\n\
         - Backup: {backup} in {:.1} s. {} keys were created, rotated and revoked. {} stale answers. {} rotations of signing keys.",
        day.database.name(),
        reached_share(day) * 100.0,
        day.schedule.count(),
        longest(&quiet),
        during.iter().map(|minute| minute + 1).collect::<Vec<_>>(),
        longest(&during),
        (day.backup.end - day.backup.begin).as_secs_f64(),
        day.changes.keys,
        day.changes.stale,
        day.verification.rotations(),
    )
}

/// The rules that the run did not hold.
pub fn find_faults(day: &Day) -> Vec<String> {
    let mut faults = Vec::new();
    let mut require = |holds: bool, fault: String| {
        if !holds {
            faults.push(fault);
        }
    };
    require(reached_share(day) >= ENOUGH, format!("{:.3} % were answered in time", reached_share(day) * 100.0));
    let served: u64 = day.minutes.iter().map(|minute| minute.latencies.count()).sum();
    require(
        served == day.schedule.count(),
        format!("{} exchanges were not answered 200", day.schedule.count() - served),
    );
    require(day.changes.stale == 0, format!("{} ended keys were exchanged", day.changes.stale));
    require(day.changes.keys > 0, "no key was changed".to_owned());
    for fault in &day.changes.faults {
        require(false, fault.clone());
    }
    let verification = &day.verification;
    require(verification.failures == 0, format!("{} tokens did not verify", verification.failures));
    let is_long = day.schedule.length > 2 * ROTATION_PERIOD;
    require(verification.rotations() > 0 || !is_long, "no signing key was rotated".to_owned());
    if let Err(error) = &day.backup.result {
        require(false, format!("the backup: {error}"));
    }
    for minute in (0..day.minutes.len()).filter(|minute| !is_in_backup(day, *minute)) {
        let p99 = p99(day, minute);
        require(p99 <= MAX_P99, format!("a p99 of {p99:.1} ms in minute {}", minute + 1));
    }
    for (what, of) in [("memory", memory as fn(&Sample) -> f64), ("the log of the database", log_of(day.database))] {
        for minutes in steady_minutes(day) {
            let (mean, growth) = growth(day, &minutes, of);
            require(growth <= mean / 20.0 + NOISE, format!("{what} grows by {growth:.1} MiB in minutes {minutes:?}"));
        }
    }
    for sizes in day.samples.iter().map(|sample| sample.sizes) {
        let allowed = sizes.log_allowed.map_or(f64::INFINITY, |allowed| allowed * LOG_TOLERANCE);
        require(sizes.log <= allowed, format!("the log of the database has {:.0} MiB", sizes.log));
    }
    faults
}

const fn memory(sample: &Sample) -> f64 {
    sample.memory
}

/// PostgreSQL chooses the size of its log itself, up to a limit.
fn log_of(database: Database) -> fn(&Sample) -> f64 {
    match database {
        Database::Sqlite => |sample| sample.sizes.log,
        Database::Postgres => |_| 0.0,
    }
}

/// The settled minutes before the backup, and those after it. The log of SQLite grows during a
/// backup and keeps its size.
fn steady_minutes(day: &Day) -> Vec<Vec<usize>> {
    let settled = (SETTLED..day.samples.len()).filter(|minute| !is_in_backup(day, *minute));
    let begin = day.schedule.begin + day.backup.begin;
    let (before, after): (Vec<_>, Vec<_>) =
        settled.partition(|minute| day.schedule.begin + day.schedule.end_of_minute(*minute) <= begin);
    [before, after].into_iter().filter(|minutes| minutes.len() >= MIN_MINUTES).collect()
}

/// The mean of a figure, and the growth of its least-squares line over the minutes.
fn growth(day: &Day, minutes: &[usize], of: fn(&Sample) -> f64) -> (f64, f64) {
    let count = minutes.len() as f64;
    let points = || minutes.iter().map(|minute| (*minute as f64, of(&day.samples[*minute])));
    let (x, y) = points().fold((0.0, 0.0), |sum, point| (sum.0 + point.0 / count, sum.1 + point.1 / count));
    let both: f64 = points().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let square: f64 = points().map(|point| (point.0 - x).powi(2)).sum();
    (y, both / square * (count - 1.0))
}

/// The p99 of a minute in milliseconds.
fn p99(day: &Day, minute: usize) -> f64 {
    day.minutes[minute].latencies.percentile(0.99) / 1e3
}

fn reached_share(day: &Day) -> f64 {
    day.minutes.iter().map(|minute| minute.reached).sum::<u64>() as f64 / day.schedule.count().max(1) as f64
}

fn is_in_backup(day: &Day, minute: usize) -> bool {
    MINUTE.mul_f64(minute as f64) < day.backup.end && day.schedule.end_of_minute(minute) > day.backup.begin
}
