//! Seeds of randomized tests. Fixed seeds reproduce earlier findings; daily seeds cover new cases.

use std::{ops::Range, time::SystemTime};

/// Environment variable with a seed number. If it is set, only this seed runs.
const VARIABLE: &str = "KEYSWAP_TEST_SEED";

/// Returns the fixed seeds and `of_today` seeds of the current day, and prints both ranges. If the
/// environment variable is set, only its seed is returned.
pub fn seeds(fixed: Range<u64>, of_today: u64) -> Vec<u64> {
    if let Ok(text) = std::env::var(VARIABLE) {
        return vec![text.parse().unwrap_or_else(|_| panic!("{VARIABLE} is no number: {text}"))];
    }
    let day = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 86_400;
    // The daily seeds overlap neither the fixed ones nor those of another day.
    let first = day * 1_000_000;
    eprintln!("seeds {fixed:?} and {first}..{}; {VARIABLE}=N repeats one", first + of_today);
    fixed.chain(first..first + of_today).collect()
}

/// A xorshift generator. Equal seeds give equal sequences.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A number from `-most` to `most`, inclusive.
    pub fn within(&mut self, most: u64) -> i64 {
        i64::try_from(self.below(2 * most + 1)).unwrap() - i64::try_from(most).unwrap()
    }

    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).unwrap())).unwrap()
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.index(all.len())]
    }

    /// A random subset: each item with probability 1/2.
    pub fn subset<T: Clone>(&mut self, all: &[T]) -> Vec<T> {
        all.iter().filter(|_| self.one_in(2)).cloned().collect()
    }
}
