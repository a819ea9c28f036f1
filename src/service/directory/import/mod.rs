//! Bulk import of the directory as a stream of lines. An invalid row is refused alone and never
//! applied in part; the other rows are applied in chunks, one transaction each. Memory use does not
//! grow with the length of the stream.

mod chunk;
mod line;
mod lines;
pub mod report;

use std::{mem, sync::Arc};

use serde::Serialize;

use crate::{
    domain::events::Origin,
    service::{
        App, Error, Fault,
        caller::Caller,
        directory::import::{
            chunk::Applied,
            lines::{Lines, TooLong},
            report::{Counts, Numbered, RefusedRow},
        },
    },
};

pub use lines::LONGEST_LINE;

/// Maximum number of rows in one transaction.
const CHUNK_ROWS: usize = 500;
/// A chunk is applied once the lines of its rows reach this number of bytes.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// Maximum number of refused rows that a report lists.
const MOST_REFUSED: usize = 1000;
/// Maximum number of attempts for a chunk when a concurrent transaction inserts one of its entries.
const TRIES: usize = 5;

/// The result of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub counts: Counts,
    /// The first 1000 refused rows.
    pub refused_rows: Vec<RefusedRow>,
    /// The number of refused rows that are not listed.
    pub more: u64,
}

/// An import in progress.
#[derive(Debug)]
pub struct Import {
    origin: Origin,
    lines: Lines,
    chunk: Vec<Numbered>,
    chunk_bytes: usize,
    report: Report,
}

impl Import {
    pub fn begin(caller: &Caller) -> Self {
        Self {
            origin: caller.origin.clone(),
            lines: Lines::default(),
            chunk: Vec::new(),
            chunk_bytes: 0,
            report: Report::default(),
        }
    }

    /// Counts of the rows that are committed or refused.
    pub const fn counts(&self) -> Counts {
        self.report.counts
    }

    /// Accepts the next bytes of the stream, split at any position. After an error, `counts`
    /// reports the rows that are known to be committed.
    pub async fn feed(&mut self, app: &App, mut bytes: &[u8]) -> Result<(), Error> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.lines.push(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.line_ended(app).await?;
        }
        self.lines.push(bytes);
        Ok(())
    }

    /// Ends the stream; the last line need not end with a newline. After an error, `counts` reports
    /// the rows that are known to be committed.
    pub async fn end(&mut self, app: &App) -> Result<(), Error> {
        self.line_ended(app).await?;
        self.apply(app).await
    }

    pub fn into_report(self) -> Report {
        self.report
    }

    async fn line_ended(&mut self, app: &App) -> Result<(), Error> {
        let (line, ended) = self.lines.end();
        let row = match ended {
            Ok(text) if text.trim_ascii().is_empty() => return Ok(()),
            Ok(text) => {
                self.chunk_bytes += text.len();
                line::read(&text)
            }
            Err(TooLong) => Err(vec![Fault::new("row", format!("a line has {LONGEST_LINE} bytes at most"))]),
        };
        self.chunk.push(Numbered { line, row });
        if self.chunk.len() >= CHUNK_ROWS || self.chunk_bytes >= CHUNK_BYTES {
            self.apply(app).await?;
        }
        Ok(())
    }

    async fn apply(&mut self, app: &App) -> Result<(), Error> {
        let rows: Arc<[Numbered]> = mem::take(&mut self.chunk).into();
        self.chunk_bytes = 0;
        if rows.is_empty() {
            return Ok(());
        }
        let mut tries = 1;
        let applied = loop {
            let rows = Arc::clone(&rows);
            match app.store.change(self.origin.clone(), move |tx| chunk::apply(tx, &rows)).await {
                Err(Error::Conflict(_)) if tries < TRIES => tries += 1,
                other => break other?,
            }
        };
        self.note(applied);
        Ok(())
    }

    fn note(&mut self, applied: Applied) {
        let report = &mut self.report;
        report.counts = report.counts.plus(applied.counts);
        let room = MOST_REFUSED - report.refused_rows.len();
        report.refused_rows.extend(applied.refused.into_iter().take(room));
        report.more = report.counts.refused - report.refused_rows.len() as u64;
    }
}
