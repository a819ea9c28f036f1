//! A model of a deployment: a database with a clock that can be set, replicas with snapshots,
//! verifiers with caches, and tokens. Time advances in ticks of one second. Only
//! `domain::rotation` moves the keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use keyswap::domain::{
    common::time::{Span, Timestamp},
    signing::{
        Algorithm, SigningKeyMetadata, SigningKeyState,
        rotation::{ClockReading, ClockStability, RotationRules, RotationStep, RotationTiming},
    },
};

/// An injected fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    None,
    /// A key signs one tick before every verifier can have it.
    Early,
    /// A key is removed one tick before its last token becomes invalid.
    Gone,
    /// A replica signs with a snapshot of any age.
    NoSnapshotAgeLimit,
    /// A new key gets the kid of a removed key.
    SameKid,
    /// A key counts as visible from the beginning of its transaction.
    CountsBeforeCommit,
    /// The clock is not monitored.
    NoClockMonitor,
    /// A starting server loses the recorded time of the last clock check.
    ForgetsClock,
    /// A clock check is trusted at a later time, even if the clock was set in between.
    TwoClockReads,
    /// A restored database is not detected.
    NoRollbackGuard,
    /// The rollback guard records the position in the audit log, but no keys.
    NoKeysInRollbackGuard,
    /// A restored database is accepted with the propagation delays recorded in it.
    AcceptsWithDelays,
}

/// Durations, in ticks. Replicas, caches and clocks exhaust them to the last tick.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub cache: u64,
    pub staleness: u64,
    pub leeway: u64,
    pub skew: u64,
    pub ttl: u64,
    pub period: u64,
    /// The longest time from a transaction's first reading of the clock to its commit.
    pub commit: u64,
}

impl Bounds {
    pub fn timing(&self, mutant: Mutant) -> RotationTiming {
        // The skew covers a key whose two times come from two clocks. Here both come from one
        // clock, so the skew is additional slack.
        let early = if mutant == Mutant::Early { 1 + self.skew } else { 0 };
        let gone = u64::from(mutant == Mutant::Gone);
        RotationTiming {
            verifier_cache_ttl: Span::from_secs(self.cache - early),
            replica_staleness: Span::from_secs(self.staleness),
            verifier_leeway: Span::from_secs(self.leeway - gone),
            clock_skew: Span::from_secs(self.skew),
            max_ttl: Span::from_secs(self.ttl),
        }
    }
}

/// A signing key. `material` numbers key pairs in the order of their creation, and is not
/// published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub info: SigningKeyMetadata,
    pub material: u32,
    pub has_private_half: bool,
    /// The true time of the commit, from which every replica can see the key.
    pub committed: i64,
}

pub type Jwks = BTreeMap<String, u32>;

#[derive(Debug, Clone)]
pub struct Replica {
    pub up: bool,
    pub cut_off: bool,
    pub keys: Vec<Key>,
    /// The true time and the database time of the last refresh.
    pub looked: i64,
    pub looked_database: i64,
    pub watched: Option<ClockReading>,
    /// The offset of the machine clock from the true time.
    pub off: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Fetches only when its JWKS has expired.
    Fixed,
    /// Like `Fixed`, and also fetches for an unknown kid, except during a cool-down.
    Refetching,
    /// Half of its caching time belongs to a shared cache, which answers with its stored JWKS.
    BehindCache,
    /// Fetches only once. The guarantee ends with the caching time.
    Once,
}

#[derive(Debug, Clone)]
pub struct Verifier {
    pub kind: Kind,
    pub jwks: Jwks,
    pub fetched: i64,
    pub off: i64,
    /// No replica was ready at the last fetch, so the JWKS may be older than any guarantee
    /// covers (docs/development/decisions/025-signing-key-rotation.md).
    pub unpromised: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    pub kid: String,
    pub material: u32,
    /// In database time at the time of signing.
    pub exp: i64,
    /// The offset of the database clock at the time of signing.
    pub wrong: i64,
}

#[derive(Debug, Clone)]
pub struct Model {
    pub bounds: Bounds,
    pub mutant: Mutant,
    /// The true time, in ticks.
    pub now: i64,
    /// The offset of the database clock from the true time.
    pub offset: i64,
    pub steady: i64,
    pub noted: i64,
    pub keys: Vec<Key>,
    /// The key of an uncommitted transaction, and the true time of its commit.
    pub writing: Option<(Key, i64)>,
    pub made: u32,
    pub replicas: Vec<Replica>,
    pub verifiers: Vec<Verifier>,
    /// The shared cache: its JWKS, the time of the fetch, and whether it lacks a guarantee.
    pub front: (Jwks, i64, bool),
    pub tokens: BTreeSet<Token>,
    pub revoked: BTreeSet<u32>,
    pub rotations: u32,
    pub jumps: usize,
    /// The machines use the database clock: setting one sets all.
    pub shared: bool,
    /// A change of the clock between the clock check and the plan of the next tick.
    pub sneaks: i64,
    /// A backup: the keys, and the recorded state of the clock.
    pub backup: Option<Saved>,
    /// The newest state while an older one is restored. The rollback guard, outside of the
    /// database, has recorded it.
    pub newest: Option<Saved>,
    pub restores: usize,
}

#[derive(Debug, Clone)]
pub struct Saved {
    keys: Vec<Key>,
    steady: i64,
    noted: i64,
}

const fn at(ticks: i64) -> Timestamp {
    Timestamp::from_millis(ticks * 1000)
}

fn kid(material: u32) -> String {
    format!("{material:0>43}")
}

impl Model {
    pub fn new(bounds: Bounds, mutant: Mutant, replicas: usize, verifiers: &[Kind]) -> Self {
        let mut model = Self {
            bounds,
            mutant,
            now: 1000,
            offset: 0,
            steady: 0,
            noted: 0,
            keys: Vec::new(),
            writing: None,
            made: 0,
            replicas: Vec::new(),
            verifiers: Vec::new(),
            front: (Jwks::new(), i64::MIN / 2, false),
            tokens: BTreeSet::new(),
            revoked: BTreeSet::new(),
            rotations: 0,
            jumps: 0,
            shared: false,
            sneaks: 0,
            backup: None,
            newest: None,
            restores: 0,
        };
        // The first start creates an active and a next key in one transaction. Both count as
        // visible at once, because no verifier has fetched a JWKS before (invariant K10).
        for state in [SigningKeyState::Active, SigningKeyState::Next] {
            let mut key = model.new_key();
            key.info.state = state;
            key.info.seen_at = Some(key.info.published_at);
            key.info.activated_at = (state == SigningKeyState::Active).then_some(key.info.published_at);
            model.keys.push(key);
        }
        let fresh = Replica {
            up: true,
            cut_off: false,
            keys: model.keys.clone(),
            looked: model.now,
            looked_database: model.database(),
            watched: None,
            off: 0,
        };
        model.replicas = vec![fresh; replicas];
        let jwks = model.jwks_of(0);
        model.front = (jwks.clone(), model.now, false);
        let verifier =
            |kind: &Kind| Verifier { kind: *kind, jwks: jwks.clone(), fetched: model.now, off: 0, unpromised: false };
        model.verifiers = verifiers.iter().map(verifier).collect();
        model
    }

    pub fn database(&self) -> i64 {
        self.now + self.offset
    }

    pub fn rules(&self) -> RotationRules {
        let stable_since = ClockStability { stable_since: at(self.steady) };
        let tolerance = Span::from_secs(self.bounds.skew);
        let stable_since = match self.mutant {
            Mutant::NoClockMonitor => stable_since,
            _ => stable_since.after_reading(at(self.noted), at(self.database()), tolerance),
        };
        RotationRules {
            timing: self.bounds.timing(self.mutant),
            rotation_period: Some(Span::from_secs(self.bounds.period)),
            configured_algorithms: [Algorithm::Es256].into(),
            audience_algorithms: BTreeSet::new(),
            stable_since,
        }
    }

    /// Whether an operator decision is pending. Until then nothing is signed or moved.
    pub fn is_halted(&self) -> bool {
        self.newest.is_some() && self.mutant != Mutant::NoRollbackGuard
    }

    fn saved(&self) -> Saved {
        Saved { keys: self.keys.clone(), steady: self.steady, noted: self.noted }
    }

    fn put(&mut self, saved: Saved) {
        (self.keys, self.steady, self.noted) = (saved.keys, saved.steady, saved.noted);
        // The uncommitted transaction is lost, and every server restarts.
        self.writing = None;
        for replica in &mut self.replicas {
            replica.up = false;
        }
    }

    pub fn back_up(&mut self) {
        if self.newest.is_none() {
            self.backup = Some(self.saved());
        }
    }

    pub fn restore(&mut self) {
        if let (None, Some(backup)) = (&self.newest, self.backup.clone()) {
            self.newest = Some(self.saved());
            self.restores += 1;
            self.put(backup);
        }
    }

    /// The operator restores the newest state.
    pub fn undo_restore(&mut self) {
        if let Some(newest) = self.newest.take() {
            self.put(newest);
            self.backup = None;
        }
    }

    /// The operator accepts the restored state.
    pub fn accept(&mut self) {
        let Some(newest) = self.newest.take() else { return };
        let published = |keys: &[Key]| -> BTreeSet<u32> {
            keys.iter().filter(|key| key.info.state.is_published()).map(|key| key.material).collect()
        };
        let (before, now) = (published(&newest.keys), published(&self.keys));
        // Keys published after the backup are lost.
        self.revoked.extend(before.difference(&now));
        // Keys that signed and were removed after the backup are back, and verifiers may have
        // dropped them. A next key is not affected: its delay restarts, as for a new key.
        let signed = self.keys.iter().filter(|key| key.info.activated_at.is_some());
        self.revoked.extend(signed.map(|key| key.material).filter(|material| !before.contains(material)));
        self.backup = None;
        if self.mutant != Mutant::AcceptsWithDelays {
            (self.steady, self.noted) = (self.database(), self.database());
        }
    }

    fn new_key(&mut self) -> Key {
        self.made += 1;
        let removed = self.keys.iter().find(|key| key.info.state == SigningKeyState::Removed);
        let id = match (self.mutant, removed) {
            (Mutant::SameKid, Some(old)) => old.info.kid.as_str().to_owned(),
            _ => kid(self.made),
        };
        Key {
            info: SigningKeyMetadata {
                kid: id.parse().unwrap(),
                algorithm: Algorithm::Es256,
                state: SigningKeyState::Next,
                published_at: at(self.database()),
                seen_at: (self.mutant == Mutant::CountsBeforeCommit).then(|| at(self.database())),
                activated_at: None,
                retired_at: None,
                removed_at: None,
                destroyed_at: None,
                longest_ttl: Span::from_secs(self.bounds.ttl),
                version: 1,
            },
            material: self.made,
            has_private_half: true,
            committed: self.now,
        }
    }

    /// The JWKS that a replica serves: the published keys of its snapshot. While an operator
    /// decision is pending, the keys in the rollback guard take precedence.
    pub fn jwks_of(&self, replica: usize) -> Jwks {
        let guard_file = match &self.newest {
            Some(newest) if self.is_halted() && self.mutant != Mutant::NoKeysInRollbackGuard => newest.keys.as_slice(),
            _ => &[],
        };
        let known: BTreeSet<_> = guard_file.iter().map(|key| key.material).collect();
        let others = self.replicas[replica].keys.iter().filter(|key| !known.contains(&key.material));
        let published = guard_file.iter().chain(others).filter(|key| key.info.state.is_published());
        published.map(|key| (key.info.kid.as_str().to_owned(), key.material)).collect()
    }

    /// Whether a replica's snapshot is fresh by the monotonic clock and by the database clock.
    pub fn is_fresh(&self, replica: usize) -> bool {
        let of = &self.replicas[replica];
        let staleness = i64::try_from(self.bounds.staleness).unwrap();
        self.now - of.looked <= staleness && self.database() - of.looked_database <= staleness
    }

    /// Starts a server or its replacement. It registers, refreshes before it serves, and has
    /// not checked the clock.
    pub fn start(&mut self, replica: usize, off: i64) {
        let of = &mut self.replicas[replica];
        (of.up, of.cut_off, of.watched, of.off) = (true, false, None, off);
        let now = self.database();
        if self.mutant == Mutant::ForgetsClock {
            self.noted = now;
        }
        for key in self.keys.iter_mut().filter(|key| key.info.seen_at.is_none()) {
            key.info.seen_at = Some(at(now));
            key.info.version += 1;
        }
        self.refresh(replica);
    }

    /// Refreshes the snapshot of a replica.
    pub fn refresh(&mut self, replica: usize) {
        if self.replicas[replica].cut_off {
            return;
        }
        let (now, database, keys) = (self.now, self.database(), self.keys.clone());
        let of = &mut self.replicas[replica];
        (of.keys, of.looked, of.looked_database) = (keys, now, database);
    }

    /// A replica checks the clock and performs due steps.
    pub fn tick(&mut self, replica: usize, commit: i64) {
        if self.replicas[replica].cut_off {
            return;
        }
        let (off, watched) = (self.replicas[replica].off, self.replicas[replica].watched);
        let moment = ClockReading {
            database: at(self.database()),
            elapsed: Duration::from_secs(self.now.unsigned_abs()),
            machine_clock: at(if self.shared { self.database() } else { self.now + off }),
        };
        let tolerance = Span::from_secs(self.bounds.skew);
        let jump = match watched {
            Some(last) => moment.jump_since(last, tolerance),
            None => moment.jump_at_first_reading(at(self.noted), tolerance),
        };
        self.noted = self.noted.max(self.database());
        if jump.is_some() && self.mutant != Mutant::NoClockMonitor {
            (self.steady, self.noted) = (self.database(), self.database());
        }
        self.replicas[replica].watched = Some(moment);
        self.offset += std::mem::take(&mut self.sneaks);
        let plans = ClockReading { database: at(self.database()), ..moment };
        if plans.jump_since(moment, tolerance).is_some() && self.mutant != Mutant::TwoClockReads {
            return;
        }
        if self.writing.is_some() || self.is_halted() {
            return;
        }
        let rules = self.rules();
        let now = at(self.database());
        let infos: Vec<_> = self.keys.iter().map(|key| key.info.clone()).collect();
        let due: Vec<_> = rules.plan(&infos, now).into_iter().filter(|planned| planned.at <= now).collect();
        let moved = !due.is_empty();
        for planned in due {
            match planned.step {
                RotationStep::Publish(_) => {
                    let key = self.new_key();
                    self.writing = Some((key, self.now + commit));
                }
                RotationStep::ConfirmPublication(kid) => self.of(kid.as_str(), |key| key.info.seen_at = Some(now)),
                RotationStep::Activate(kid) => self.activate(kid.as_str(), now),
                RotationStep::Retire(kid) => self.of(kid.as_str(), |key| {
                    key.info.state = SigningKeyState::Retiring;
                    key.info.retired_at = Some(now);
                }),
                RotationStep::DestroyPrivateKey(kid) => self.of(kid.as_str(), |key| {
                    key.info.destroyed_at = Some(now);
                    key.has_private_half = false;
                }),
                RotationStep::Remove(kid) => self.of(kid.as_str(), |key| {
                    key.info.state = SigningKeyState::Removed;
                    key.info.removed_at = Some(now);
                    key.has_private_half = false;
                }),
            }
        }
        // A replica that moves keys refreshes immediately.
        if moved {
            self.refresh(replica);
        }
    }

    fn activate(&mut self, kid: &str, now: Timestamp) {
        for key in self.keys.iter_mut().filter(|key| key.info.state == SigningKeyState::Active) {
            key.info.state = SigningKeyState::Retiring;
            key.info.retired_at = Some(now);
            key.info.version += 1;
        }
        self.of(kid, |key| {
            key.info.state = SigningKeyState::Active;
            key.info.activated_at = Some(now);
        });
        self.rotations += 1;
    }

    /// Changes the newest key with this kid.
    fn of(&mut self, kid: &str, change: impl FnOnce(&mut Key)) {
        let key = self.keys.iter_mut().rev().find(|key| key.info.kid.as_str() == kid).unwrap();
        key.info.version += 1;
        change(key);
    }

    /// Revokes the active key (invariant K7). The next key signs at once, even if verifiers lack
    /// it.
    pub fn revoke(&mut self) {
        if self.is_halted() {
            return;
        }
        let now = at(self.database());
        let signs = |key: &&mut Key| key.info.state == SigningKeyState::Active;
        let Some(active) = self.keys.iter_mut().find(signs) else { return };
        active.info.state = SigningKeyState::Revoked;
        active.info.removed_at = Some(now);
        active.has_private_half = false;
        self.revoked.insert(active.material);
        let next = self.keys.iter().find(|key| key.info.state == SigningKeyState::Next).map(|key| key.material);
        let material = next.unwrap_or_else(|| {
            let key = self.new_key();
            self.keys.push(key);
            self.made
        });
        let next = self.keys.iter_mut().find(|key| key.material == material).unwrap();
        next.info.state = SigningKeyState::Active;
        next.info.activated_at = Some(now);
        next.info.seen_at = Some(now);
        // Verifiers may lack the successor. Until they have it, acceptance of its
        // tokens is not guaranteed.
        self.revoked.insert(material);
    }

    /// A replica signs, if it may. It can sign only with a private key that existed at its last
    /// refresh.
    pub fn sign(&mut self, replica: usize) -> Result<(), String> {
        if self.is_halted() {
            return Ok(());
        }
        let is_fresh = self.is_fresh(replica) || self.mutant == Mutant::NoSnapshotAgeLimit;
        let of = &self.replicas[replica];
        let signs = of.keys.iter().find(|key| key.info.state == SigningKeyState::Active && key.has_private_half);
        let (true, true, Some(key)) = (of.up, is_fresh, signs) else { return Ok(()) };
        if !self.jwks_of(replica).contains_key(key.info.kid.as_str()) {
            return Err("K4: it signs by a key that it does not serve".to_owned());
        }
        let (kid, material) = (key.info.kid.as_str().to_owned(), key.material);
        let exp = self.database() + i64::try_from(self.bounds.ttl).unwrap();
        let stored = self.keys.iter().find(|key| key.material == material);
        if let Some(stored) = stored.filter(|key| key.info.state == SigningKeyState::Retiring)
            && stored.info.destroyed_at.is_some_and(|destroyed| destroyed < at(self.database()))
            && !self.revoked.contains(&material)
        {
            return Err("K17: a private half was destroyed that a replica still signs by".to_owned());
        }
        self.tokens.insert(Token { kid, material, exp, wrong: self.offset });
        Ok(())
    }

    /// A verifier fetches, from a ready replica if there is one.
    pub fn fetch(&mut self, verifier: usize, from: usize) {
        let up: Vec<_> = (0..self.replicas.len()).filter(|one| self.replicas[*one].up).collect();
        let ready: Vec<_> = up.iter().copied().filter(|one| self.is_fresh(*one)).collect();
        let unpromised = ready.is_empty();
        let choices = if unpromised { up } else { ready };
        if let Some(source) = choices.get(from % choices.len().max(1)) {
            self.fetch_as(verifier, *source, unpromised);
        }
    }

    /// A verifier fetches from this ready replica.
    pub fn fetch_from(&mut self, verifier: usize, source: usize) {
        self.fetch_as(verifier, source, false);
    }

    pub fn is_at_its_oldest(&self, replica: usize) -> bool {
        let age = (self.now - self.replicas[replica].looked).unsigned_abs();
        self.is_fresh(replica) && age == self.bounds.staleness
    }

    /// Whether a replica's snapshot lacks a published key.
    pub fn lacks_a_key(&self, replica: usize) -> bool {
        let served = self.jwks_of(replica);
        let mut published = self.keys.iter().filter(|key| key.info.state.is_published());
        published.any(|key| served.get(key.info.kid.as_str()) != Some(&key.material))
    }

    pub fn a_key_went_now(&self) -> bool {
        self.keys.iter().any(|key| key.info.removed_at == Some(at(self.database())))
    }

    fn fetch_as(&mut self, verifier: usize, source: usize, unpromised: bool) {
        let served = self.jwks_of(source);
        let (now, half) = (self.now, i64::try_from(self.bounds.cache / 2).unwrap());
        let (jwks, unpromised) = if self.verifiers[verifier].kind == Kind::BehindCache {
            if now - self.front.1 > half {
                self.front = (served, now, unpromised);
            }
            (self.front.0.clone(), self.front.2)
        } else {
            (served, unpromised)
        };
        let of = &mut self.verifiers[verifier];
        (of.jwks, of.fetched, of.unpromised) = (jwks, now, unpromised);
    }

    /// How long a verifier uses a fetched JWKS, in ticks.
    fn lasts(&self, kind: Kind) -> i64 {
        let cache = i64::try_from(self.bounds.cache).unwrap();
        if kind == Kind::BehindCache { cache - cache / 2 } else { cache }
    }

    /// Advances by one tick: expired caches are refilled, and the pending transaction may commit.
    pub fn pass(&mut self, from: usize) {
        self.now += 1;
        if let Some((mut key, commit)) = self.writing.take() {
            if commit <= self.now {
                key.committed = self.now;
                self.keys.push(key);
            } else {
                self.writing = Some((key, commit));
            }
        }
        for verifier in 0..self.verifiers.len() {
            let of = &self.verifiers[verifier];
            if self.now - of.fetched > self.lasts(of.kind) && of.kind != Kind::Once {
                self.fetch(verifier, from);
            }
        }
        let (leeway, skew) = (self.bounds.leeway, self.bounds.skew);
        let dead = i64::try_from(leeway + 2 * skew).unwrap();
        let now = self.now;
        self.tokens.retain(|token| now < token.exp - token.wrong + dead);
    }

    /// Checks everything that must hold at every tick.
    pub fn check(&self) -> Result<(), String> {
        self.check_keys()?;
        self.check_served()?;
        let leeway = i64::try_from(self.bounds.leeway).unwrap();
        for token in &self.tokens {
            // Tokens of keys affected by an emergency are exempt.
            if self.revoked.contains(&token.material) {
                continue;
            }
            for verifier in &self.verifiers {
                let is_over = self.now - verifier.fetched > self.lasts(verifier.kind);
                if is_over || verifier.unpromised || self.now + verifier.off >= token.exp - token.wrong + leeway {
                    continue;
                }
                // During its cool-down, a refetching verifier has only its cached JWKS.
                let known = verifier.jwks.get(&token.kid);
                if known != Some(&token.material) {
                    return Err(format!(
                        "K1, K2, K12: at {} a verifier ({:?}, fetched {}) refuses a token by {} that ends at {}",
                        self.now, verifier.kind, verifier.fetched, token.material, token.exp
                    ));
                }
            }
        }
        Ok(())
    }

    /// A ready replica serves every key that has been published for longer than the staleness
    /// limit, regardless of earlier faults.
    fn check_served(&self) -> Result<(), String> {
        let staleness = i64::try_from(self.bounds.staleness).unwrap();
        let keys = self.newest.as_ref().map_or(&self.keys, |newest| &newest.keys);
        let revoked = |key: &&Key| key.info.state == SigningKeyState::Revoked && self.newest.is_some();
        for replica in (0..self.replicas.len()).filter(|one| self.replicas[*one].up && self.is_fresh(*one)) {
            let served = self.jwks_of(replica);
            let old = |key: &&Key| key.info.state.is_published() && self.now - key.committed > staleness;
            if let Some(key) = keys.iter().filter(old).find(|key| !served.contains_key(key.info.kid.as_str())) {
                return Err(format!("K3: replica {replica} does not serve {}", key.material));
            }
            if let Some(key) = keys.iter().filter(revoked).find(|key| served.contains_key(key.info.kid.as_str())) {
                return Err(format!("K3: replica {replica} serves {} again", key.material));
            }
        }
        Ok(())
    }

    fn check_keys(&self) -> Result<(), String> {
        let count = |state| self.keys.iter().filter(|key| key.info.state == state).count();
        if count(SigningKeyState::Active) != 1 {
            return Err(format!("K11, K14: {} keys are active", count(SigningKeyState::Active)));
        }
        if count(SigningKeyState::Next) > 1 {
            return Err("K13: more than one key is next".to_owned());
        }
        let kids: BTreeSet<_> = self.keys.iter().map(|key| key.info.kid.as_str()).collect();
        if kids.len() != self.keys.len() {
            return Err("K12: a kid was given twice".to_owned());
        }
        let published = self.keys.iter().filter(|key| key.info.state.is_published()).count();
        let b = &self.bounds;
        let whole = b.cache + 2 * b.staleness + b.ttl + b.leeway + 2 * b.skew + b.commit;
        // A clock jump or a restore restarts every propagation delay; an emergency adds one.
        let more = self.jumps * 2 + self.revoked.len() + self.restores * 2;
        let most = usize::try_from(whole.div_ceil(b.period)).unwrap() + 2 + more;
        if published > most {
            return Err(format!("K16: {published} keys are published, of {most} at most"));
        }
        let active = self.keys.iter().find(|key| key.info.state == SigningKeyState::Active);
        if active.is_some_and(|key| !key.has_private_half) {
            return Err("K14: the key that signs has no private half".to_owned());
        }
        for key in self.keys.iter().filter(|key| key.info.state == SigningKeyState::Removed) {
            if key.has_private_half {
                return Err("K17: a key that is gone has its private half".to_owned());
            }
        }
        Ok(())
    }
}
