//! Design rule 7: unknown, wrong, suspended, expired and revoked keys take the same time. For `scripts/prove`: long.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use keyswap::{
    crypto::random::SystemEntropy,
    domain::{
        api_key_value::{ApiKeyValue, PresentedKey, Secret},
        entropy::Entropy,
        grant::Request,
    },
    service::{exchange, guessing::Source, proof::Attempt},
    telemetry::metrics::Form,
};
use serde_json::json;

use crate::support::{Kind, Server};

/// Five kinds of keys that get nothing; each is compared with the first.
const KINDS: [&str; 5] = ["unknown", "wrong", "suspended", "expired", "revoked"];
/// Keys of each kind: no budget of a credential is spent, and no page of the database is special.
const KEYS: usize = 200;
/// How many are in flight at once: each waits for its tick, so that few would take an hour and leave the cores idle.
const IN_FLIGHT: usize = 48;

/// Running mean and variance (Welford).
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    count: f64,
    mean: f64,
    sum_of_squares: f64,
}

impl Sample {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let before = value - self.mean;
        self.mean += before / self.count;
        self.sum_of_squares += before * (value - self.mean);
    }

    fn error(&self) -> f64 {
        self.sum_of_squares / (self.count - 1.0) / self.count
    }
}

/// Welch's t.
fn t(a: &Sample, b: &Sample) -> f64 {
    (a.mean - b.mean) / (a.error() + b.error()).sqrt()
}

#[test]
fn the_test_sees_a_difference_that_is_there() {
    let (mut a, mut b, mut c) = (Sample::default(), Sample::default(), Sample::default());
    for turn in 0..100_000_u32 {
        let noise = f64::from(turn.wrapping_mul(2_654_435_761) % 1000);
        a.add(noise);
        b.add(999.0 - noise);
        c.add(noise + 10.0);
    }
    assert!(t(&a, &b).abs() < 4.5);
    assert!(t(&a, &c).abs() > 4.5);
}

#[test]
#[ignore = "runs in scripts/prove"]
fn refused_keys_cannot_be_told_apart_by_time() {
    let pairs = std::env::var("KEYSWAP_TIMING_PAIRS").map_or(1_000_000, |text| text.parse().unwrap());
    let settings =
        ["guessing.per_source=1000000", "guessing.per_credential=1000000", "guessing.refill=1ms", "log.level=info"];
    Server::run(Kind::Sqlite, &settings, |server| async move {
        let keys = Arc::new(keys(&server).await);
        let samples = Arc::new(Mutex::new([Sample::default(); KINDS.len()]));
        let left = Arc::new(AtomicUsize::new(pairs));
        let workers: Vec<_> = (0..IN_FLIGHT)
            .map(|_| {
                let (server, keys) = (Arc::clone(&server.app), Arc::clone(&keys));
                let (samples, left) = (Arc::clone(&samples), Arc::clone(&left));
                tokio::spawn(async move {
                    let mut random = Random::new();
                    // The first rounds warm caches and connections.
                    for round in 0.. {
                        if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_err() {
                            return;
                        }
                        for kind in random.order() {
                            let key = &keys[kind][random.below(KEYS)];
                            // Another source each time: no budget is spent.
                            let source = Source::from(IpAddr::V4(Ipv4Addr::from_bits(random.next())));
                            let attempt = Attempt { key, source, form: Form::Exchange };
                            let started = Instant::now();
                            let refused = exchange::exchange(&server, attempt, &Request::default()).await;
                            let took = started.elapsed().as_secs_f64() * 1e6;
                            assert!(matches!(refused, Err(keyswap::service::proof::Denied::Key)), "{refused:?}");
                            if round >= 50 {
                                samples.lock().unwrap()[kind].add(took);
                            }
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.unwrap();
        }
        let samples = *samples.lock().unwrap();
        for (kind, sample) in KINDS.iter().zip(&samples) {
            let deviation = (sample.sum_of_squares / (sample.count - 1.0)).sqrt();
            eprintln!("{kind:<10} {} times, mean {:.2} µs, deviation {deviation:.0} µs", sample.count, sample.mean);
        }
        for (kind, sample) in KINDS.iter().zip(&samples).skip(1) {
            eprintln!("unknown against {kind:<10} t = {:+.2}", t(&samples[0], sample));
        }
        for (kind, sample) in KINDS.iter().zip(&samples).skip(1) {
            assert!(t(&samples[0], sample).abs() < 4.5, "unknown and {kind} keys can be told apart");
        }
    });
}

/// The keys of each kind.
async fn keys(server: &Server) -> Vec<Vec<String>> {
    let secret = || Secret::generate(&SystemEntropy::default()).unwrap();
    let mut all = vec![Vec::new(); KINDS.len()];
    let soon = server.app.store.now().await.unwrap().after("10m".parse().unwrap());
    for number in 0..KEYS {
        for (kind, name) in KINDS.iter().enumerate() {
            let mut body = json!({ "name": "a key", "owner": { "type": "none" }, "permissions": [] });
            if *name == "expired" {
                body["expires_at"] = json!(soon);
            }
            let key = server.key(body).await;
            let known = PresentedKey::parse(&key.value).unwrap();
            all[kind].push(match *name {
                "unknown" => {
                    let id = format!("{number:016}").parse().unwrap();
                    ApiKeyValue::format(&known.prefix, &id, &secret()).expose().to_owned()
                }
                "wrong" => ApiKeyValue::format(&known.prefix, &known.credential, &secret()).expose().to_owned(),
                "suspended" | "revoked" => {
                    server.step(&key, if *name == "revoked" { "revoke" } else { "suspend" }).await;
                    key.value
                }
                _ => key.value,
            });
        }
    }
    server.advance(601);
    all
}

/// Random numbers, fast and not secret.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let mut seed = [0; 8];
        SystemEntropy::default().fill(&mut seed).unwrap();
        Self(u64::from_le_bytes(seed) | 1)
    }

    /// xorshift64*.
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }

    /// The kinds, shuffled.
    fn order(&mut self) -> [usize; KINDS.len()] {
        let mut order = std::array::from_fn(|place| place);
        for place in (1..KINDS.len()).rev() {
            order.swap(place, self.below(place + 1));
        }
        order
    }
}
