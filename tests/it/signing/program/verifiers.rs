//! Verifiers with caches. Each keeps a JWKS for as long as replicas are configured for.

use super::deployment::{CACHE, Deployment, Jwks, SKEW};
use crate::support::seeds::Random;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CachePolicy {
    /// Fetches when its JWKS has expired.
    Fixed,
    /// Half of its caching time belongs to a shared cache, which answers with its stored JWKS.
    BehindCache,
    /// Fetches only once. The guarantee ends with the caching time.
    Once,
}

#[derive(Debug)]
pub struct Verifier {
    pub habit: CachePolicy,
    pub jwks: Jwks,
    pub fetched: i64,
    /// The offset from the true time, in milliseconds.
    pub off: i64,
    /// The last JWKS came without permission to cache it.
    unpromised: bool,
}

/// The contents of the shared cache.
#[derive(Debug, Clone)]
struct Front {
    jwks: Jwks,
    fetched: i64,
    unpromised: bool,
}

pub struct Verifiers {
    pub all: Vec<Verifier>,
    front: Option<Front>,
}

impl Verifier {
    /// How long a fetched JWKS is used, in milliseconds.
    fn lasts(&self) -> i64 {
        let seconds = if self.habit == CachePolicy::BehindCache { CACHE - CACHE / 2 } else { CACHE };
        i64::try_from(seconds).unwrap() * 1000
    }

    /// Whether the verifier uses a JWKS that it was permitted to cache.
    pub fn relies_on_it(&self, now: i64) -> bool {
        !self.unpromised && now - self.fetched <= self.lasts()
    }
}

impl Verifiers {
    pub fn new(chance: &mut Random) -> Self {
        let habits = [CachePolicy::Fixed, CachePolicy::Fixed, CachePolicy::BehindCache, CachePolicy::Once];
        let verifier = |habit| Verifier {
            habit,
            jwks: Jwks::new(),
            fetched: i64::MIN / 2,
            off: chance.within(SKEW * 1000),
            unpromised: true,
        };
        let mut all: Vec<_> = habits.into_iter().map(verifier).collect();
        // Its clock is slow, so it accepts tokens longest.
        all[0].off = -i64::try_from(SKEW * 1000).unwrap();
        Self { all, front: None }
    }

    /// Fetches from a ready replica if there is one; `from` selects it.
    pub async fn fetch(&mut self, verifier: usize, deployment: &Deployment, from: usize) {
        let is_ready = |one: &usize| {
            let is_kept = deployment.known(*one).1;
            is_kept || !(deployment.replicas[*one].cut_off || deployment.services(*one).keys.is_halted())
        };
        let (ready, others): (Vec<_>, Vec<_>) = deployment.up().into_iter().partition(is_ready);
        let choices = if ready.is_empty() { others } else { ready };
        if !choices.is_empty() {
            self.fetch_from(verifier, deployment, choices[from % choices.len()]).await;
        }
    }

    pub async fn fetch_from(&mut self, verifier: usize, deployment: &Deployment, replica: usize) {
        let (jwks, is_certain) = deployment.served(replica).await;
        let fresh = Front { jwks, fetched: deployment.time.truth(), unpromised: !is_certain };
        let now = fresh.fetched;
        let behind = self.all[verifier].habit == CachePolicy::BehindCache;
        let got = if behind { self.through_front(fresh) } else { fresh };
        let of = &mut self.all[verifier];
        (of.jwks, of.fetched, of.unpromised) = (got.jwks, now, got.unpromised);
    }

    fn through_front(&mut self, fresh: Front) -> Front {
        let half = i64::try_from(CACHE / 2).unwrap() * 1000;
        let is_over = |front: &Front| front.unpromised || fresh.fetched - front.fetched > half;
        if self.front.as_ref().is_none_or(is_over) {
            self.front = Some(fresh.clone());
        }
        self.front.clone().unwrap_or(fresh)
    }

    /// Refills expired caches.
    pub async fn refetch(&mut self, deployment: &Deployment, from: usize) {
        let now = deployment.time.truth();
        for one in 0..self.all.len() {
            let of = &self.all[one];
            if of.habit != CachePolicy::Once && now - of.fetched > of.lasts() {
                self.fetch(one, deployment, from).await;
            }
        }
    }
}
