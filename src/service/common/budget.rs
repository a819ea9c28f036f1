//! Budgets that refill with time, in constant memory.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::{BuildHasher, Hash},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use crate::domain::common::time::Span;

/// Number of cells of a budget. Two keys that hash to the same cell share its budget. The hash is
/// seeded, so an attacker cannot choose the collision.
const BUDGET_CELLS: usize = 1 << 16;

/// The generic cell rate algorithm. Each cell holds one number: the time at which its budget is
/// full again, in microseconds since the start. `governor` cannot check a budget without spending
/// from it, and its keyed limiter grows with the number of keys.
pub struct Budget {
    full_at_micros: Box<[AtomicU64]>,
    started: Instant,
    hasher: RandomState,
    /// Cost of one unit in microseconds.
    unit_micros: u64,
    /// Maximum distance of `full_at_micros` from the current time in microseconds.
    capacity_micros: u64,
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Budget")
    }
}

impl Budget {
    /// Creates budgets of `burst` units, each of which is restored in the time `refill`.
    pub(crate) fn new(burst: u32, refill: Duration) -> Self {
        let unit_micros = micros(refill).max(1);
        Self {
            full_at_micros: (0..BUDGET_CELLS).map(|_| AtomicU64::new(0)).collect(),
            started: Instant::now(),
            hasher: RandomState::new(),
            unit_micros,
            capacity_micros: unit_micros.saturating_mul(u64::from(burst)),
        }
    }

    fn now(&self) -> u64 {
        micros(self.started.elapsed())
    }

    fn cell_of(&self, key: &impl Hash) -> &AtomicU64 {
        let position = usize::try_from(self.hasher.hash_one(key) % BUDGET_CELLS as u64).unwrap_or(0);
        &self.full_at_micros[position]
    }

    pub(crate) fn is_spent(&self, key: &impl Hash) -> bool {
        let after = self.cell_of(key).load(Ordering::Relaxed).saturating_add(self.unit_micros);
        after > self.now().saturating_add(self.capacity_micros)
    }

    /// Spends one unit. If the budget has no room for it, returns the time until it has, and spends
    /// nothing.
    pub(crate) fn spend(&self, key: &impl Hash) -> Result<(), Span> {
        let now = self.now();
        let latest = now.saturating_add(self.capacity_micros);
        let after = |full_at_micros: u64| full_at_micros.max(now).saturating_add(self.unit_micros);
        self.cell_of(key)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |cell| {
                Some(after(cell)).filter(|after| *after <= latest)
            })
            .map(|_| ())
            .map_err(|cell| Span::from_millis(after(cell).saturating_sub(latest).div_ceil(1000)))
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
