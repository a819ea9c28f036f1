//! The last event that this process has committed. The rollback guard reads the database every few
//! seconds; this is what a failover in between may lose.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

/// The number and the hash of a committed event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedEvent {
    pub seq: i64,
    pub hash: String,
}

/// The last committed event, until the rollback guard has seen it.
#[derive(Debug, Default)]
pub(crate) struct OwnCommits(ArcSwapOption<CommittedEvent>);

impl OwnCommits {
    pub(crate) fn record(&self, committed: CommittedEvent) {
        let committed = Arc::new(committed);
        // A concurrent change may have recorded a later event.
        self.0
            .rcu(|last| last.clone().filter(|last| last.seq > committed.seq).or_else(|| Some(Arc::clone(&committed))));
    }

    pub(crate) fn last(&self) -> Option<Arc<CommittedEvent>> {
        self.0.load_full()
    }

    /// Forgets the event, unless a later one was recorded.
    pub(crate) fn forget(&self, seen: &Arc<CommittedEvent>) {
        self.0.rcu(|last| last.clone().filter(|last| !Arc::ptr_eq(last, seen)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: i64) -> CommittedEvent {
        CommittedEvent { seq, hash: format!("hash {seq}") }
    }

    #[test]
    fn last_event_is_kept_until_it_is_seen() {
        let commits = OwnCommits::default();
        commits.record(event(2));
        commits.record(event(1));
        let seen = commits.last().unwrap();
        assert_eq!(*seen, event(2), "changes return in any order");
        commits.record(event(3));
        commits.forget(&seen);
        let last = commits.last().unwrap();
        assert_eq!(*last, event(3), "it was committed after the guard has read the database");
        commits.forget(&last);
        assert_eq!(commits.last(), None);
    }
}
