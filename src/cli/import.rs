//! The `keyswap import` command.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::Path,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    cli::common::{CommonArgs, Failure, print_json},
    service::{
        Services,
        caller::Caller,
        directory::import::{Import, Report, report::RowCounts},
    },
};

/// Size of the read buffer in bytes.
const BUFFER_SIZE: usize = 64 * 1024;
/// Interval between two progress messages.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

pub async fn run(common: &CommonArgs, file: &Path, json: bool) -> Result<(), Failure> {
    let services = common.start().await?;
    let unreadable = |error: io::Error| Failure::Other(format!("failed to read {}: {error}", file.display()));
    let mut input: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file).map_err(unreadable)?)
    };
    let mut import = Import::begin(&Caller::cli());
    let mut progress = Progress::begin();
    let ended = loop {
        let mut piece = vec![0; BUFFER_SIZE];
        let length = match input.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => break Err(unreadable(error)),
            Ok(length) => length,
        };
        match take(&services, &mut import, &piece[..length]).await {
            Err(error) => break Err(error),
            Ok(()) if length == 0 => break Ok(()),
            Ok(()) => progress.print(import.counts(), false),
        }
    };
    progress.print(import.counts(), true);
    if let Err(failure) = ended {
        let counts = import.counts();
        return Err(Failure::Other(format!("{failure}; at least {} rows are imported", counts.rows)));
    }
    let report = import.into_report();
    if json {
        print_json(&report)?
    } else {
        print_report(&report)
    }
    match report.counts.refused {
        0 => Ok(()),
        refused => Err(Failure::Other(format!("{refused} of {} rows were refused", report.counts.rows))),
    }
}

/// An empty `piece` marks the end of the input.
async fn take(services: &Services, import: &mut Import, piece: &[u8]) -> Result<(), Failure> {
    if piece.is_empty() {
        import.end(services).await?
    } else {
        import.feed(services, piece).await?
    }
    Ok(())
}

fn print_report(report: &Report) {
    let RowCounts { rows, created, updated, unchanged, refused } = report.counts;
    for row in &report.refused_rows {
        for fault in &row.errors {
            println!("line {}: {}: {}", row.line, fault.field, fault.message);
        }
    }
    if report.more > 0 {
        println!("and {} more refused lines", report.more);
    }
    println!("{rows} rows: {created} created, {updated} updated, {unchanged} unchanged, {refused} refused");
}

/// Progress messages on standard error. On a terminal, one line is overwritten.
struct Progress {
    began: Instant,
    printed_at: Instant,
    on_terminal: bool,
}

impl Progress {
    fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, printed_at: now, on_terminal: io::stderr().is_terminal() }
    }

    fn print(&mut self, counts: RowCounts, last: bool) {
        if !last && self.printed_at.elapsed() < PROGRESS_INTERVAL {
            return;
        }
        self.printed_at = Instant::now();
        let millis = self.began.elapsed().as_millis().max(1);
        let rate = u128::from(counts.rows) * 1000 / millis;
        let line = format!("{} rows, {rate} rows/s, {} refused", counts.rows, counts.refused);
        match (self.on_terminal, last) {
            (false, _) => eprintln!("{line}"),
            (true, false) => eprint!("\r{line}   "),
            (true, true) => eprintln!("\r{line}   "),
        }
    }
}
