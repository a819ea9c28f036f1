//! Finds the primary among the hosts of the configured URL: the writable server with the highest
//! timeline. A former primary that was not stopped has a lower one.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use tokio::time::Instant;

use crate::store::{connection::ServerConn, error::OpenError, settings::DatabaseUrl};

/// How long to wait for a server with a higher timeline after a writable one was found.
const GRACE: Duration = Duration::from_millis(500);

/// The maximum number of threads that connect to one host. Nothing but its end can wake a thread
/// that waits for a host that does not respond.
const MAX_ATTEMPTS: usize = 4;

/// The hosts that are asked which of them is the primary.
#[derive(Debug)]
pub struct PrimarySearch {
    hosts: Vec<Host>,
}

#[derive(Debug, Clone)]
struct Host {
    url: DatabaseUrl,
    /// Each thread that connects has a copy, so the number of references counts them.
    attempts: Arc<()>,
}

/// A connection to a writable server, and the URL of its host.
pub type Primary = (ServerConn, DatabaseUrl);

impl PrimarySearch {
    pub fn new(url: &DatabaseUrl) -> Self {
        Self { hosts: url.split_hosts().into_iter().map(|url| Host { url, attempts: Arc::default() }).collect() }
    }

    pub const fn has_several_hosts(&self) -> bool {
        self.hosts.len() > 1
    }

    /// Connects to all hosts at the same time, and returns the connection to the primary. A host
    /// that does not respond delays this by `GRACE`, or by `limit` if no other host is writable.
    pub fn connect<F>(&self, limit: Duration, connect: F) -> Result<Primary, OpenError>
    where
        F: Fn(&DatabaseUrl) -> Result<ServerConn, OpenError> + Clone + Send + 'static,
    {
        let (sender, answers) = mpsc::channel();
        for host in self.hosts.iter().filter(|host| Arc::strong_count(&host.attempts) <= MAX_ATTEMPTS) {
            let (Host { url, attempts }, sender, connect) = (host.clone(), sender.clone(), connect.clone());
            let attempt = move || {
                let answer = connect(&url).map(|connection| (connection, url));
                // The search may have ended.
                let _ = sender.send(answer);
                drop(attempts);
            };
            thread::Builder::new().name("connect".to_owned()).spawn(attempt).map_err(OpenError::Thread)?;
        }
        drop(sender);
        select_primary(&answers, limit)
    }
}

fn select_primary(answers: &Receiver<Result<Primary, OpenError>>, limit: Duration) -> Result<Primary, OpenError> {
    let timeline = |(connection, _): &Primary| connection.server().and_then(|server| server.timeline);
    let mut end = Instant::now() + limit;
    let (mut primary, mut failure) = (None, None);
    // Fails after the last answer, and at the end.
    while let Ok(answer) = answers.recv_timeout(end.saturating_duration_since(Instant::now())) {
        match answer {
            Ok(found) => {
                end = end.min(Instant::now() + GRACE);
                if primary.as_ref().is_none_or(|best| timeline(best) < timeline(&found)) {
                    primary = Some(found);
                }
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    primary.ok_or_else(|| failure.unwrap_or(OpenError::NoResponse))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use diesel::{Connection as _, SqliteConnection};

    use super::*;
    use crate::store::{connection::Conn, database_lease::ServerIdentity};

    const LONG: Duration = Duration::from_secs(60);

    fn server(timeline: Option<u32>) -> ServerConn {
        let server = ServerIdentity { started_at: 1, system_id: Some(7), timeline };
        let inner = Conn::Sqlite(SqliteConnection::establish(":memory:").unwrap());
        ServerConn::new(inner, Some(server), String::new())
    }

    /// Answers as the name of the host says.
    fn answer(url: &DatabaseUrl) -> Result<ServerConn, OpenError> {
        match url.to_string().trim_start_matches("postgres://") {
            "silent/k" => {
                thread::sleep(LONG);
                Err(OpenError::NoResponse)
            }
            "standby/k" => Err(OpenError::ReadOnly),
            "old/k" => Ok(server(Some(1))),
            "new/k" => Ok(server(Some(2))),
            _ => Ok(server(None)),
        }
    }

    fn search(hosts: &str) -> PrimarySearch {
        PrimarySearch::new(&format!("postgres://{hosts}/k").parse().unwrap())
    }

    #[test]
    fn highest_timeline_is_selected_and_a_silent_host_is_not_waited_for() {
        for hosts in ["old,new,standby,silent", "silent,new,old", "unknown,new", "new,old", "new"] {
            let started = Instant::now();
            let (connection, url) = search(hosts).connect(LONG, answer).unwrap();
            let timeline = connection.server().and_then(|server| server.timeline);
            assert_eq!((timeline, url.to_string()), (Some(2), "postgres://new/k".to_owned()), "{hosts}");
            assert!(started.elapsed() < LONG / 2, "{hosts}: {:?}", started.elapsed());
        }
    }

    #[test]
    fn hosts_without_a_primary_are_a_failure() {
        let short = Duration::from_millis(50);
        let failed = |hosts, limit| search(hosts).connect(limit, answer).map(|(_, url)| url).unwrap_err();
        assert!(matches!(failed("standby,standby", LONG), OpenError::ReadOnly));
        assert!(matches!(failed("silent,standby", short), OpenError::ReadOnly));
        assert!(matches!(failed("silent", short), OpenError::NoResponse));
    }

    #[test]
    fn threads_for_a_silent_host_are_bounded() {
        let search = search("silent");
        let attempts = Arc::new(AtomicUsize::new(0));
        for _ in 0..2 * MAX_ATTEMPTS {
            let counted = Arc::clone(&attempts);
            let connect = move |url: &DatabaseUrl| {
                counted.fetch_add(1, Ordering::SeqCst);
                answer(url)
            };
            assert!(search.connect(Duration::from_millis(20), connect).is_err());
        }
        assert!(attempts.load(Ordering::SeqCst) <= MAX_ATTEMPTS);
    }
}
