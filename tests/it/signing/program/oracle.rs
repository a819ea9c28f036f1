//! The invariants as observed from outside: in the rows, in what replicas serve and sign, and in
//! the caches of verifiers. Derived from the invariants, independently of the planner.

use std::collections::{BTreeMap, BTreeSet};

use keyswap::{
    domain::{common::time::Timestamp, signing::SigningKeyState},
    service::signing::Revocation,
    store::signing::stored_keys::StoredSigningKey,
};
use serde_json::Value;

use super::{
    deployment::{CACHE, Deployment, LEEWAY, PERIOD, SKEW, STALENESS, TTL},
    verifiers::Verifiers,
};

/// In milliseconds.
pub const SECOND: i64 = 1000;

/// An observed signing key. All times in this module are true times, in milliseconds since 1970.
#[derive(Debug, Clone)]
struct Seen {
    jwk: Value,
    state: SigningKeyState,
    /// The time from which every replica can see the key.
    published: i64,
    /// The time at which the key was last observed as active.
    active: Option<i64>,
    destroyed: Option<i64>,
}

/// The token of a key that expires last.
#[derive(Debug, Clone)]
struct Token {
    jwk: Value,
    /// The time at which the last verifier with a correct clock stops accepting it.
    dead: i64,
}

/// The guarantees in the response to an emergency revocation.
#[derive(Debug, Clone)]
struct Invariant {
    kid: String,
    unpublished_by: i64,
    accepted_until: i64,
}

#[derive(Debug, Default)]
pub struct Oracle {
    keys: BTreeMap<String, Seen>,
    tokens: BTreeMap<String, Token>,
    promises: Vec<Invariant>,
    /// Keys whose tokens have no guarantee of acceptance, until the given time.
    /// `i64::MAX` means permanently.
    unpromised: BTreeMap<String, i64>,
    /// The keys that were published when an older state was restored, until the operator has
    /// decided.
    restored: Option<BTreeSet<String>>,
    pub rotations: usize,
    pub emergencies: usize,
    pub jumps: usize,
    pub restores: usize,
}

fn kid_of(key: &StoredSigningKey) -> String {
    key.info.kid.as_str().to_owned()
}

fn is_of(key: &StoredSigningKey, state: SigningKeyState) -> bool {
    key.info.state == state
}

impl Oracle {
    pub const fn is_restored(&self) -> bool {
        self.restored.is_some()
    }

    pub fn published(&self) -> impl Iterator<Item = &String> {
        // Ordered by age, because kids differ between runs.
        let mut all: Vec<_> = self.keys.iter().filter(|(_, seen)| seen.state.is_published()).collect();
        all.sort_by_key(|(_, seen)| (seen.published, seen.state));
        all.into_iter().map(|(kid, _)| kid)
    }

    /// Reads and checks the rows.
    pub async fn observe(&mut self, deployment: &Deployment) -> Result<(), String> {
        if self.is_restored() {
            return Ok(());
        }
        let (keys, now) = (deployment.keys().await, deployment.time.truth());
        self.check_rows(&keys)?;
        for kid in self.keys.keys() {
            if !keys.iter().any(|key| kid_of(key) == *kid) {
                return Err(format!("K12: the row of {kid} is gone"));
            }
        }
        for key in &keys {
            self.see(key, now)?;
        }
        Ok(())
    }

    fn see(&mut self, key: &StoredSigningKey, now: i64) -> Result<(), String> {
        let (kid, state) = (kid_of(key), key.info.state);
        let jwk: Value = serde_json::from_str(&key.public_jwk).unwrap();
        let before = self.keys.get(&kid);
        if let Some(before) = before {
            if before.jwk != jwk {
                return Err(format!("K12: {kid} is another key now"));
            }
            if state < before.state {
                return Err(format!("{kid} went back from {:?} to {state:?}", before.state));
            }
        }
        let was_active = before.is_some_and(|seen| seen.state == SigningKeyState::Active);
        let is_active = state == SigningKeyState::Active;
        self.rotations += usize::from(is_active && !was_active && before.is_some());
        let active = if was_active || is_active { Some(now) } else { before.and_then(|seen| seen.active) };
        let destroyed =
            key.encrypted_private_key.is_none().then(|| before.and_then(|seen| seen.destroyed).unwrap_or(now));
        let published = before.map_or(now, |seen| seen.published);
        self.keys.insert(kid, Seen { jwk, state, published, active, destroyed });
        Ok(())
    }

    fn check_rows(&self, keys: &[StoredSigningKey]) -> Result<(), String> {
        let count = |state| keys.iter().filter(|key| is_of(key, state)).count();
        if count(SigningKeyState::Active) != 1 {
            return Err(format!("K11, K14: {} keys are active", count(SigningKeyState::Active)));
        }
        if count(SigningKeyState::Next) > 1 {
            return Err("K13: more than one key is next".to_owned());
        }
        if keys.iter().map(kid_of).collect::<BTreeSet<_>>().len() != keys.len() {
            return Err("K12: a kid was given twice".to_owned());
        }
        for key in keys {
            let (state, has_private_half) = (key.info.state, key.encrypted_private_key.is_some());
            let signs = matches!(state, SigningKeyState::Active | SigningKeyState::Next);
            if signs && !has_private_half {
                return Err(format!("K14: {} has no private half", key.info.kid));
            }
            if has_private_half && (!state.is_published() || key.info.destroyed_at.is_some()) {
                return Err(format!("K17: {} is gone and has its private half", key.info.kid));
            }
        }
        let published = keys.iter().filter(|key| key.info.state.is_published()).count();
        let whole = CACHE + 2 * STALENESS + TTL + LEEWAY + 2 * SKEW;
        // A clock jump or a restore restarts every propagation delay; an emergency adds a key.
        let more = 2 * self.jumps + 2 * self.restores + self.emergencies;
        let most = usize::try_from(whole.div_ceil(PERIOD)).unwrap() + 2 + more;
        if published > most {
            return Err(format!("K16: {published} keys are published, of {most} at most"));
        }
        Ok(())
    }

    /// Records that a replica signed a token that expires at `exp`, in database time.
    pub fn signed(&mut self, deployment: &Deployment, kid: &str, jwk: &Value, exp: i64) -> Result<(), String> {
        let now = deployment.time.truth();
        if self.is_restored() {
            return Err("K3: a replica signs with a rolled back database that was not accepted".to_owned());
        }
        let key = self.keys.get(kid).ok_or_else(|| format!("{kid} signs and is not in the database"))?;
        if key.jwk != *jwk {
            return Err(format!("K4: {kid} signs by another key than the one that is published"));
        }
        if key.active.is_none_or(|active| now - active > i64::try_from(STALENESS).unwrap() * SECOND) {
            return Err(format!("K5: {kid} signs, and was active at {:?} last; it is {now}", key.active));
        }
        if key.destroyed.is_some_and(|at| at < now) && key.state != SigningKeyState::Revoked {
            return Err(format!("K17: {kid} signs, and its private half was destroyed"));
        }
        let dead = exp - deployment.time.offset() + i64::try_from(LEEWAY).unwrap() * SECOND;
        let token = self.tokens.entry(kid.to_owned()).or_insert_with(|| Token { jwk: jwk.clone(), dead });
        token.dead = token.dead.max(dead);
        Ok(())
    }

    /// Records an emergency revocation, whose guarantees must hold. If clocks may be set, the time
    /// at which verifiers have the successor is not checked.
    pub fn revoked(&mut self, revoked: &Revocation, deployment: &Deployment, clock_is_set: bool) {
        self.emergencies += 1;
        let truth = |at: Timestamp| at.millis() - deployment.time.offset();
        let kid = revoked.revoked.info.kid.as_str().to_owned();
        self.unpromised.insert(kid.clone(), i64::MAX);
        if let Some(successor) = &revoked.activated {
            let known = if clock_is_set { i64::MAX } else { truth(revoked.bounds.successor_known_by) };
            self.unpromised.entry(successor.info.kid.as_str().to_owned()).or_insert(known);
        }
        let (unpublished_by, accepted_until) =
            (truth(revoked.bounds.unpublished_by), truth(revoked.bounds.accepted_until));
        self.promises.push(Invariant { kid, unpublished_by, accepted_until });
    }

    /// Records that an older state was restored.
    pub fn restored(&mut self) {
        self.restores += 1;
        self.restored = Some(self.published().cloned().collect());
    }

    /// Records that the newest state was restored again.
    pub fn undone(&mut self) {
        self.restored = None;
    }

    /// Records that the operator accepted the current state.
    pub async fn accepted(&mut self, deployment: &Deployment) {
        let Some(before) = self.restored.take() else { return };
        let keys = deployment.keys().await;
        let published: BTreeSet<_> = keys.iter().filter(|key| key.info.state.is_published()).map(kid_of).collect();
        // Keys published after the backup are lost. Keys that signed and were removed after the
        // backup are back, and verifiers may have dropped them.
        let lost = before.difference(&published).cloned();
        let back = keys.iter().filter(|key| key.info.activated_at.is_some()).map(kid_of);
        let back = back.filter(|kid| !before.contains(kid));
        self.unpromised.extend(lost.chain(back).map(|kid| (kid, i64::MAX)));
        self.promises.retain(|promise| !published.contains(&promise.kid));
        // From here on, only the rows determine the state of each key and its times.
        let now = deployment.time.truth();
        let earlier = std::mem::take(&mut self.keys);
        for key in &keys {
            let (kid, jwk) = (kid_of(key), serde_json::from_str(&key.public_jwk).unwrap());
            let stays = earlier.get(&kid).filter(|seen| seen.state.is_published());
            let seen = Seen {
                jwk,
                state: key.info.state,
                published: stays.map_or(now, |seen| seen.published),
                active: is_of(key, SigningKeyState::Active).then_some(now).or(stays.and_then(|seen| seen.active)),
                destroyed: key.encrypted_private_key.is_none().then_some(now),
            };
            self.keys.insert(kid, seen);
        }
    }

    /// Checks everything that must hold at any time.
    pub fn check(&mut self, deployment: &Deployment, verifiers: &Verifiers) -> Result<(), String> {
        let now = deployment.time.truth();
        self.tokens.retain(|_, token| now < token.dead + i64::try_from(SKEW).unwrap() * SECOND);
        self.check_served(deployment, now)?;
        for verifier in &verifiers.all {
            if !verifier.relies_on_it(now) {
                continue;
            }
            let (habit, fetched) = (verifier.habit, verifier.fetched);
            for (kid, token) in &self.tokens {
                let is_promised = self.unpromised.get(kid).is_none_or(|until| *until < now);
                let is_valid = now + verifier.off < token.dead;
                if is_promised && is_valid && verifier.jwks.get(kid) != Some(&token.jwk) {
                    return Err(format!(
                        "K1, K2: at {now} a verifier ({habit:?}, fetched {fetched}) refuses a token by {kid}, which is good until {}",
                        token.dead
                    ));
                }
            }
            let revoked =
                |promise: &&Invariant| now > promise.accepted_until && verifier.jwks.contains_key(&promise.kid);
            if let Some(promise) = self.promises.iter().find(revoked).filter(|_| !self.is_restored()) {
                return Err(format!("K7: a verifier ({habit:?}, fetched {fetched}) takes {} at {now}", promise.kid));
            }
        }
        Ok(())
    }

    /// A ready replica serves every key that has been published for longer than the staleness
    /// limit, regardless of earlier faults.
    fn check_served(&self, deployment: &Deployment, now: i64) -> Result<(), String> {
        let stale = i64::try_from(STALENESS).unwrap() * SECOND;
        for replica in deployment.up() {
            let (served, is_certain) = deployment.known(replica);
            if !is_certain && !self.is_restored() {
                continue;
            }
            let is_gone = |promise: &&Invariant| now > promise.unpublished_by && served.contains_key(&promise.kid);
            if let Some(promise) = self.promises.iter().find(is_gone) {
                return Err(format!("K7: replica {replica} serves {}, which was revoked", promise.kid));
            }
            let must = |kid: &&String| match &self.restored {
                Some(published) => published.contains(*kid),
                None => now - self.keys[*kid].published > stale,
            };
            if let Some(kid) = self.published().filter(must).find(|kid| !served.contains_key(*kid)) {
                return Err(format!("K3: replica {replica} does not serve {kid} at {now}"));
            }
        }
        Ok(())
    }
}
