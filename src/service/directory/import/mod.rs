//! The directory as a stream of lines, many at once. A row is refused alone, and never half done; the others go in, a chunk of them in
//! one transaction. What is in memory does not grow with what is sent.

mod chunk;
mod line;
mod lines;

use std::{mem, sync::Arc};

use serde::Serialize;

use crate::{
    domain::event::Origin,
    service::{App, Error, Fault, caller::Caller},
};

use chunk::Applied;
use line::Row;
use lines::{Lines, TooLong};

pub use lines::LONGEST_LINE;

/// The most rows in one transaction.
const CHUNK_ROWS: usize = 500;
/// The most bytes of them.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// How many refused rows a report names.
const MOST_REFUSED: usize = 1000;
/// How often a chunk is tried again when another change put one of its things at the same moment.
const TRIES: usize = 5;

/// What has become of the rows so far: all of it is in the database, or refused for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub rows: u64,
    pub created: u64,
    pub updated: u64,
    pub unchanged: u64,
    pub refused: u64,
}

impl Counts {
    const fn plus(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            created: self.created + other.created,
            updated: self.updated + other.updated,
            unchanged: self.unchanged + other.unchanged,
            refused: self.refused + other.refused,
        }
    }
}

/// A row that did not go in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedRow {
    /// Its number among the lines, from 1.
    pub line: u64,
    pub errors: Vec<Fault>,
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub counts: Counts,
    /// The first 1000 of them.
    pub refused_rows: Vec<RefusedRow>,
    /// How many more were refused.
    pub more: u64,
}

/// A row with the number of its line, or what is wrong with it.
#[derive(Debug, Clone)]
struct Numbered {
    line: u64,
    row: Result<Row, Vec<Fault>>,
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

    /// What is done for certain.
    pub const fn counts(&self) -> Counts {
        self.report.counts
    }

    /// Takes the next bytes, wherever they are cut.
    ///
    /// # Errors
    /// The database does not answer: `counts` says what is in for certain.
    pub async fn feed(&mut self, app: &App, mut bytes: &[u8]) -> Result<(), Error> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.lines.push(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.line_ended(app).await?;
        }
        self.lines.push(bytes);
        Ok(())
    }

    /// There are no more bytes: the last line may do without its newline.
    ///
    /// # Errors
    /// The database does not answer: `counts` says what is in for certain.
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
