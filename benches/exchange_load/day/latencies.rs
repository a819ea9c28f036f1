//! Latencies of millions of requests in a few kilobytes.

/// The significant bits that are kept of a latency, which is therefore exact to less than 1 %.
const SIGNIFICANT_BITS: u32 = 8;

/// Counts of latencies in microseconds.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    /// The number of latencies in each bucket.
    buckets: Vec<u64>,
    count: u64,
    longest: u32,
}

impl Latencies {
    pub fn add(&mut self, micros: u128) {
        let micros = u32::try_from(micros).unwrap_or(u32::MAX);
        let bucket = bucket_of(micros);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.longest = self.longest.max(micros);
    }

    pub const fn count(&self) -> u64 {
        self.count
    }

    pub fn longest(&self) -> f64 {
        self.longest.into()
    }

    /// The quantile `part` in microseconds: the longest latency of its bucket.
    pub fn percentile(&self, part: f64) -> f64 {
        let rank = ((self.count as f64 * part).ceil() as u64).max(1);
        let mut passed = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            passed += count;
            if passed >= rank {
                return end_of(bucket).min(self.longest());
            }
        }
        0.0
    }
}

/// The bucket of a latency. The number of dropped bits is above the bits that are kept.
const fn bucket_of(micros: u32) -> usize {
    let dropped = (u32::BITS - micros.leading_zeros()).saturating_sub(SIGNIFICANT_BITS);
    ((dropped << SIGNIFICANT_BITS) | (micros >> dropped)) as usize
}

/// The longest latency of a bucket, in microseconds.
fn end_of(bucket: usize) -> f64 {
    let (dropped, kept) = (bucket >> SIGNIFICANT_BITS, bucket & ((1 << SIGNIFICANT_BITS) - 1));
    (((kept as u64 + 1) << dropped) - 1) as f64
}
