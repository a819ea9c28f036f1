//! What a run has used, once a minute.

use std::{
    fs,
    thread::{available_parallelism, sleep},
    time::{Duration, Instant},
};

use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection, sql_types::BigInt};

use super::schedule::Schedule;
use crate::{
    databases::{Database, TemporaryDeployment},
    processes::Process,
    usage,
};

/// The interval between samples of memory. Buffered uses grow for ten seconds until they are
/// written.
const INTERVAL: Duration = Duration::from_secs(1);

/// One minute. Sizes are in MiB, and CPU is in cores.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// The mean and the maximum of the server.
    pub memory: f64,
    pub peak: f64,
    pub server_cpu: f64,
    pub database_cpu: Option<f64>,
    /// The part of all cores that other processes used, the backup among them.
    pub others: f64,
    pub descriptors: usize,
    pub sizes: Sizes,
}

/// The sizes at the end of a minute, in MiB.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub database: f64,
    /// The write-ahead log: its files, and on PostgreSQL also what was written since the server
    /// exists and the size that it may have.
    pub log: f64,
    pub log_written: Option<f64>,
    pub log_allowed: Option<f64>,
    pub credential_usage: f64,
    pub events: f64,
}

#[derive(QueryableByName)]
struct TableSizes {
    #[diesel(sql_type = BigInt)]
    credential_usage: i64,
    #[diesel(sql_type = BigInt)]
    events: i64,
    #[diesel(sql_type = BigInt)]
    log_written: i64,
    #[diesel(sql_type = BigInt)]
    log_allowed: i64,
}

/// The CPU times of the server, of PostgreSQL, of this process and of the machine.
type CpuTimes = [Duration; 4];

pub struct Sampler<'a> {
    pub place: &'a TemporaryDeployment,
    pub server: &'a Process,
}

impl Sampler<'_> {
    /// Samples a minute that has begun.
    pub fn sample(&self, schedule: Schedule, minute: usize) -> Sample {
        let (started, before, mut memory) = (Instant::now(), self.cpu_times(), Vec::new());
        let end = schedule.begin + schedule.end_of_minute(minute);
        loop {
            memory.push(usage::resident(self.server.pid()) as f64 / 1024.0);
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            sleep(left.min(INTERVAL));
        }
        let (elapsed, after) = (started.elapsed().as_secs_f64().max(1e-3), self.cpu_times());
        let used = |part: usize| after[part].saturating_sub(before[part]).as_secs_f64() / elapsed;
        let [server, database, client, machine] = [0, 1, 2, 3].map(used);
        let cores = available_parallelism().map_or(1, usize::from) as f64;
        Sample {
            memory: memory.iter().sum::<f64>() / memory.len() as f64,
            peak: memory.iter().copied().fold(0.0, f64::max),
            server_cpu: server,
            database_cpu: self.place.postmaster.map(|_| database),
            others: ((machine - server - database - client) / cores).max(0.0),
            descriptors: fs::read_dir(format!("/proc/{}/fd", self.server.pid())).expect("the process runs").count(),
            sizes: self.sizes(),
        }
    }

    fn cpu_times(&self) -> CpuTimes {
        let database = self.place.postmaster.map(usage::cpu_with_children).unwrap_or_default();
        [usage::cpu(self.server.pid()), database, usage::cpu(std::process::id()), usage::machine()]
    }

    fn sizes(&self) -> Sizes {
        let mib = |bytes: i64| bytes as f64 / 1024.0 / 1024.0;
        let ((database, log), tables) = (self.place.sizes(), self.table_sizes());
        let of_postgres = |bytes: i64| (self.place.database == Database::Postgres).then(|| mib(bytes));
        Sizes {
            database,
            log,
            log_written: of_postgres(tables.log_written),
            log_allowed: of_postgres(tables.log_allowed),
            credential_usage: mib(tables.credential_usage),
            events: mib(tables.events),
        }
    }

    /// The sizes of tables with their indexes.
    fn table_sizes(&self) -> TableSizes {
        let url = self.place.url();
        match self.place.database {
            Database::Sqlite => {
                let size = |table: &str| {
                    format!(
                        "(SELECT COALESCE(SUM(pages.pgsize), 0) FROM sqlite_schema AS part \
                         CROSS JOIN dbstat AS pages ON pages.name = part.name WHERE part.tbl_name = '{table}')"
                    )
                };
                let query = format!(
                    "SELECT {} AS credential_usage, {} AS events, 0 AS log_written, 0 AS log_allowed",
                    size("credential_usage"),
                    size("events")
                );
                let file = url.trim_start_matches("sqlite://");
                let mut connection = SqliteConnection::establish(file).expect("the database");
                diesel::sql_query(query).get_result(&mut connection)
            }
            Database::Postgres => {
                let query = "SELECT pg_total_relation_size('credential_usage') AS credential_usage, \
                             pg_total_relation_size('events') AS events, \
                             pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::BIGINT AS log_written, \
                             pg_size_bytes(current_setting('max_wal_size')) AS log_allowed";
                let mut connection = PgConnection::establish(&url).expect("the database");
                diesel::sql_query(query).get_result(&mut connection)
            }
        }
        .expect("sizes")
    }
}
