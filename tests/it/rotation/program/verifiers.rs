//! Verifiers with caches: each keeps a JWKS for as long as the replicas are told that one may.

use super::deployment::{CACHE, Deployment, Jwks, SKEW};
use crate::support::seed::Chance;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Fetches when what it has is too old.
    Fixed,
    /// Half of its time is a cache's in front, which answers with what it has.
    BehindCache,
    /// Fetches once and never again: what is promised ends with the cache's time.
    Once,
}

#[derive(Debug)]
pub struct Verifier {
    pub habit: Habit,
    pub jwks: Jwks,
    pub fetched: i64,
    /// Milliseconds from the true time.
    pub off: i64,
    /// No replica let it keep what it got.
    unpromised: bool,
}

/// What the cache in front has.
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
    /// How long it uses what it fetched.
    fn lasts(&self) -> i64 {
        let seconds = if self.habit == Habit::BehindCache { CACHE - CACHE / 2 } else { CACHE };
        i64::try_from(seconds).unwrap() * 1000
    }

    /// Whether it answers by what it fetched, and was promised that it can.
    pub fn relies_on_it(&self, now: i64) -> bool {
        !self.unpromised && now - self.fetched <= self.lasts()
    }
}

impl Verifiers {
    pub fn new(chance: &mut Chance) -> Self {
        let habits = [Habit::Fixed, Habit::Fixed, Habit::BehindCache, Habit::Once];
        let verifier = |habit| Verifier {
            habit,
            jwks: Jwks::new(),
            fetched: i64::MIN / 2,
            off: chance.within(SKEW * 1000),
            unpromised: true,
        };
        let mut all: Vec<_> = habits.into_iter().map(verifier).collect();
        // Its clock is late: it takes tokens for longest.
        all[0].off = -i64::try_from(SKEW * 1000).unwrap();
        Self { all, front: None }
    }

    /// Fetches from a replica that is ready, where there is one; `from` chooses.
    pub async fn fetch(&mut self, verifier: usize, deployment: &Deployment, from: usize) {
        let is_ready = |one: &usize| {
            let is_kept = deployment.known(*one).1;
            is_kept || !(deployment.replicas[*one].cut_off || deployment.app(*one).keys.is_halted())
        };
        let (ready, others): (Vec<_>, Vec<_>) = deployment.up().into_iter().partition(is_ready);
        let choices = if ready.is_empty() { others } else { ready };
        if !choices.is_empty() {
            self.fetch_from(verifier, deployment, choices[from % choices.len()]).await;
        }
    }

    /// Fetches from this replica.
    pub async fn fetch_from(&mut self, verifier: usize, deployment: &Deployment, replica: usize) {
        let (jwks, is_certain) = deployment.served(replica).await;
        let fresh = Front { jwks, fetched: deployment.time.truth(), unpromised: !is_certain };
        let now = fresh.fetched;
        let behind = self.all[verifier].habit == Habit::BehindCache;
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

    /// Fills the caches that are over.
    pub async fn renew(&mut self, deployment: &Deployment, from: usize) {
        let now = deployment.time.truth();
        for one in 0..self.all.len() {
            let of = &self.all[one];
            if of.habit != Habit::Once && now - of.fetched > of.lasts() {
                self.fetch(one, deployment, from).await;
            }
        }
    }
}
