//! Name resolution. It is a trait, so that tests can supply forged answers.

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

/// The name could not be resolved to any address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name could not be resolved")]
pub struct NoAddress;

/// Resolves names to addresses.
pub trait Resolve: fmt::Debug + Send + Sync {
    fn resolve<'a>(
        &'a self,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, NoAddress>> + Send + 'a>>;
}

/// Maximum number of concurrent look-ups. The resolver of the system blocks one thread for each,
/// and it cannot be interrupted while a name server does not answer.
const MAX_CONCURRENT_LOOKUPS: usize = 32;
/// How long a caller waits for a look-up. The thread may take longer.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a failed look-up is cached.
const FAILURE_TTL: Duration = Duration::from_secs(15);
/// Maximum number of cached failures.
const MAX_CACHED_FAILURES: usize = 1024;

/// The resolver of the operating system.
#[derive(Debug)]
pub struct SystemResolver {
    threads: Arc<Semaphore>,
    failed: Mutex<HashMap<String, Instant>>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { threads: Arc::new(Semaphore::new(MAX_CONCURRENT_LOOKUPS)), failed: Mutex::default() }
    }
}

impl SystemResolver {
    async fn resolve_name(&self, name: &str) -> Result<Vec<IpAddr>, NoAddress> {
        let now = Instant::now();
        if self.failed.lock().unwrap_or_else(PoisonError::into_inner).get(name).is_some_and(|until| now < *until) {
            return Err(NoAddress);
        }
        let permit = Arc::clone(&self.threads).acquire_owned().await.map_err(|_| NoAddress)?;
        let host = name.to_owned();
        let lookup = tokio::task::spawn_blocking(move || {
            let addresses: Vec<_> =
                (host.as_str(), 0).to_socket_addrs().map(|all| all.map(|one| one.ip()).collect()).unwrap_or_default();
            // The thread releases the permit, because the caller may have timed out. Blocked
            // threads therefore cannot accumulate.
            drop(permit);
            addresses
        });
        let addresses = timeout(LOOKUP_TIMEOUT, lookup).await.ok().and_then(Result::ok).unwrap_or_default();
        if addresses.is_empty() {
            self.remember_failure(name);
            return Err(NoAddress);
        }
        Ok(addresses)
    }

    fn remember_failure(&self, name: &str) {
        let now = Instant::now();
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() >= MAX_CACHED_FAILURES {
            failed.retain(|_, until| now < *until);
        }
        if failed.len() < MAX_CACHED_FAILURES {
            failed.insert(name.to_owned(), now + FAILURE_TTL);
        }
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(
        &'a self,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, NoAddress>> + Send + 'a>> {
        Box::pin(self.resolve_name(name))
    }
}
