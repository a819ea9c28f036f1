//! Counts and refused rows of an import.

use crate::service::{InputFault, directory::import::line::Row};
use serde::Serialize;

/// Result counts so far. Every counted row is committed or finally refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    pub rows: u64,
    pub created: u64,
    pub updated: u64,
    pub unchanged: u64,
    pub refused: u64,
}

impl RowCounts {
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            created: self.created + other.created,
            updated: self.updated + other.updated,
            unchanged: self.unchanged + other.unchanged,
            refused: self.refused + other.refused,
        }
    }
}

/// A row that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedRow {
    /// The line number, starting at 1.
    pub line: u64,
    pub errors: Vec<InputFault>,
}

/// A row with its line number, or the faults of the line.
#[derive(Debug, Clone)]
pub(crate) struct NumberedRow {
    pub(crate) line: u64,
    pub(crate) row: Result<Row, Vec<InputFault>>,
}
