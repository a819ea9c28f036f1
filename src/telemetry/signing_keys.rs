//! Values of the signing key gauges.

use std::{collections::BTreeMap, time::Duration};

/// The values of the signing key gauges, from one snapshot.
#[derive(Debug, Default)]
pub struct SigningKeys {
    /// By algorithm and state, how long the oldest key in that state has been in it.
    pub ages: BTreeMap<(&'static str, &'static str), Duration>,
    /// By kind of a step, the seconds until the next one is due. Negative when it is overdue.
    pub steps: BTreeMap<&'static str, f64>,
}
