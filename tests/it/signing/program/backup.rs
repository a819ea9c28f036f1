//! Backups of the database, and the operator's actions after a restore.

use std::sync::Arc;

use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, sql_types::Text};
use keyswap::{
    crypto::master_keys::MasterKeys,
    domain::events::{Actor, Origin},
    service::encryption::rollback_guard,
};

use super::deployment::{Broken, Deployment};
use crate::support::{Database, Kind, sqlite};

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

/// One of two copies of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    Backup,
    Newest,
}

impl Copy {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Backup => "backup_",
            Self::Newest => "newest_",
        }
    }
}

impl Deployment {
    /// Copies every table, which emulates a backup.
    pub fn copy(&self, to: Copy) {
        let to = to.prefix();
        let each = |table: &String| {
            format!("DROP TABLE IF EXISTS {to}{table}; CREATE TABLE {to}{table} AS SELECT * FROM {table};")
        };
        self.database.sql(&self.tables.iter().map(each).collect::<String>());
    }

    /// Kills every replica and restores the tables.
    pub fn put_back(&mut self, from: Copy) {
        self.kill_all();
        let (unbound, from) = (
            match self.database.kind {
                Kind::Sqlite => "PRAGMA foreign_keys = OFF",
                Kind::Postgres => "SET session_replication_role = replica",
            },
            from.prefix(),
        );
        let each = |table: &String| format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM {from}{table};");
        let each = self.tables.iter().map(each).collect::<String>();
        self.database.sql(&format!("{unbound}; BEGIN; {each} COMMIT"));
    }

    /// Whether the backup is older than the database. Restoring an identical state is not a
    /// rollback.
    pub fn backup_is_older(&self) -> bool {
        let state = |prefix: &str| {
            let moved = format!("(SELECT SUM(version) FROM {prefix}signing_keys)");
            let query = format!("SELECT (SELECT seq FROM {prefix}event_chain_head) || ' ' || {moved} AS name");
            names(&self.database, &query)
        };
        state("") != state(Copy::Backup.prefix())
    }

    /// The operator accepts the restored database.
    pub async fn accept(&self) {
        if self.broken == Broken::NoRollbackGuard {
            return;
        }
        let keys = self.database.dir.path().join("keys");
        self.store.set_cipher(Arc::new(MasterKeys::read_dir(&keys).unwrap().unwrap()));
        let file = keys.join("rollback_guard");
        let before = (self.broken == Broken::AcceptsWithDelays).then(|| self.monotonic_time());
        rollback_guard::accept(&self.store, &file, Origin::of(Actor::Operator)).await.unwrap();
        if let Some(before) = before {
            self.database.sql(&before);
        }
    }

    /// The statement that restores the recorded state of the clock.
    fn monotonic_time(&self) -> String {
        let columns = "last_observed_at || ', stable_since = ' || stable_since";
        let row = names(&self.database, &format!("SELECT {columns} AS name FROM clock_monitor")).pop().unwrap();
        format!("UPDATE clock_monitor SET last_observed_at = {row}")
    }
}

/// The names of all tables. Must be called before a copy is made.
pub fn tables(database: &Database) -> Vec<String> {
    names(
        database,
        match database.kind {
            Kind::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
            Kind::Postgres => "SELECT tablename::TEXT AS name FROM pg_tables WHERE schemaname = 'public'",
        },
    )
}

fn names(database: &Database, query: &str) -> Vec<String> {
    let query = diesel::sql_query(query);
    let rows: Vec<Name> = match database.kind {
        Kind::Sqlite => query.load(&mut sqlite(&database.url)).unwrap(),
        Kind::Postgres => query.load(&mut PgConnection::establish(&database.url).unwrap()).unwrap(),
    };
    rows.into_iter().map(|row| row.name).collect()
}
