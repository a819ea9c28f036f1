//! Names to addresses. A part of its own, so that tests can hand in names that lie.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    net::{IpAddr, ToSocketAddrs},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

/// A name that leads nowhere, as far as could be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name could not be resolved")]
pub struct NoAddress;

/// Finds the addresses of a name.
pub trait Resolve: fmt::Debug + Send + Sync {
    fn resolve<'a>(
        &'a self,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, NoAddress>> + Send + 'a>>;
}

/// Look-ups at once. The system's resolver blocks a thread for each, and cannot be interrupted when a name server is silent.
const AT_ONCE: usize = 32;
/// How long a look-up is waited for. Its thread may take longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a name that leads nowhere, or whose name server is silent, is not looked up again.
const FAILURE_KEPT: Duration = Duration::from_secs(15);
/// How many such names are remembered.
const FAILURES: usize = 1024;

/// The resolver of the operating system.
#[derive(Debug)]
pub struct SystemResolver {
    threads: Arc<Semaphore>,
    failed: Mutex<HashMap<String, Instant>>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { threads: Arc::new(Semaphore::new(AT_ONCE)), failed: Mutex::default() }
    }
}

impl SystemResolver {
    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, NoAddress> {
        let now = Instant::now();
        if self.failed.lock().unwrap_or_else(PoisonError::into_inner).get(name).is_some_and(|until| now < *until) {
            return Err(NoAddress);
        }
        let permit = Arc::clone(&self.threads).acquire_owned().await.map_err(|_| NoAddress)?;
        let asked = name.to_owned();
        let found = tokio::task::spawn_blocking(move || {
            let found: Vec<_> =
                (asked.as_str(), 0).to_socket_addrs().map(|all| all.map(|one| one.ip()).collect()).unwrap_or_default();
            // Given back by the thread and not by whoever waits for it, who may have gone: threads cannot pile up.
            drop(permit);
            found
        });
        let found = timeout(PATIENCE, found).await.ok().and_then(Result::ok).unwrap_or_default();
        if found.is_empty() {
            self.remember_failure(name);
            return Err(NoAddress);
        }
        Ok(found)
    }

    fn remember_failure(&self, name: &str) {
        let now = Instant::now();
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() >= FAILURES {
            failed.retain(|_, until| now < *until);
        }
        if failed.len() < FAILURES {
            failed.insert(name.to_owned(), now + FAILURE_KEPT);
        }
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(
        &'a self,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, NoAddress>> + Send + 'a>> {
        Box::pin(self.look_up(name))
    }
}
