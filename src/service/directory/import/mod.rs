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
        Conflict, Error, InputFault, Services,
        caller::Caller,
        directory::import::{
            chunk::ChunkResult,
            lines::{LineTooLong, Lines},
            report::{NumberedRow, RefusedRow, RowCounts},
        },
    },
    store::Tx,
};

pub use lines::MAX_LINE_BYTES;

/// Maximum number of rows in one transaction.
const MAX_CHUNK_ROWS: usize = 500;
/// A chunk is applied once the lines of its rows reach this number of bytes.
const CHUNK_BYTES_LIMIT: usize = 4 * 1024 * 1024;
/// Maximum number of refused rows that a report lists.
const MAX_LISTED_REFUSED_ROWS: usize = 1000;
/// Maximum number of attempts for a chunk when a concurrent transaction inserts one of its entries.
const MAX_CHUNK_ATTEMPTS: usize = 5;

/// The result of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub counts: RowCounts,
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
    chunk: Vec<NumberedRow>,
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
    pub const fn counts(&self) -> RowCounts {
        self.report.counts
    }

    /// Accepts the next bytes of the stream, split at any position. After an error, `counts`
    /// reports the rows that are known to be committed.
    pub async fn feed(&mut self, services: &Services, mut bytes: &[u8]) -> Result<(), Error> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.lines.push(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.finish_line(services).await?;
        }
        self.lines.push(bytes);
        Ok(())
    }

    /// Ends the stream; the last line need not end with a newline. After an error, `counts` reports
    /// the rows that are known to be committed.
    pub async fn end(&mut self, services: &Services) -> Result<(), Error> {
        self.finish_line(services).await?;
        self.apply(services).await
    }

    pub fn into_report(self) -> Report {
        self.report
    }

    async fn finish_line(&mut self, services: &Services) -> Result<(), Error> {
        let (line, ended) = self.lines.end();
        let row = match ended {
            Ok(text) if text.trim_ascii().is_empty() => return Ok(()),
            Ok(text) => {
                self.chunk_bytes += text.len();
                line::read(&text)
            }
            Err(LineTooLong) => Err(vec![InputFault::new("row", format!("a line has {MAX_LINE_BYTES} bytes at most"))]),
        };
        self.chunk.push(NumberedRow { line, row });
        if self.chunk.len() >= MAX_CHUNK_ROWS || self.chunk_bytes >= CHUNK_BYTES_LIMIT {
            self.apply(services).await?;
        }
        Ok(())
    }

    async fn apply(&mut self, services: &Services) -> Result<(), Error> {
        let rows: Arc<[NumberedRow]> = mem::take(&mut self.chunk).into();
        self.chunk_bytes = 0;
        if rows.is_empty() {
            return Ok(());
        }
        let ends_with_creator = services.settings.limits.end_with_creator;
        let mut tries = 1;
        let applied = loop {
            let rows = Arc::clone(&rows);
            let apply = move |tx: &mut Tx<'_>| chunk::apply(tx, &rows, ends_with_creator);
            match services.store.run_transaction(self.origin.clone(), apply).await {
                Err(Error::Conflict(Conflict::ChangedConcurrently(_))) if tries < MAX_CHUNK_ATTEMPTS => tries += 1,
                other => break other?,
            }
        };
        self.note(applied);
        Ok(())
    }

    fn note(&mut self, applied: ChunkResult) {
        let report = &mut self.report;
        report.counts = report.counts.plus(applied.counts);
        let room = MAX_LISTED_REFUSED_ROWS - report.refused_rows.len();
        report.refused_rows.extend(applied.refused.into_iter().take(room));
        report.more = report.counts.refused - report.refused_rows.len() as u64;
    }
}
