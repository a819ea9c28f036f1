//! Seeds of random tests: fixed ones, which find again what they found, and those of the day, which try something else each day.

use std::{ops::Range, time::SystemTime};

/// A number: repeats the run with this one seed.
const VARIABLE: &str = "KEYSWAP_TEST_SEED";

/// The fixed seeds and `of_today` of the day, printed; or the one that the environment names.
pub fn seeds(fixed: Range<u64>, of_today: u64) -> Vec<u64> {
    if let Ok(text) = std::env::var(VARIABLE) {
        return vec![text.parse().unwrap_or_else(|_| panic!("{VARIABLE} is no number: {text}"))];
    }
    let day = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 86_400;
    // Apart from the fixed ones, and from those of any other day.
    let first = day * 1_000_000;
    eprintln!("seeds {fixed:?} and {first}..{}; {VARIABLE}=N repeats one", first + of_today);
    fixed.chain(first..first + of_today).collect()
}

/// Random numbers, the same for the same seed (xorshift).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
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

    /// From `-most` to `most`.
    pub fn within(&mut self, most: u64) -> i64 {
        i64::try_from(self.below(2 * most + 1)).unwrap() - i64::try_from(most).unwrap()
    }

    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).unwrap())).unwrap()
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.index(all.len())]
    }

    /// About half of them.
    pub fn some<T: Clone>(&mut self, all: &[T]) -> Vec<T> {
        all.iter().filter(|_| self.one_in(2)).cloned().collect()
    }
}
