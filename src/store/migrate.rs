//! The embedded migrations. They run once even if several replicas start together: on PostgreSQL
//! under an advisory lock for the transaction, on SQLite under its exclusive lock.

use diesel::{
    Connection as _, backend::Backend, connection::SimpleConnection, migration::MigrationSource, pg::Pg, sqlite::Sqlite,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::store::{
    dialect,
    error::OpenError,
    pool::{Conn, PooledConn},
};

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// The table in which Diesel records the applied migrations.
const TABLE: &str = "__diesel_schema_migrations";

/// The advisory lock for migrations: "keyswap" in ASCII.
const LOCK: i64 = 0x006b_6579_7377_6170;

/// The applied and the pending migrations.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MigrationStatus {
    pub applied: Vec<String>,
    pub pending: Vec<String>,
}

/// Runs the pending migrations and returns their versions. If one fails, none is applied. Returns
/// `OpenError::Newer` if the database contains migrations that this program does not.
pub fn run(connection: &mut PooledConn) -> Result<Vec<String>, OpenError> {
    let before = status(connection)?;
    if before.pending.is_empty() {
        return Ok(Vec::new());
    }
    let connection: &mut Conn = connection;
    match connection {
        // EXCLUSIVE is taken before the first read, so a second process waits and then finds
        // nothing to do.
        Conn::Sqlite(inner) => inner
            .exclusive_transaction(|inner| apply(inner, SQLITE))
            .map_err(|MigrationFailure(text)| OpenError::Migration(text)),
        Conn::Postgres(_) => connection
            .transaction(|connection| {
                // An index build on a large table may take longer than a request may.
                connection.batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '60s'")?;
                dialect::lock(connection, LOCK).map_err(|error| MigrationFailure(error.to_string()))?;
                match connection {
                    Conn::Postgres(inner) => apply(inner, POSTGRES),
                    Conn::Sqlite(_) => Ok(Vec::new()),
                }
            })
            .map_err(|MigrationFailure(text)| OpenError::Migration(text)),
    }
}

/// Returns the applied and the pending migrations without writing. Diesel would create its table in
/// order to read it. That would modify a database that is not Keyswap's, and two replicas that
/// create the table at the same time fail on PostgreSQL.
///
/// Returns `OpenError::Newer` if the database contains migrations that this program does not.
pub fn status(connection: &mut PooledConn) -> Result<MigrationStatus, OpenError> {
    let connection: &mut Conn = connection;
    let is_new = !dialect::has_table(connection, TABLE).map_err(|error| OpenError::Migration(error.to_string()))?;
    match connection {
        Conn::Sqlite(_) if is_new => {
            Ok(MigrationStatus { applied: Vec::new(), pending: embedded_versions::<Sqlite>(&SQLITE)? })
        }
        Conn::Postgres(_) if is_new => {
            Ok(MigrationStatus { applied: Vec::new(), pending: embedded_versions::<Pg>(&POSTGRES)? })
        }
        Conn::Sqlite(inner) => compare_versions(inner, SQLITE),
        Conn::Postgres(inner) => compare_versions(inner, POSTGRES),
    }
}

/// The versions of the embedded migrations.
fn embedded_versions<DB: Backend>(source: &EmbeddedMigrations) -> Result<Vec<String>, OpenError>
where
    EmbeddedMigrations: MigrationSource<DB>,
{
    let migrations =
        MigrationSource::<DB>::migrations(source).map_err(|error| OpenError::Migration(error.to_string()))?;
    Ok(migrations.iter().map(|migration| migration.name().version().to_string()).collect())
}

struct MigrationFailure(String);

impl From<diesel::result::Error> for MigrationFailure {
    fn from(error: diesel::result::Error) -> Self {
        Self(error.to_string())
    }
}

fn apply<C, DB>(connection: &mut C, source: EmbeddedMigrations) -> Result<Vec<String>, MigrationFailure>
where
    C: MigrationHarness<DB>,
    DB: Backend,
    EmbeddedMigrations: MigrationSource<DB>,
{
    let applied = connection.run_pending_migrations(source).map_err(|error| MigrationFailure(error.to_string()))?;
    Ok(applied.iter().map(ToString::to_string).collect())
}

fn compare_versions<C, DB>(connection: &mut C, source: EmbeddedMigrations) -> Result<MigrationStatus, OpenError>
where
    C: MigrationHarness<DB>,
    DB: Backend,
    EmbeddedMigrations: MigrationSource<DB>,
{
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| OpenError::Migration(error.to_string());
    let known = embedded_versions::<DB>(&source)?;
    let mut applied: Vec<_> =
        connection.applied_migrations().map_err(failed)?.iter().map(ToString::to_string).collect();
    applied.sort();
    if let Some(newer) = applied.iter().find(|version| !known.contains(version)) {
        return Err(OpenError::NewerSchema(newer.clone()));
    }
    let pending = known.into_iter().filter(|version| !applied.contains(version)).collect();
    Ok(MigrationStatus { applied, pending })
}
