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

/// Number of cells of a row.
const ROW_CELLS: usize = 1 << 16;

/// The generic cell rate algorithm. Each cell holds one number: the time at which its budget is
/// full again, in microseconds since the start. `governor` cannot check a budget without spending
/// from it, and its keyed limiter grows with the number of keys.
///
/// A key has one cell in each of two rows. It spends from both, and is refused only if both are
/// spent. While the budgets of `n` other keys are spent, both cells of a key are spent by others
/// with a probability of about (n / 65,536)²: 2 in a million for 100 keys. In one row it would be
/// 1 in 655. The hashes are seeded, so an attacker cannot choose a collision. A key that shares one
/// cell with a spent one may spend up to twice its budget.
///
/// A change of the rate keeps what is spent, as the time until it is restored.
pub struct Budget {
    rows: [Row; 2],
    started: Instant,
}

/// How much a budget holds, and how fast it is restored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BudgetRate {
    /// Cost of one unit in microseconds.
    unit_micros: u64,
    /// Maximum distance of a cell from the current time in microseconds.
    capacity_micros: u64,
}

impl BudgetRate {
    /// `burst` units, each of which is restored in the time `refill`.
    pub(crate) fn new(burst: u32, refill: Duration) -> Self {
        let unit_micros = micros(refill).max(1);
        Self { unit_micros, capacity_micros: unit_micros.saturating_mul(u64::from(burst)) }
    }

    /// Returns the time until a cell has room for one unit: 0 if it has.
    fn wait_micros(self, cell: u64, now: u64) -> u64 {
        let after = cell.max(now).saturating_add(self.unit_micros);
        after.saturating_sub(now.saturating_add(self.capacity_micros))
    }
}

/// Cells, and the hash that selects one of them.
struct Row {
    full_at_micros: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Row {
    fn new() -> Self {
        // Each hasher has a seed of its own.
        Self { full_at_micros: (0..ROW_CELLS).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::new() }
    }

    fn position_of(&self, key: &impl Hash) -> usize {
        usize::try_from(self.hasher.hash_one(key) % ROW_CELLS as u64).unwrap_or(0)
    }

    fn cell_of(&self, key: &impl Hash) -> &AtomicU64 {
        &self.full_at_micros[self.position_of(key)]
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Budget")
    }
}

impl Default for Budget {
    /// Creates budgets of which nothing is spent.
    fn default() -> Self {
        Self { rows: [Row::new(), Row::new()], started: Instant::now() }
    }
}

impl Budget {
    fn now(&self) -> u64 {
        micros(self.started.elapsed())
    }

    pub(crate) fn is_spent(&self, rate: BudgetRate, key: &impl Hash) -> bool {
        self.require_unspent(rate, key).is_err()
    }

    /// If the budget has no room for one unit, returns the time until it has.
    pub(crate) fn require_unspent(&self, rate: BudgetRate, key: &impl Hash) -> Result<(), Span> {
        let now = self.now();
        let waits = self.rows.each_ref().map(|row| rate.wait_micros(row.cell_of(key).load(Ordering::Relaxed), now));
        admit_without_wait(waits)
    }

    /// Spends one unit. If the budget has no room for it, returns the time until it has, and spends
    /// nothing.
    pub(crate) fn spend(&self, rate: BudgetRate, key: &impl Hash) -> Result<(), Span> {
        let now = self.now();
        let after =
            |cell: u64| (rate.wait_micros(cell, now) == 0).then(|| cell.max(now).saturating_add(rate.unit_micros));
        let waits = self.rows.each_ref().map(|row| {
            let spent = row.cell_of(key).fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
            spent.map_or_else(|cell| rate.wait_micros(cell, now), |_| 0)
        });
        admit_without_wait(waits)
    }
}

/// One cell with room is enough.
fn admit_without_wait([one, other]: [u64; 2]) -> Result<(), Span> {
    match one.min(other) {
        0 => Ok(()),
        wait => Err(Span::from_millis(wait.div_ceil(1000))),
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(burst: u32) -> BudgetRate {
        BudgetRate::new(burst, Duration::from_secs(30))
    }

    /// Returns a key that shares the cell of key 0 in this row, and no other cell.
    fn neighbour(budget: &Budget, row: usize) -> u32 {
        let shares = |key: u32| budget.rows.each_ref().map(|one| one.position_of(&key) == one.position_of(&0_u32));
        let expected = [row == 0, row == 1];
        (1..).find(|key| shares(*key) == expected).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn key_is_refused_only_if_both_of_its_cells_are_spent() {
        for row in [0, 1] {
            let (budget, rate) = (Budget::default(), rate(2));
            let neighbour = neighbour(&budget, row);
            assert_eq!([budget.spend(rate, &neighbour), budget.spend(rate, &neighbour)], [Ok(()), Ok(())]);
            assert!(budget.is_spent(rate, &neighbour) && !budget.is_spent(rate, &0_u32));
            assert_eq!([budget.spend(rate, &0_u32), budget.spend(rate, &0_u32)], [Ok(()), Ok(())]);
            assert_eq!(budget.spend(rate, &0_u32), Err(Span::from_secs(30)));
        }
        let budget = Budget::default();
        for row in [0, 1] {
            assert_eq!(budget.spend(rate(1), &neighbour(&budget, row)), Ok(()));
        }
        assert!(budget.is_spent(rate(1), &0_u32), "both cells are spent by others");
    }

    #[tokio::test(start_paused = true)]
    async fn check_spends_nothing() {
        let budget = Budget::default();
        for _ in 0..3 {
            assert_eq!(budget.require_unspent(rate(1), &0_u32), Ok(()));
        }
        assert_eq!(budget.spend(rate(1), &0_u32), Ok(()));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(budget.require_unspent(rate(1), &0_u32), Err(Span::from_secs(20)));
    }

    #[tokio::test(start_paused = true)]
    async fn change_of_the_rate_keeps_what_is_spent() {
        let budget = Budget::default();
        assert_eq!([budget.spend(rate(2), &0_u32), budget.spend(rate(2), &0_u32)], [Ok(()), Ok(())]);
        assert!(budget.is_spent(rate(2), &0_u32));
        assert_eq!(budget.spend(rate(3), &0_u32), Ok(()), "one more is allowed");
        assert_eq!(budget.spend(rate(3), &0_u32), Err(Span::from_secs(30)));
        assert_eq!(budget.spend(rate(2), &0_u32), Err(Span::from_secs(60)), "with the earlier rate again");
    }
}
