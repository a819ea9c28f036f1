//! Comparison of means with Welch's t-test, and cropping of the slow tail of samples.

/// Times in microseconds.
#[derive(Debug, Clone, Default)]
pub struct Sample(pub Vec<f32>);

/// Count, mean and standard deviation.
#[derive(Debug, Clone, Copy)]
pub struct Moments {
    pub count: f64,
    pub mean: f64,
    pub deviation: f64,
}

impl Sample {
    pub fn moments(&self) -> Moments {
        let count = self.0.len() as f64;
        let mean = self.0.iter().copied().map(f64::from).sum::<f64>() / count;
        let squares: f64 = self.0.iter().map(|one| (f64::from(*one) - mean).powi(2)).sum();
        Moments { count, mean, deviation: (squares / (count - 1.0)).sqrt() }
    }

    /// The times below a bound.
    fn below(&self, bound: f32) -> Self {
        Self(self.0.iter().copied().filter(|one| *one < bound).collect())
    }
}

/// Each sample without times above the third quartile of all samples together. The slow tail shows
/// interference by other processes, not the work that is measured.
pub fn cropped(samples: &[Sample]) -> Vec<Sample> {
    let mut all: Vec<f32> = samples.iter().flat_map(|sample| sample.0.iter().copied()).collect();
    all.sort_by(f32::total_cmp);
    let bound = all[all.len() * 3 / 4];
    samples.iter().map(|sample| sample.below(bound)).collect()
}

/// Welch's t statistic.
pub fn t(a: Moments, b: Moments) -> f64 {
    let error = |one: Moments| one.deviation * one.deviation / one.count;
    (a.mean - b.mean) / (error(a) + error(b)).sqrt()
}

/// The threshold of |t| above which two samples are distinguishable.
pub const DISTINGUISHABLE: f64 = 4.5;

#[test]
fn welch_test_detects_a_difference() {
    let mut samples = [Sample::default(), Sample::default(), Sample::default()];
    for turn in 0..100_000_u32 {
        let noise = (turn.wrapping_mul(2_654_435_761) % 1000) as f32;
        samples[0].0.push(noise);
        samples[1].0.push(999.0 - noise);
        samples[2].0.push(noise + 30.0);
    }
    for samples in [samples.to_vec(), cropped(&samples)] {
        let [a, b, c] = [samples[0].moments(), samples[1].moments(), samples[2].moments()];
        assert!(t(a, b).abs() < DISTINGUISHABLE);
        assert!(t(a, c).abs() > DISTINGUISHABLE);
    }
}
