//! Values of columns in the types of the domain.

use crate::{
    domain::{
        access::permission::PermissionSet,
        common::{json::Metadata, time::Span},
    },
    store::error::StoreError,
};

pub(crate) fn permission_set(column: &str) -> Result<PermissionSet, StoreError> {
    PermissionSet::from_stored(column).map_err(|error| StoreError::InvalidData(format!("permissions: {error}")))
}

pub(crate) fn span(column: Option<i64>) -> Option<Span> {
    column.map(|millis| Span::from_millis(millis.max(0).unsigned_abs()))
}

pub(crate) fn parsed_metadata(column: &str) -> Result<Metadata, StoreError> {
    Metadata::parse(column).map_err(|error| StoreError::InvalidData(error.to_string()))
}

/// Parses a column. `what` names the column in the error message.
pub(crate) fn parsed<T: std::str::FromStr>(what: &str, column: &str) -> Result<T, StoreError>
where
    T::Err: std::fmt::Display,
{
    column.parse().map_err(|error| StoreError::InvalidData(format!("{what}: {error}")))
}
