//! The printed results, in Markdown.

use std::{collections::BTreeSet, fmt::Write, fs, thread::available_parallelism};

use super::{
    options::Options,
    runs::{Cell, Conditions, Figures},
    usage::field,
};

/// The cores, the memory and the kernel.
pub fn hardware() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cores = available_parallelism().map_or(0, usize::from);
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let model = field(&cpu, "model name").unwrap_or("unknown");
    let kib: f64 =
        field(&memory, "MemTotal:").and_then(|total| total.trim_end_matches(" kB").parse().ok()).unwrap_or(0.0);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores ({model}), {:.1} GiB of memory, Linux {}", kib / 1024.0 / 1024.0, kernel.trim())
}

/// The machine and the conditions of the measurement.
pub fn machine(databases: &BTreeSet<String>, options: &Options, cells: &[Cell]) -> String {
    let others: Vec<f64> = cells.iter().flat_map(Cell::all).map(|figures| figures.others).collect();
    format!(
        "{}; {}; {} keys, {} s a run. \
         Other programs and the host took {:.0} % of the cores, {:.0} % in the worst cell.\n",
        hardware(),
        databases.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        options.keys,
        options.seconds,
        100.0 * others.iter().sum::<f64>() / others.len() as f64,
        100.0 * others.iter().copied().fold(0.0, f64::max),
    )
}

/// One row for each program of each cell. The last column is the CPU time of server and database
/// together, relative to the baseline.
pub fn table(cells: &[Cell]) -> String {
    let mut text = String::from(
        "| database | population | draw | algorithm | connections | program | requests/s | p50 (µs) | p99 (µs) | \
         CPU per exchange (µs) | PostgreSQL's CPU (µs) | memory (MiB) | over the baseline |\n\
         |---|---|---|---|--:|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for cell in cells {
        let Cell { server, before, signed, bare, .. } = cell;
        let over_baseline = |figures: &Figures| {
            let together = figures.cpu + figures.database_cpu.unwrap_or_default();
            format!("**{:.2}×**, +{:.1} µs", together / signed.cpu, together - signed.cpu)
        };
        if let Some(before) = before {
            line(&mut text, cell, "Keyswap, before", before, &over_baseline(before));
        }
        line(&mut text, cell, "Keyswap", server, &over_baseline(server));
        line(&mut text, cell, "baseline with signature", signed, "");
        line(&mut text, cell, "baseline without signature", bare, "");
    }
    text
}

fn line(text: &mut String, cell: &Cell, program: &str, figures: &Figures, over: &str) {
    let Figures { per_second, p50, p99, cpu, memory, .. } = figures;
    let Conditions { database, population, algorithm, draw, connections } = cell.conditions;
    let (database, population, draw) = (database.name(), population.name(), draw.name());
    let database_cpu = figures.database_cpu.map(|cpu| format!("{cpu:.1}")).unwrap_or_default();
    writeln!(
        text,
        "| {database} | {population} | {draw} | {algorithm} | {connections} | {program} | {per_second:.0} | {p50:.0} | {p99:.0} | \
         {cpu:.1} | {database_cpu} | {memory:.1} | {over} |"
    )
    .expect("writing to a string does not fail");
}
