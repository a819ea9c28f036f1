//! How calls ended, and how long those took that were served.

/// Counts of calls by their end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcomes {
    /// Status 200.
    pub served: u64,
    /// Status 401 or 429.
    pub refused: u64,
    /// Status 503.
    pub shed: u64,
    /// Any other status.
    pub other: u64,
    /// No complete response in time.
    pub unanswered: u64,
}

impl Outcomes {
    /// Counts a call. `None` is one without a response.
    pub fn count(&mut self, status: Option<u16>) {
        let counter = match status {
            Some(200) => &mut self.served,
            Some(401 | 429) => &mut self.refused,
            Some(503) => &mut self.shed,
            Some(_) => &mut self.other,
            None => &mut self.unanswered,
        };
        *counter += 1;
    }

    pub fn add(&mut self, more: &Self) {
        self.served += more.served;
        self.refused += more.refused;
        self.shed += more.shed;
        self.other += more.other;
        self.unanswered += more.unanswered;
    }

    /// The calls that the server has decided, whatever the result.
    pub const fn answered(&self) -> u64 {
        self.served + self.refused + self.other
    }

    pub const fn total(&self) -> u64 {
        self.answered() + self.shed + self.unanswered
    }

    /// The part of the calls that was answered 503 or not at all.
    pub fn unserved_share(&self) -> f64 {
        (self.shed + self.unanswered) as f64 / self.total().max(1) as f64
    }
}

/// The calls of one kind that legitimate clients made.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    pub outcomes: Outcomes,
    /// The latencies of served calls in microseconds, in ascending order.
    latencies: Vec<u32>,
}

/// Exchanges, validations and management calls.
pub type LegitimateCalls = [Calls; 3];

/// The names of the kinds, in the order of `LegitimateCalls`.
pub const KINDS: [&str; 3] = ["exchange", "validation", "management"];

impl Calls {
    /// Counts a call that was served after this time.
    pub fn count_served(&mut self, micros: u128) {
        self.outcomes.count(Some(200));
        self.latencies.push(u32::try_from(micros).unwrap_or(u32::MAX));
    }

    pub fn add(&mut self, more: &Self) {
        self.outcomes.add(&more.outcomes);
        self.latencies.extend_from_slice(&more.latencies);
        self.latencies.sort_unstable();
    }

    /// The p99 of all calls, in microseconds. A call that was not served counts as infinitely long.
    pub fn p99(&self) -> f64 {
        self.percentile(0.99, self.outcomes.total())
    }

    pub fn p99_of_served(&self) -> f64 {
        self.percentile(0.99, self.outcomes.served)
    }

    pub fn median_of_served(&self) -> f64 {
        self.percentile(0.5, self.outcomes.served)
    }

    pub fn longest_served(&self) -> f64 {
        self.percentile(1.0, self.outcomes.served)
    }

    /// The quantile `part` of `count` calls, of which those without a latency are the longest.
    fn percentile(&self, part: f64, count: u64) -> f64 {
        let last = count.saturating_sub(1) as f64;
        self.latencies.get((last * part).round() as usize).copied().map_or(f64::INFINITY, f64::from)
    }
}

/// The calls of all kinds together.
pub fn sum_outcomes(calls: &LegitimateCalls) -> Outcomes {
    let mut sum = Outcomes::default();
    calls.iter().for_each(|calls| sum.add(&calls.outcomes));
    sum
}
