//! Requests that race: each of them is under way, and none has changed anything, when a lock that
//! the test holds is released.

use std::{future::Future, pin::Pin, ptr, time::Duration};

use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, sql_types::BigInt};
use reqwest::{RequestBuilder, Response};
use tokio::time::{Instant, sleep};

use super::{Database, Kind, Server};

/// Work that begins when it is polled, and runs on a task of its own.
pub type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Sends requests, each to its server, while a lock keeps every change from being committed. The
/// lock is released when all of them wait. On PostgreSQL each waits before the next is sent, so
/// locks are granted in the order of the requests. SQLite has no queue: all callers are
/// authenticated before the first change begins, and any of them may come first.
pub async fn race<const N: usize>(requests: [(&Server, RequestBuilder); N]) -> [Response; N] {
    race_while(requests, async || {}).await
}

/// As `race`, with something that happens while all requests wait.
pub async fn race_while<const N: usize>(
    requests: [(&Server, RequestBuilder); N],
    meanwhile: impl AsyncFnOnce(),
) -> [Response; N] {
    let database = &requests[0].0.database;
    let mut servers: Vec<&Server> = Vec::new();
    for (server, _) in &requests {
        if !servers.iter().any(|known| ptr::eq(*known, *server)) {
            servers.push(*server);
        }
    }
    let authenticated = || servers.iter().map(|server| granted(server)).sum::<usize>();
    let before = authenticated();
    let work =
        requests.map(|(_, request)| -> Work<Response> { Box::pin(async move { request.send().await.unwrap() }) });
    hold_up(database, || authenticated() - before, work, meanwhile).await
}

/// Runs `work` while a lock keeps every change from being committed, until all of it waits.
/// `arrived` is how much of it has come as far as the store, for SQLite, which does not say who
/// waits.
pub async fn hold_up<T: Send + 'static, const N: usize>(
    database: &Database,
    arrived: impl Fn() -> usize,
    work: [Work<T>; N],
    meanwhile: impl AsyncFnOnce(),
) -> [T; N] {
    let held = database.hold_changes();
    let mut running = Vec::with_capacity(N);
    for (count, one) in (1..).zip(work) {
        running.push(tokio::spawn(one));
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let waiting = match database.kind {
                Kind::Sqlite => arrived(),
                Kind::Postgres => changes_that_wait(database),
            };
            if waiting >= count {
                break;
            }
            assert!(Instant::now() < deadline, "only {waiting} of {count} requests wait for the lock");
            sleep(Duration::from_millis(3)).await;
        }
    }
    meanwhile().await;
    held.release();
    let mut done = Vec::with_capacity(N);
    for one in running {
        done.push(one.await.unwrap());
    }
    done.try_into().unwrap_or_else(|_| unreachable!("as many as there were"))
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Changes that wait for a lock. Jobs that only read do not count: the lock that is held keeps them
/// waiting too.
fn changes_that_wait(database: &Database) -> usize {
    let mut connection = PgConnection::establish(&database.url).unwrap();
    let query = "SELECT count(*) AS count FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' \
                 AND (query LIKE 'UPDATE%' OR query LIKE 'INSERT%' OR query LIKE 'DELETE%' OR query LIKE '%pg_advisory_xact_lock%')";
    let found: Count = diesel::sql_query(query).get_result(&mut connection).unwrap();
    usize::try_from(found.count).unwrap()
}

/// How many credentials a server has accepted.
fn granted(server: &Server) -> usize {
    let metrics = server.app.metrics.encode().unwrap();
    let granted = metrics.lines().filter(|line| line.starts_with("keyswap_exchanges_total{"));
    granted
        .filter(|line| line.contains("result=\"Granted\""))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
        .sum()
}
