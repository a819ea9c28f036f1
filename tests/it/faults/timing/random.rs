//! A fast random number generator, not for cryptographic use.

use keyswap::{crypto::random::SystemEntropy, domain::common::entropy::Entropy};

pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        let mut seed = [0; 8];
        SystemEntropy::default().fill(&mut seed).unwrap();
        Self(u64::from_le_bytes(seed) | 1)
    }

    /// xorshift64*.
    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }

    /// The numbers below `count` in random order.
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for place in (1..count).rev() {
            order.swap(place, self.below(place + 1));
        }
        order
    }
}
