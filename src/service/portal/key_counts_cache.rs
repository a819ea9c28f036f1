//! Cached counts of API keys by state.

use crate::domain::credentials::api_key::KeyCounts;
use tokio::{sync::Mutex, time::Instant};

/// The result of the last count on this server, and the time of the last attempt.
#[derive(Debug, Default)]
pub struct KeyStatisticsCache(pub(crate) Mutex<Option<(Instant, Option<KeyCounts>)>>);
