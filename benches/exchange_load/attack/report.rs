//! The table of an attack, and what must hold in it.

use std::fmt::Write;

use super::{
    Attack, Measurements, Phase,
    outcomes::{Calls, KINDS, LegitimateCalls, sum_outcomes},
    stalled,
};

/// How much longer the p99 may be than the quiet one, up to half of the capacity.
const MAX_SLOWDOWN: f64 = 3.0;
/// How much more often legitimate calls may be answered 503 than the requests of the attackers,
/// beyond half of the capacity.
const MAX_UNSERVED_EXCESS: f64 = 0.05;

/// The programs that were measured on one database.
pub struct Comparison {
    pub before: Option<Measurements>,
    pub after: Measurements,
}

impl Comparison {
    fn programs(&self) -> Vec<&Measurements> {
        self.before.iter().chain([&self.after]).collect()
    }
}

/// The p99 of legitimate calls in a phase.
#[derive(Debug, Clone, Copy)]
pub struct Slowdown {
    /// Over the quiet one, of the kind of call for which this is the most.
    pub times: f64,
    micros: f64,
}

impl Slowdown {
    pub fn is_allowed(self) -> bool {
        self.times <= MAX_SLOWDOWN
    }
}

/// Compares a phase with the quiet ones. Up to half of the capacity, a call that was not served
/// counts as infinitely long.
pub fn slowdown(phase: &Phase, quiet: &LegitimateCalls) -> Slowdown {
    let p99 = |calls: &Calls| if phase.is_within_half() { calls.p99() } else { calls.p99_of_served() };
    let each = phase
        .legitimate
        .iter()
        .zip(quiet)
        .map(|(calls, quiet)| Slowdown { times: p99(calls) / quiet.p99_of_served(), micros: p99(calls) });
    let none = Slowdown { times: 0.0, micros: 0.0 };
    each.fold(none, |worst, this| if this.times > worst.times { this } else { worst })
}

/// Reports a phase on standard error.
pub fn report_progress(program: &str, what: &str, calls: &LegitimateCalls) {
    let millis = |micros: f64| micros / 1e3;
    let kinds = calls.iter().zip(KINDS).map(|(calls, kind)| {
        format!(
            "{kind} p50 {:.2}, p99 {:.2}, max {:.2} ms",
            millis(calls.median_of_served()),
            millis(calls.p99_of_served()),
            millis(calls.longest_served())
        )
    });
    let kinds: Vec<_> = kinds.collect();
    eprintln!("{program}, {what}: {:?}; {}", sum_outcomes(calls), kinds.join("; "));
}

/// How strong the attack of a phase is.
pub fn format_load(phase: &Phase) -> String {
    match phase.share {
        Some(share) => format!("{:.0} %, {:.0}/s", share * 100.0, phase.rate),
        None => format!("{} connections", stalled::CONNECTIONS),
    }
}

/// The table in Markdown, with a row for each phase.
pub fn format_table(comparisons: &[Comparison]) -> String {
    let columns = ["refused", "503 or no answer: legitimate, attackers", "p99, over the quiet one"];
    let has_before = comparisons.iter().any(|comparison| comparison.before.is_some());
    let programs: &[&str] = if has_before { &[", before", ", after"] } else { &[""] };
    let headings: Vec<_> =
        columns.iter().flat_map(|column| programs.iter().map(move |program| format!("{column}{program}"))).collect();
    let mut text = format!("| database | attack | load | {} |\n|---|---|--:|", headings.join(" | "));
    text.push_str(&"--:|".repeat(headings.len()));
    text.push('\n');
    for comparison in comparisons {
        for number in 0..comparison.after.phases.len() {
            write_row(&mut text, &comparison.programs(), number);
        }
    }
    text
}

fn write_row(text: &mut String, programs: &[&Measurements], number: usize) {
    let phases: Vec<_> = programs.iter().map(|program| (&program.phases[number], &program.quiet)).collect();
    let refused = phases.iter().map(|(phase, _)| refused_cell(phase));
    let unserved = phases.iter().map(|(phase, _)| unserved_cell(phase));
    let p99 = phases.iter().map(|(phase, quiet)| p99_cell(slowdown(phase, quiet)));
    let cells: Vec<_> = refused.chain(unserved).chain(p99).collect();
    let (first, database) = (phases[0].0, programs[0].database.name());
    writeln!(text, "| {database} | {} | {} | {} |", first.attack.name(), format_load(first), cells.join(" | "))
        .expect("writing to a string does not fail");
}

fn refused_cell(phase: &Phase) -> String {
    let calls = sum_outcomes(&phase.legitimate);
    match calls.refused + calls.other {
        0 => "0".to_owned(),
        refused => format!("{refused} of {}", calls.total()),
    }
}

fn unserved_cell(phase: &Phase) -> String {
    let legitimate = format!("{:.1} %", 100.0 * sum_outcomes(&phase.legitimate).unserved_share());
    match phase.attack {
        Attack::StalledConnections => legitimate,
        Attack::UnknownKeys
        | Attack::WrongSecrets
        | Attack::MalformedKeys
        | Attack::RevokedKeys
        | Attack::UnknownValidations
        | Attack::SpentKeys => format!("{legitimate}, {:.1} %", 100.0 * phase.attackers.unserved_share()),
    }
}

fn p99_cell(Slowdown { times, micros }: Slowdown) -> String {
    if times.is_finite() { format!("{:.1} ms, {times:.1}×", micros / 1e3) } else { "not served".to_owned() }
}

/// The p99 without an attack, a line for each program.
pub fn quiet_lines(comparisons: &[Comparison]) -> String {
    let mut text = String::new();
    for program in comparisons.iter().flat_map(Comparison::programs) {
        let kinds: Vec<_> = program
            .quiet
            .iter()
            .zip(KINDS)
            .map(|(calls, kind)| format!("{kind} {:.2} ms", calls.p99_of_served() / 1e3))
            .collect();
        writeln!(text, "{}, quiet p99: {}", program.label(), kinds.join(", "))
            .expect("writing to a string does not fail");
    }
    text
}

/// What does not hold for the measured program. An earlier build is not checked.
pub fn find_faults(comparisons: &[Comparison]) -> Vec<String> {
    comparisons.iter().flat_map(|comparison| find_faults_of(&comparison.after)).collect()
}

fn find_faults_of(program: &Measurements) -> Vec<String> {
    let mut faults = Vec::new();
    let quiet = sum_outcomes(&program.quiet);
    if quiet.served < quiet.total() {
        faults.push(format!("{}: calls were not served without an attack: {quiet:?}", program.label()));
    }
    for phase in &program.phases {
        let (legitimate, what) = (
            sum_outcomes(&phase.legitimate),
            format!("{}, {}, {}", program.label(), phase.attack.name(), format_load(phase)),
        );
        if legitimate.refused + legitimate.other > 0 {
            faults.push(format!("{what}: legitimate calls were refused: {legitimate:?}"));
        }
        let slowdown = slowdown(phase, &program.quiet);
        if phase.is_within_half() && !slowdown.is_allowed() {
            faults.push(format!("{what}: the p99 is {}, and {MAX_SLOWDOWN}× are allowed", p99_cell(slowdown)));
        }
        let (shares, of_attackers) = (legitimate.unserved_share(), phase.attackers.unserved_share());
        if !phase.is_within_half() && shares > of_attackers + MAX_UNSERVED_EXCESS {
            faults.push(format!(
                "{what}: {:.1} % of the legitimate calls were not served, and {:.1} % of the attackers' requests",
                100.0 * shares,
                100.0 * of_attackers
            ));
        }
    }
    faults
}
