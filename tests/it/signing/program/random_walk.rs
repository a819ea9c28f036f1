//! A random walk of the program: replicas refresh, move keys, sign and die in any order, while
//! clocks are set, caches expire and older database states are restored.

use std::time::Duration;

use keyswap::{
    crypto::jwk::PublicJwk,
    domain::signing::rotation::has_key_in_state,
    service::{Error, Unavailable, caller::Caller, encryption::rollback_guard, signing},
};

use super::{
    deployment::{Broken, Deployment, cut_after},
    oracle::{Oracle, SECOND},
    verifiers::Verifiers,
};
use crate::support::{Kind, seeds::Random};

/// Faults besides kills and partitions.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    pub jumps: bool,
    pub emergencies: bool,
    /// Older states of the database are restored.
    pub restores: bool,
}

pub struct Walk {
    pub deployment: Deployment,
    pub verifiers: Verifiers,
    pub oracle: Oracle,
    pub chance: Random,
    pub faults: Faults,
    pub has_backup: bool,
    /// The clock was set in this tick, so operations in progress may be refused.
    pub clock_was_set: bool,
}

/// Walks for `ticks` seconds.
pub fn walk(kind: Kind, seed: u64, ticks: u32, broken: Broken, faults: Faults) -> Result<Oracle, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let walked = runtime.block_on(async {
        let mut chance = Random::new(seed);
        let deployment = Deployment::new(kind, 3, broken);
        let verifiers = Verifiers::new(&mut chance);
        let oracle = Oracle::default();
        let mut walk = Walk { deployment, verifiers, oracle, chance, faults, has_backup: false, clock_was_set: false };
        walk.begin().await?;
        for _ in 0..ticks {
            walk.tick().await?;
        }
        Ok(walk.oracle)
    });
    walked.map_err(|fault: String| format!("seed {seed} on {kind:?}, {faults:?}, {broken:?}: {fault}"))
}

impl Walk {
    /// The first start creates the keys (invariant K10).
    async fn begin(&mut self) -> Result<(), String> {
        for replica in 0..self.deployment.replicas.len() {
            self.deployment.start(replica, &mut self.chance, None).await;
        }
        self.oracle.observe(&self.deployment).await?;
        for verifier in 0..self.verifiers.all.len() {
            self.verifiers.fetch(verifier, &self.deployment, verifier).await;
        }
        Ok(())
    }

    /// One second of the walk.
    async fn tick(&mut self) -> Result<(), String> {
        self.clock_was_set = false;
        self.inject_fault().await?;
        for _ in 0..2 + self.chance.below(5) {
            let replica = self.chance.index(self.deployment.replicas.len());
            self.act(replica).await?;
        }
        self.oracle.observe(&self.deployment).await?;
        // The oldest snapshot that may still sign is used to sign.
        for replica in self.deployment.up() {
            self.sign(replica).await?;
        }
        self.fetch().await;
        self.oracle.check(&self.deployment, &self.verifiers)?;
        self.deployment.time.pass(Duration::from_secs(1), &self.deployment.database).await;
        let from = self.chance.index(3);
        self.verifiers.refetch(&self.deployment, from).await;
        self.oracle.check(&self.deployment, &self.verifiers)
    }

    async fn act(&mut self, replica: usize) -> Result<(), String> {
        if self.deployment.replicas[replica].services.is_none() {
            if self.chance.one_in(8) {
                let polls = self.chance.one_in(6).then(|| self.polls());
                self.deployment.start(replica, &mut self.chance, polls).await;
                self.oracle.observe(&self.deployment).await?;
            }
            return Ok(());
        }
        let choice = self.chance.below(100);
        if choice < 3 {
            self.deployment.kill(replica);
        } else if choice < 7 || (self.deployment.replicas[replica].cut_off && choice < 30) {
            let of = &mut self.deployment.replicas[replica];
            of.cut_off = !of.cut_off;
        } else if !self.deployment.replicas[replica].cut_off {
            self.work(replica, choice).await?;
        }
        Ok(())
    }

    /// One operation of a replica, scheduled or requested.
    async fn work(&mut self, replica: usize, choice: u64) -> Result<(), String> {
        let services = self.deployment.services(replica);
        match choice {
            0..35 => services.keys.refresh().await.map_err(|error| format!("no look: {error}"))?,
            35..70 => self.move_keys(replica).await?,
            70..80 => self.sign(replica).await?,
            80..90 => rollback_guard::update(services)
                .await
                .map_err(|error| format!("rollback guard not written: {error}"))?,
            90..96 => {
                let rotated = signing::rotate(services, &Caller::cli(), None).await.map(drop);
                self.expect("rotate", rotated)?;
            }
            96..98 => {
                let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
                let imported = signing::import(services, &Caller::cli(), &pem).await.map(drop);
                self.expect("import", imported)?;
            }
            _ if self.faults.emergencies && !self.oracle.is_restored() => self.revoke(replica).await?,
            _ => {}
        }
        self.oracle.observe(&self.deployment).await
    }

    /// Runs the job. Occasionally the replica dies during it.
    async fn move_keys(&mut self, replica: usize) -> Result<(), String> {
        if self.chance.one_in(8) {
            let polls = self.polls();
            return match cut_after(polls, self.deployment.tick(replica)).await {
                Some(moved) => self.expect("tick", moved),
                None => {
                    self.deployment.kill(replica);
                    Ok(())
                }
            };
        }
        let moved = self.deployment.tick(replica).await;
        self.deployment.replicas[replica].watches = true;
        self.expect("tick", moved)
    }

    /// Asserts that an operation succeeded or was refused for a valid reason.
    pub fn expect(&self, what: &str, done: Result<(), Error>) -> Result<(), String> {
        let by_hand = what != "tick";
        match done {
            Ok(()) => Ok(()),
            Err(Error::RotationTooEarly(_)) if by_hand => Ok(()),
            Err(Error::Unavailable(_)) if self.clock_was_set || (by_hand && self.oracle.is_restored()) => Ok(()),
            // The restore was accepted, and this replica has not checked the rollback guard since.
            Err(Error::Unavailable(Unavailable::RolledBack)) if by_hand && self.oracle.restores > 0 => Ok(()),
            Err(error) => Err(format!("{what} failed: {error}")),
        }
    }

    async fn revoke(&mut self, replica: usize) -> Result<(), String> {
        let published: Vec<_> = self.oracle.published().cloned().collect();
        let kid = self.chance.pick(&published).parse().unwrap();
        let services = self.deployment.services(replica);
        match signing::revoke(services, &Caller::cli(), kid).await {
            Ok(revoked) => {
                self.oracle.revoked(&revoked, &self.deployment, self.faults.jumps || self.faults.restores);
                Ok(())
            }
            Err(error) => self.expect("revoke", Err(error)),
        }
    }

    /// The signing part of an exchange, at a freshly read time of the database.
    async fn sign(&mut self, replica: usize) -> Result<(), String> {
        let (services, of) = (self.deployment.services(replica), &self.deployment.replicas[replica]);
        let view = if of.cut_off {
            services.keys.view()
        } else {
            let now = services.store.now().await.unwrap();
            services.keys.snapshot_at(now).await
        };
        let configured = services.settings.signing_keys.algorithm;
        let now = keyswap::domain::common::time::Timestamp::from_millis(self.deployment.time.of_database());
        let jwk: PublicJwk = match view.signer(None, configured, now) {
            Ok(signer) => signer.jwk().clone(),
            Err(Unavailable::StaleSigningKeys)
                if of.cut_off && self.deployment.broken == Broken::NoSnapshotAgeLimit =>
            {
                let signs = view
                    .published
                    .iter()
                    .find(|(info, _)| has_key_in_state(std::slice::from_ref(info), configured, ACTIVE));
                signs.map(|(_, jwk)| jwk.clone()).unwrap()
            }
            Err(Unavailable::StaleSigningKeys) if of.cut_off => return Ok(()),
            Err(Unavailable::RolledBack) if self.oracle.restores > 0 => return Ok(()),
            Err(why) => return Err(format!("K14: replica {replica} cannot sign: {why}")),
        };
        let kid = jwk.kid.as_str().to_owned();
        if !self.deployment.known(replica).0.contains_key(&kid) {
            return Err(format!("K4: replica {replica} signs by {kid} and does not serve it"));
        }
        let ttl = i64::try_from(services.settings.timing.max_ttl.as_secs()).unwrap();
        let exp = (now.seconds() + ttl) * SECOND;
        self.oracle.signed(&self.deployment, &kid, &serde_json::to_value(&jwk).unwrap(), exp)
    }

    /// Verifiers restart at random. The one with the slow clock fetches from replicas that lack a
    /// key with which others will sign soon.
    async fn fetch(&mut self) {
        let published: Vec<String> = self.oracle.published().cloned().collect();
        for replica in self.deployment.up() {
            let (known, is_certain) = self.deployment.known(replica);
            if is_certain && published.len() != known.len() && self.chance.one_in(2) {
                self.verifiers.fetch_from(0, &self.deployment, replica).await;
            }
        }
        for verifier in 0..self.verifiers.all.len() {
            if self.chance.one_in(15) {
                let from = self.chance.index(3);
                self.verifiers.fetch(verifier, &self.deployment, from).await;
            }
        }
    }

    pub fn polls(&mut self) -> u32 {
        u32::try_from(1 + self.chance.below(9)).unwrap()
    }
}

const ACTIVE: keyswap::domain::signing::SigningKeyState = keyswap::domain::signing::SigningKeyState::Active;
