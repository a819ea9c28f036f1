//! Counts of exchanges that were flushed.

use std::collections::BTreeMap;
use tokio::sync::Mutex;

/// The metric values that are already written.
#[derive(Debug, Default)]
pub struct FlushedExchangeCounts(pub(crate) Mutex<BTreeMap<&'static str, u64>>);
