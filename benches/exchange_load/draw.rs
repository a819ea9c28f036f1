//! The draw of keys: which of the stored keys the next request contains.

use clap::ValueEnum;

/// How often each key is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Draw {
    /// All keys equally often.
    Uniform,
    /// The key of rank k with a frequency of 1/k.
    Zipf,
    /// A thousand keys equally often, and the others never.
    Hot,
}

/// The keys that `Draw::Hot` draws.
const HOT_KEYS: u64 = 1_000;

/// The part of the keys that lies between two successive ranks.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;

impl Draw {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipf => "Zipf",
            Self::Hot => "hot",
        }
    }
}

/// A generator of random numbers (xorshift64*). They need not be unpredictable.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of one of 65,536 sequences.
    pub fn new(sequence: u16) -> Self {
        Self(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(sequence) + 1))
    }

    fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 to `count` - 1.
    fn below(&mut self, count: u64) -> u64 {
        (self.number() >> 32) % count
    }

    /// A number from 0 up to, but not including, 1.
    fn fraction(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Draws the positions of keys.
#[derive(Debug, Clone, Copy)]
pub struct KeySampler {
    draw: Draw,
    count: u64,
    /// Coprime to `count`.
    factor: u64,
    zipf: Zipf,
}

impl KeySampler {
    pub fn new(draw: Draw, count: usize) -> Self {
        let count = u64::try_from(count).expect("a number of keys");
        Self { draw, count, factor: coprime_factor(count), zipf: Zipf::new(count) }
    }

    /// The same keys with another draw.
    pub const fn with_draw(self, draw: Draw) -> Self {
        Self { draw, ..self }
    }

    pub fn sample(&self, random: &mut Random) -> usize {
        let position = match self.draw {
            Draw::Uniform => random.below(self.count),
            Draw::Zipf => self.scatter(self.zipf.sample(random) - 1),
            Draw::Hot => self.scatter(random.below(HOT_KEYS.min(self.count))),
        };
        usize::try_from(position).expect("the position of a key")
    }

    /// Maps ranks to keys, one to one. The keys of neighbouring ranks are far from each other, so
    /// that hot keys are not the ones that were created first.
    const fn scatter(&self, rank: u64) -> u64 {
        rank * self.factor % self.count
    }
}

fn coprime_factor(count: u64) -> u64 {
    let mut factor = ((count as f64 * GOLDEN_RATIO) as u64).max(1);
    while greatest_common_divisor(factor, count) != 1 {
        factor += 1;
    }
    factor
}

const fn greatest_common_divisor(mut one: u64, mut other: u64) -> u64 {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// The Zipf distribution with the exponent 1 over the ranks from 1 to `count`, sampled exactly by
/// rejection-inversion (Hörmann and Derflinger 1996): the curve 1/x, whose integral is the
/// logarithm, is inverted, and the part of a bar that the curve does not cover is rejected.
#[derive(Debug, Clone, Copy)]
struct Zipf {
    count: f64,
    /// The integrals at the ends of the curve.
    first: f64,
    last: f64,
    /// A rank at most this far above the point of the curve is accepted without its integral.
    accepted: f64,
}

impl Zipf {
    fn new(count: u64) -> Self {
        let count = count as f64;
        Self { count, first: 1.5_f64.ln() - 1.0, last: (count + 0.5).ln(), accepted: 2.0 - (2.5_f64.ln() - 0.5).exp() }
    }

    fn sample(&self, random: &mut Random) -> u64 {
        loop {
            let integral = self.last + random.fraction() * (self.first - self.last);
            let point = integral.exp();
            let rank = (point + 0.5).trunc().clamp(1.0, self.count);
            if rank - point <= self.accepted || integral >= (rank + 0.5).ln() - 1.0 / rank {
                return rank as u64;
            }
        }
    }
}
