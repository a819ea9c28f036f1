//! A new database of either kind for each measurement. Dropping the value deletes it.

use std::{
    env,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use clap::ValueEnum;
use diesel::{
    Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection,
    sql_types::{BigInt, Text},
};
use tempfile::TempDir;

use super::usage;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// The number of deployments that this process has made.
static DEPLOYMENTS: AtomicU32 = AtomicU32::new(0);

/// A database, and a directory for the files that belong to it.
pub struct TemporaryDeployment {
    pub database: Database,
    dir: TempDir,
    /// The URL of a superuser without a database name. PostgreSQL only.
    server: Option<String>,
    pub postmaster: Option<u32>,
    name: String,
    /// The measured program.
    pub program: PathBuf,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

#[derive(QueryableByName)]
struct Sizes {
    #[diesel(sql_type = BigInt)]
    database: i64,
    #[diesel(sql_type = BigInt)]
    log: i64,
}

impl TemporaryDeployment {
    pub fn make(database: Database, program: &Path) -> Self {
        // Next to the build, not in /tmp, which may be in memory: commits must reach a disk.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let (server, postmaster) = match database {
            Database::Sqlite => (None, None),
            Database::Postgres => {
                let data =
                    env::var_os("KEYSWAP_TEST_PGDATA").expect("KEYSWAP_TEST_PGDATA beside KEYSWAP_TEST_POSTGRES");
                let url = env::var("KEYSWAP_TEST_POSTGRES").expect("KEYSWAP_TEST_POSTGRES");
                (Some(url), Some(usage::postmaster(Path::new(&data))))
            }
        };
        let number = DEPLOYMENTS.fetch_add(1, Ordering::Relaxed);
        let name = format!("keyswap_bench_{}_{number}", std::process::id());
        let place = Self { database, dir, server, postmaster, name, program: program.to_owned() };
        place.as_superuser(&[&format!("CREATE DATABASE {}", place.name)]);
        place
    }

    pub fn url(&self) -> String {
        match &self.server {
            None => format!("sqlite://{}", self.file().display()),
            Some(server) => format!("{server}/{}", self.name),
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn keys_dir(&self) -> PathBuf {
        self.dir().join("keys")
    }

    /// The administrator's API key, which the first server creates.
    pub fn administrator(&self) -> String {
        std::fs::read_to_string(self.keys_dir().join("administrator.key"))
            .expect("the administrator's key")
            .trim()
            .to_owned()
    }

    /// In MiB: the size of the database and of its write-ahead log.
    pub fn sizes(&self) -> (f64, f64) {
        let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
        match self.database {
            Database::Sqlite => {
                let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
                (mib(size(&self.file())), mib(size(&self.dir().join("keyswap.db-wal"))))
            }
            Database::Postgres => {
                let mut connection = PgConnection::establish(&self.url()).expect("the database");
                let sizes = "SELECT pg_database_size(current_database()) AS database, \
                             (SELECT COALESCE(SUM(size), 0) FROM pg_ls_waldir())::BIGINT AS log";
                let sizes: Sizes = diesel::sql_query(sizes).get_result(&mut connection).expect("sizes");
                (mib(sizes.database.unsigned_abs()), mib(sizes.log.unsigned_abs()))
            }
        }
    }

    fn file(&self) -> PathBuf {
        self.dir().join("keyswap.db")
    }

    fn as_superuser(&self, statements: &[&str]) {
        let Some(server) = &self.server else { return };
        let mut connection = PgConnection::establish(&format!("{server}/postgres")).expect("a superuser of PostgreSQL");
        for statement in statements {
            diesel::sql_query(*statement).execute(&mut connection).expect("PostgreSQL does it");
        }
    }

    /// Deletes the signing keys and the state of replicas, so that the next server starts with new
    /// keys of its own algorithm.
    pub fn forget_signing_keys(&self) {
        let tables = ["signing_key_tokens", "status_list_tokens", "signing_keys", "replicas"];
        let deletions = tables.map(|table| format!("DELETE FROM {table}"));
        let manifest =
            "UPDATE signing_key_manifest SET counter = 0, digests = '{}', tag = NULL, master_version = NULL".to_owned();
        for statement in deletions.into_iter().chain([manifest]) {
            let query = diesel::sql_query(statement);
            match self.database {
                Database::Sqlite => {
                    let mut connection =
                        SqliteConnection::establish(&self.file().display().to_string()).expect("the database");
                    query.execute(&mut connection).expect("no such rows");
                }
                Database::Postgres => {
                    let mut connection = PgConnection::establish(&self.url()).expect("the database");
                    query.execute(&mut connection).expect("no such rows");
                }
            }
        }
        // With the file, the rollback guard would report a rolled back database.
        let _ = std::fs::remove_file(self.keys_dir().join("rollback_guard"));
    }

    /// Completes the maintenance that the inserts have caused, so that it does not run during a
    /// measurement.
    pub fn settle(&self) {
        match self.database {
            Database::Sqlite => {
                let mut connection =
                    SqliteConnection::establish(&self.file().display().to_string()).expect("the database");
                diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).expect("a checkpoint");
            }
            Database::Postgres => {
                let mut connection = PgConnection::establish(&self.url()).expect("the database");
                diesel::sql_query("VACUUM ANALYZE").execute(&mut connection).expect("statistics");
                diesel::sql_query("CHECKPOINT").execute(&mut connection).expect("a checkpoint");
            }
        }
    }

    pub fn version(&self) -> String {
        let version = match self.database {
            Database::Sqlite => {
                let mut connection = SqliteConnection::establish(":memory:").expect("SQLite");
                diesel::sql_query("SELECT sqlite_version() AS version").get_result::<Version>(&mut connection)
            }
            Database::Postgres => {
                let mut connection = PgConnection::establish(&self.url()).expect("the database");
                diesel::sql_query("SELECT current_setting('server_version') AS version").get_result(&mut connection)
            }
        };
        format!("{} {}", self.database.name(), version.expect("a version").version)
    }
}

impl Drop for TemporaryDeployment {
    fn drop(&mut self) {
        // Errors are ignored, because a panic during a panic would abort and hide the first one.
        let Some(server) = &self.server else { return };
        if let Ok(mut connection) = PgConnection::establish(&format!("{server}/postgres")) {
            let _ = diesel::sql_query(format!("DROP DATABASE {} WITH (FORCE)", self.name)).execute(&mut connection);
        }
    }
}
