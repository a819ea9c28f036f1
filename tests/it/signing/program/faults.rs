//! Faults of the clock and of the database.

use keyswap::service::encryption::rollback_guard;

use super::{
    backup::Copy,
    deployment::{CACHE, SKEW, TTL, interrupted},
    oracle::SECOND,
    random_walk::Walk,
};
use crate::support::Kind;

impl Walk {
    pub async fn inject_fault(&mut self) -> Result<(), String> {
        if self.faults.jumps && self.chance.one_in(20) {
            self.jump().await?;
        }
        if self.faults.restores {
            self.restore().await?;
        }
        Ok(())
    }

    /// Sets the database clock by more than the tolerated difference of two clocks.
    async fn jump(&mut self) -> Result<(), String> {
        let by = i64::try_from(2 * SKEW + 1 + self.chance.below(3 * CACHE + TTL)).unwrap() * SECOND;
        let (forward, one_clock) = (!self.chance.one_in(3), self.deployment.database.kind == Kind::Sqlite);
        let by = if forward { by } else { -by };
        if one_clock && !forward {
            // No replica is running, so only the recorded time reveals the jump.
            self.deployment.kill_all();
        }
        let watches = |one: &usize| self.deployment.replicas[*one].watches;
        let watcher = self.deployment.connected().into_iter().find(watches);
        if one_clock && forward && watcher.is_none() {
            // The machine clock is the database clock, so only a running replica can detect the
            // jump (docs/development/decisions/025-signing-key-rotation.md).
            return Ok(());
        }
        self.oracle.jumps += 1;
        self.clock_was_set = true;
        let polls = if watcher.is_some() && self.chance.one_in(2) { Some(self.polls()) } else { None };
        let deployment = &self.deployment;
        let mut is_set = false;
        if let (Some(watcher), Some(polls)) = (watcher, polls) {
            // The clock is set during an operation that depends on it.
            let set = || {
                is_set = true;
                deployment.time.jump(by, &deployment.database);
            };
            let moved = interrupted(polls, deployment.tick(watcher), set).await;
            self.expect("tick", moved)?;
        }
        if !is_set {
            deployment.time.jump(by, &deployment.database);
        }
        if let Some(watcher) = watcher {
            let seen = deployment.tick(watcher).await;
            self.expect("tick", seen)?;
        }
        self.oracle.observe(&self.deployment).await
    }

    /// Makes and restores backups, and accepts or undoes a restore.
    async fn restore(&mut self) -> Result<(), String> {
        if self.oracle.is_restored() {
            if self.chance.one_in(6) {
                if self.chance.one_in(2) {
                    self.deployment.accept().await;
                    self.oracle.accepted(&self.deployment).await;
                } else {
                    self.deployment.put_back(Copy::Newest);
                    self.oracle.undone();
                }
                self.has_backup = false;
            }
        } else if !self.has_backup && self.chance.one_in(4) {
            self.deployment.copy(Copy::Backup);
            self.has_backup = true;
        } else if self.has_backup && self.chance.one_in(18) {
            // The restore is usually late enough that other keys sign by now. The rollback
            // guard has recorded the newest state: jobs write it every three seconds, and a
            // graceful stop writes it.
            let Some(guard_file) = self.deployment.connected().into_iter().next() else { return Ok(()) };
            let services = self.deployment.services(guard_file);
            rollback_guard::update(services).await.unwrap();
            if services.keys.is_halted() || !self.deployment.backup_is_older() {
                return Ok(());
            }
            self.oracle.observe(&self.deployment).await?;
            self.deployment.copy(Copy::Newest);
            self.deployment.put_back(Copy::Backup);
            self.oracle.restored();
        }
        Ok(())
    }
}
