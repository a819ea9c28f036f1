//! The lease on the database: answers of a server are trusted only while it acknowledges heartbeats
//! (invariant 17). A PostgreSQL server that was replaced by another one, or that cannot write any
//! more, acknowledges none.
//!
//! This file contains the rules. `heartbeat` sends the heartbeats.

use std::{collections::BTreeMap, fmt, time::Duration};

use arc_swap::ArcSwap;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

use crate::store::{error::StoreError, settings::DatabaseUrl};

/// The longest time between two heartbeats.
const MAX_INTERVAL: Duration = Duration::from_secs(1);

/// What distinguishes PostgreSQL servers. The address is not part of it, because one server can
/// have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerIdentity {
    /// When the server process was started, in microseconds since 2000-01-01 UTC. A primary and its
    /// standbys differ in it.
    pub started_at: i64,
    /// The identifier that `initdb` gave to the cluster, and that its standbys have as well. Absent
    /// if the role may not read it.
    pub system_id: Option<i64>,
    /// The number of the history that the server continues, which each promotion increases. Absent
    /// if the role may not read it.
    pub timeline: Option<u32>,
}

impl ServerIdentity {
    /// Returns the cluster and the timeline, if both are known.
    const fn history(&self) -> Option<(i64, u32)> {
        match (self.system_id, self.timeline) {
            (Some(system_id), Some(timeline)) => Some((system_id, timeline)),
            (None, _) | (_, None) => None,
        }
    }
}

impl fmt::Display for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timeline {
            Some(timeline) => write!(f, "timeline {timeline}")?,
            None => f.write_str("unknown timeline")?,
        }
        match self.system_id {
            Some(system_id) => write!(f, " of cluster {}", system_id.cast_unsigned()),
            None => f.write_str(" of an unknown cluster"),
        }
    }
}

/// An acknowledged heartbeat.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    pub server: ServerIdentity,
    /// The URL of the server, which names one host.
    pub url: DatabaseUrl,
    /// When the statement was sent, by `monotonic_now`. The acknowledgment may have arrived later.
    pub sent_at: Duration,
    /// Whether it is the first one on its connection. While there was no connection, a virtual
    /// machine may have been set back to a snapshot, which has the same identity.
    pub is_first: bool,
}

/// Which servers a read accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Only a server that has passed the rollback check.
    RollbackChecked,
    /// The same, when the operation begins. The lease may end before it completes: a count that was
    /// committed must not be reported as a failure, because it would be written again.
    RollbackCheckedBefore,
    /// Any server that acknowledges heartbeats. The rollback check itself reads from it.
    Connected,
}

/// Why a server is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseLeaseError {
    #[error("no database server has acknowledged a heartbeat yet")]
    NoHeartbeat,
    #[error("the data was read from a server other than the one that acknowledges heartbeats; will reconnect")]
    OtherServer,
    #[error(
        "the last acknowledged heartbeat was sent {age:.1?} ago, longer than database.lease ({lease:?}); check that the \
         primary is writable and its synchronous standby runs"
    )]
    Expired { age: Duration, lease: Duration },
    #[error("the database server is new or was reconnected, and its rollback check has not completed yet")]
    RollbackCheckPending,
    #[error(
        "the database server continues timeline {timeline}, and a server with timeline {highest} has replaced it; if it \
         was restored from an earlier copy, run `keyswap restore status`, and restart this server"
    )]
    Replaced { timeline: u32, highest: u32 },
}

/// The lease of this process on the database.
#[derive(Debug)]
pub struct DatabaseLease {
    duration: Duration,
    state: ArcSwap<DatabaseLeaseState>,
    /// Notified at each heartbeat of a server that has not passed the rollback check.
    needs_check: Notify,
}

#[derive(Debug, Clone, Default)]
struct DatabaseLeaseState {
    /// Whether reads need the lease. Commands and SQLite do not.
    is_required: bool,
    heartbeat: Option<Heartbeat>,
    /// Increases when another server, or the same one on a new connection, acknowledges a
    /// heartbeat.
    generation: u64,
    is_checked: bool,
    /// The highest timeline of each cluster that has acknowledged a heartbeat. A server with a
    /// lower one is a former primary that continues.
    timelines: BTreeMap<i64, u32>,
}

impl DatabaseLeaseState {
    fn server(&self) -> Option<ServerIdentity> {
        self.heartbeat.as_ref().map(|heartbeat| heartbeat.server)
    }

    fn with_heartbeat(&self, heartbeat: Heartbeat) -> Self {
        let is_same = self.server() == Some(heartbeat.server) && !heartbeat.is_first;
        let mut timelines = self.timelines.clone();
        if let Some((system_id, timeline)) = heartbeat.server.history() {
            timelines.insert(system_id, timeline);
        }
        Self {
            is_required: self.is_required,
            heartbeat: Some(heartbeat),
            generation: self.generation + u64::from(!is_same),
            is_checked: self.is_checked && is_same,
            timelines,
        }
    }

    /// Fails if another server with a higher timeline of the same cluster has acknowledged
    /// heartbeats.
    fn check_timeline(&self, server: ServerIdentity) -> Result<(), DatabaseLeaseError> {
        if let Some((system_id, timeline)) = server.history()
            && let Some(&highest) = self.timelines.get(&system_id)
            && timeline < highest
        {
            return Err(DatabaseLeaseError::Replaced { timeline, highest });
        }
        Ok(())
    }

    fn check(
        &self,
        server: Option<ServerIdentity>,
        trust: Trust,
        lease: Duration,
        now: Duration,
    ) -> Result<(), DatabaseLeaseError> {
        if !self.is_required {
            return Ok(());
        }
        let heartbeat = self.heartbeat.as_ref().ok_or(DatabaseLeaseError::NoHeartbeat)?;
        if server != Some(heartbeat.server) {
            return Err(DatabaseLeaseError::OtherServer);
        }
        let age = now.saturating_sub(heartbeat.sent_at);
        if age >= lease {
            return Err(DatabaseLeaseError::Expired { age, lease });
        }
        if trust != Trust::Connected && !self.is_checked {
            return Err(DatabaseLeaseError::RollbackCheckPending);
        }
        Ok(())
    }
}

impl DatabaseLease {
    pub fn new(duration: Duration) -> Self {
        Self { duration, state: ArcSwap::default(), needs_check: Notify::new() }
    }

    pub const fn duration(&self) -> Duration {
        self.duration
    }

    /// The time between two heartbeats.
    pub fn interval(&self) -> Duration {
        MAX_INTERVAL.min(self.duration / 2)
    }

    /// From now on, reads need the lease.
    pub fn require(&self) {
        self.state.rcu(|state| DatabaseLeaseState { is_required: true, ..DatabaseLeaseState::clone(state) });
    }

    /// Records an acknowledged heartbeat. If it is from another server than the previous one,
    /// returns that one. Refuses the heartbeat of a former primary that a higher timeline has
    /// replaced.
    pub fn record(&self, heartbeat: Heartbeat) -> Result<Option<ServerIdentity>, DatabaseLeaseError> {
        let server = heartbeat.server;
        self.state.load().check_timeline(server)?;
        let before = self.state.rcu(|state| state.with_heartbeat(heartbeat.clone()));
        if self.server_to_check().is_some() {
            self.needs_check.notify_one();
        }
        Ok(before.server().filter(|before| *before != server))
    }

    /// Checks whether what was read from `server` is trusted at `now`.
    pub fn check(&self, server: Option<ServerIdentity>, trust: Trust, now: Duration) -> Result<(), DatabaseLeaseError> {
        self.state.load().check(server, trust, self.duration, now)
    }

    /// Returns why the server that acknowledged the last heartbeat is not trusted at `now`.
    pub fn find_fault(&self, now: Duration) -> Option<DatabaseLeaseError> {
        let state = self.state.load();
        state.check(state.server(), Trust::RollbackChecked, self.duration, now).err()
    }

    /// Returns whether a connection to `server` is useless, because the lease is on another server.
    pub fn is_on_other_server(&self, server: Option<ServerIdentity>) -> bool {
        let state = self.state.load();
        state.is_required && state.heartbeat.is_some() && state.server() != server
    }

    /// Returns the URL of the server that acknowledged the last heartbeat.
    pub fn url(&self) -> Option<DatabaseUrl> {
        self.state.load().heartbeat.as_ref().map(|heartbeat| heartbeat.url.clone())
    }

    /// Returns how long ago the last acknowledged heartbeat was sent.
    pub fn age(&self, now: Duration) -> Option<Duration> {
        self.state.load().heartbeat.as_ref().map(|heartbeat| now.saturating_sub(heartbeat.sent_at))
    }

    /// Returns the generation of a server that needs a rollback check.
    pub fn server_to_check(&self) -> Option<u64> {
        let state = self.state.load();
        (state.is_required && state.heartbeat.is_some() && !state.is_checked).then_some(state.generation)
    }

    /// Records that the server of `generation` has passed the rollback check. Has no effect if the
    /// server has changed since.
    pub fn set_checked(&self, generation: u64) {
        self.state.rcu(|state| {
            let is_checked = state.is_checked || state.generation == generation;
            DatabaseLeaseState { is_checked, ..DatabaseLeaseState::clone(state) }
        });
    }

    /// Waits for a heartbeat of a server that needs a rollback check.
    pub async fn wait_for_new_server(&self) {
        self.needs_check.notified().await;
    }
}

/// What was read from a server. The value is accessible only through `accept`, at the time at which
/// it is used.
#[derive(Debug, Clone)]
pub struct UnverifiedRead<T> {
    value: T,
    server: Option<ServerIdentity>,
}

impl<T> UnverifiedRead<T> {
    pub const fn new(value: T, server: Option<ServerIdentity>) -> Self {
        Self { value, server }
    }

    /// Returns the value if the lease on its server is fresh now, or had to be fresh only before.
    pub fn accept(self, lease: &DatabaseLease, trust: Trust) -> Result<T, StoreError> {
        if trust != Trust::RollbackCheckedBefore {
            lease.check(self.server, trust, monotonic_now()).map_err(StoreError::unavailable)?;
        }
        Ok(self.value)
    }
}

/// Returns the time since a fixed moment. On Linux it includes the time for which the machine was
/// suspended, because the database may have changed its primary in that time.
pub fn monotonic_now() -> Duration {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let now = clock_gettime(CLOCK);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: ServerIdentity = ServerIdentity { started_at: 1, system_id: Some(7), timeline: Some(1) };
    const NEW: ServerIdentity = ServerIdentity { started_at: 2, system_id: Some(7), timeline: Some(2) };
    const RESTARTED: ServerIdentity = ServerIdentity { started_at: 3, ..NEW };

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn heartbeat(server: ServerIdentity, sent_at: Duration) -> Heartbeat {
        Heartbeat { server, url: "postgres://a/k".parse().unwrap(), sent_at, is_first: false }
    }

    /// A required lease of two seconds on `OLD`, checked, with a heartbeat that was sent at 1 s.
    fn held() -> DatabaseLease {
        let lease = DatabaseLease::new(at(2000));
        lease.require();
        assert_eq!(lease.record(heartbeat(OLD, at(1000))), Ok(None));
        lease.set_checked(lease.server_to_check().unwrap());
        lease
    }

    #[test]
    fn lease_ends_after_the_moment_at_which_the_last_acknowledged_heartbeat_was_sent() {
        let lease = held();
        let check = |now| lease.check(Some(OLD), Trust::RollbackChecked, now);
        assert_eq!(check(at(2999)), Ok(()));
        assert_eq!(check(at(3000)), Err(DatabaseLeaseError::Expired { age: at(2000), lease: at(2000) }));
        assert_eq!(lease.find_fault(at(3000)), check(at(3000)).err());
        // The acknowledgment arrives late: it proves nothing about the time after the statement was
        // sent.
        lease.record(heartbeat(OLD, at(2000))).unwrap();
        assert_eq!((check(at(3999)), check(at(4000)).is_err()), (Ok(()), true));
        assert_eq!(lease.age(at(4000)), Some(at(2000)));
    }

    #[test]
    fn data_of_another_server_is_refused() {
        let lease = held();
        for server in [Some(NEW), None, Some(ServerIdentity { system_id: Some(8), ..OLD })] {
            assert_eq!(lease.check(server, Trust::RollbackChecked, at(1000)), Err(DatabaseLeaseError::OtherServer));
            assert!(lease.is_on_other_server(server));
        }
        assert!(!lease.is_on_other_server(Some(OLD)));
        // After a failover, the former primary is the other server, however fresh its data looks.
        assert_eq!(lease.record(heartbeat(NEW, at(1500))), Ok(Some(OLD)));
        assert_eq!(lease.check(Some(OLD), Trust::Connected, at(1500)), Err(DatabaseLeaseError::OtherServer));
    }

    #[test]
    fn new_server_is_trusted_only_after_its_rollback_check() {
        let lease = held();
        assert_eq!(lease.server_to_check(), None);
        lease.record(heartbeat(NEW, at(1500))).unwrap();
        let check = |trust| lease.check(Some(NEW), trust, at(1500));
        assert_eq!(
            (check(Trust::RollbackChecked), check(Trust::Connected)),
            (Err(DatabaseLeaseError::RollbackCheckPending), Ok(()))
        );
        assert!(check(Trust::RollbackCheckedBefore).is_err());
        let before = lease.server_to_check().unwrap();
        // The check belongs to a server that has changed, and back again, since.
        lease.record(heartbeat(RESTARTED, at(1600))).unwrap();
        lease.record(heartbeat(NEW, at(1700))).unwrap();
        lease.set_checked(before);
        assert_eq!(check(Trust::RollbackChecked), Err(DatabaseLeaseError::RollbackCheckPending));
        lease.set_checked(lease.server_to_check().unwrap());
        assert_eq!(check(Trust::RollbackChecked), Ok(()));
        assert_eq!(lease.record(heartbeat(NEW, at(1800))), Ok(None));
        assert_eq!(check(Trust::RollbackChecked), Ok(()), "the same server needs no second check");
        assert_eq!(lease.record(Heartbeat { is_first: true, ..heartbeat(NEW, at(1900)) }), Ok(None));
        assert_eq!(
            check(Trust::RollbackChecked),
            Err(DatabaseLeaseError::RollbackCheckPending),
            "it may have been set back meanwhile"
        );
        lease.set_checked(lease.server_to_check().unwrap());
        assert_eq!(check(Trust::RollbackChecked), Ok(()));
    }

    #[test]
    fn former_primary_that_continues_is_refused() {
        let lease = held();
        lease.record(heartbeat(NEW, at(1500))).unwrap();
        let replaced = DatabaseLeaseError::Replaced { timeline: 1, highest: 2 };
        assert_eq!(lease.record(heartbeat(OLD, at(1600))), Err(replaced));
        assert_eq!(lease.check(Some(OLD), Trust::Connected, at(1600)), Err(DatabaseLeaseError::OtherServer));
        assert_eq!(lease.age(at(1600)), Some(at(100)), "its heartbeat does not prolong the lease");
        // Another cluster has timelines of its own, and one that is unknown cannot be compared.
        for other in [ServerIdentity { system_id: Some(8), ..OLD }, ServerIdentity { timeline: None, ..OLD }] {
            assert!(lease.record(heartbeat(other, at(1700))).is_ok());
        }
        assert_eq!(lease.record(heartbeat(OLD, at(1800))), Err(replaced));
    }

    #[test]
    fn only_a_required_lease_refuses() {
        let lease = DatabaseLease::new(at(2000));
        assert_eq!(lease.check(None, Trust::RollbackChecked, at(9000)), Ok(()));
        assert_eq!(
            (lease.find_fault(at(9000)), lease.server_to_check(), lease.is_on_other_server(Some(OLD))),
            (None, None, false)
        );
        lease.require();
        assert_eq!(lease.check(Some(OLD), Trust::RollbackChecked, at(9000)), Err(DatabaseLeaseError::NoHeartbeat));
        assert!(!lease.is_on_other_server(Some(OLD)), "the first heartbeat decides");
    }

    #[test]
    fn a_lease_covers_two_heartbeats() {
        for (lease, interval) in [(1000, 500), (2000, 1000), (30_000, 1000)] {
            assert_eq!(DatabaseLease::new(at(lease)).interval(), at(interval));
        }
    }

    #[test]
    fn value_is_out_of_reach_without_a_lease() {
        let lease = DatabaseLease::new(at(30_000));
        lease.require();
        assert_eq!(UnverifiedRead::new(1, Some(OLD)).accept(&lease, Trust::RollbackCheckedBefore).unwrap(), 1);
        let refused = UnverifiedRead::new(1, Some(OLD)).accept(&lease, Trust::Connected);
        assert!(refused.unwrap_err().to_string().contains("no database server has acknowledged a heartbeat"));
        lease.record(heartbeat(OLD, monotonic_now())).unwrap();
        assert_eq!(UnverifiedRead::new(1, Some(OLD)).accept(&lease, Trust::Connected).unwrap(), 1);
    }
}
