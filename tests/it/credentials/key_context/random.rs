//! A deterministic pseudorandom number generator.

use std::sync::Mutex;

use keyswap::domain::common::entropy::{Entropy, EntropyUnavailable};

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.draw() % count as u64).unwrap()
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn pick<T>(&mut self, from: impl ExactSizeIterator<Item = T>) -> Option<T> {
        let count = from.len();
        let mut from = from;
        if count == 0 { None } else { from.nth(self.below(count)) }
    }
}

/// An entropy source with a fixed seed, which makes generated ids reproducible.
pub struct Ids(pub Mutex<Random>);

impl Entropy for Ids {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
        let mut chance = self.0.lock().unwrap();
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&chance.draw().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}
