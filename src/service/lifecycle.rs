//! The end of the process: it drains, which readiness reports, and then it stops.

use tokio::sync::watch;

/// How far the end of the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// Requests are served, but load balancers must send no more.
    Draining,
    /// Connections are no longer accepted, and requests in flight complete.
    Stopping,
}

/// The phase of the process. It only advances.
#[derive(Debug)]
pub struct Lifecycle(watch::Sender<Phase>);

/// Observes the changes of the phase after its creation.
#[derive(Debug)]
pub struct PhaseChanges(watch::Receiver<Phase>);

impl Default for Lifecycle {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Serving))
    }
}

impl Lifecycle {
    /// Enters a phase, unless the process is in a later one.
    pub fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let is_later = *current < phase;
            *current = phase.max(*current);
            is_later
        });
    }

    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    pub fn is_draining(&self) -> bool {
        self.phase() >= Phase::Draining
    }

    /// Returns once the process drains or stops.
    pub async fn wait_for_drain(&self) {
        // `wait_for` fails when the sender is dropped. That also means stop.
        let _ = self.0.subscribe().wait_for(|phase| *phase >= Phase::Draining).await;
    }

    /// Must be called before the work that the next change interrupts. A request that arrives while
    /// the process drains is thereby interrupted by the stop only.
    pub fn changes(&self) -> PhaseChanges {
        PhaseChanges(self.0.subscribe())
    }
}

impl PhaseChanges {
    /// Returns after the next change. If the process stops already, returns at once.
    pub async fn next(&mut self) {
        if *self.0.borrow() < Phase::Stopping {
            let _ = self.0.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn phase_only_advances() {
        let lifecycle = Lifecycle::default();
        assert!(!lifecycle.is_draining() && lifecycle.wait_for_drain().now_or_never().is_none());
        lifecycle.enter(Phase::Stopping);
        lifecycle.enter(Phase::Draining);
        assert_eq!(lifecycle.phase(), Phase::Stopping);
        assert!(lifecycle.wait_for_drain().now_or_never().is_some());
    }

    #[test]
    fn each_change_interrupts_what_began_before_it() {
        let lifecycle = Lifecycle::default();
        let mut first = lifecycle.changes();
        assert!(first.next().now_or_never().is_none());
        lifecycle.enter(Phase::Draining);
        let mut second = lifecycle.changes();
        assert!(first.next().now_or_never().is_some() && second.next().now_or_never().is_none());
        lifecycle.enter(Phase::Stopping);
        assert!(second.next().now_or_never().is_some());
        assert!(lifecycle.changes().next().now_or_never().is_some(), "the process stops already");
    }
}
