//! Concurrent requests. All of them are in progress, and none has committed a change, when the test
//! releases a lock that it holds.

use std::{future::Future, pin::Pin, ptr, time::Duration};

use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, sql_types::BigInt};
use reqwest::{RequestBuilder, Response};
use tokio::time::{Instant, sleep};

use super::{Database, Kind, Server};

/// Work that starts when it is first polled. Each piece runs on its own task.
pub type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Sends each request to its server while a lock prevents every change from committing, and
/// releases the lock when all requests wait. On PostgreSQL each request waits before the next one
/// is sent, so the lock is granted in the order of the requests. SQLite has no lock queue: all
/// callers are authenticated before the first change starts, and the order of the changes is
/// undefined.
pub async fn race<const N: usize>(requests: [(&Server, RequestBuilder); N]) -> [Response; N] {
    race_while(requests, async || {}).await
}

/// Like `race`, and runs `meanwhile` while all requests wait.
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

/// Runs `work` while a lock prevents every change from committing, and releases the lock when all
/// of it waits. `arrived` returns how many pieces of work have reached the store. It is used for
/// SQLite, which does not report waiting connections.
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

/// The number of changes that wait for a lock. Jobs that only read are not counted, although the
/// held lock blocks them as well.
fn changes_that_wait(database: &Database) -> usize {
    let mut connection = PgConnection::establish(&database.url).unwrap();
    let query = "SELECT count(*) AS count FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' \
                 AND (query LIKE 'UPDATE%' OR query LIKE 'INSERT%' OR query LIKE 'DELETE%' OR query LIKE '%pg_advisory_xact_lock%')";
    let found: Count = diesel::sql_query(query).get_result(&mut connection).unwrap();
    usize::try_from(found.count).unwrap()
}

/// The number of credentials that the server has accepted.
fn granted(server: &Server) -> usize {
    let metrics = server.services.metrics.encode().unwrap();
    let granted = metrics.lines().filter(|line| line.starts_with("keyswap_exchanges_total{"));
    granted
        .filter(|line| line.contains("result=\"granted\""))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
        .sum()
}
