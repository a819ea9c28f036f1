//! Cursor pagination. A list that grows while it is read neither repeats nor skips rows.

use serde::Serialize;

/// The part of a list to return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// From 1 to 100.
    pub limit: i64,
    /// The `next` value of the previous page.
    pub cursor: Option<String>,
}

impl PageRequest {
    pub const DEFAULT_LIMIT: i64 = 20;
    pub const MAX_LIMIT: i64 = 100;

    pub const FIRST_PAGE: Self = Self { limit: Self::MAX_LIMIT, cursor: None };
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    pub data: Vec<T>,
    /// Cursor of the next page; absent on the last page.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Builds a page of `limit` rows from up to `limit + 1` rows: the additional row indicates a
    /// next page.
    pub fn from_rows(mut rows: Vec<T>, limit: i64, cursor: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(0);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(cursor) } else { None };
        Self { data: rows, next }
    }

    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { data: self.data.into_iter().map(f).collect(), next: self.next }
    }
}
