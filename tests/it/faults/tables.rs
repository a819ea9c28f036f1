//! The content of a database, read without Keyswap code.
#![allow(clippy::disallowed_types, reason = "rows are compared, nothing else")]

use std::{collections::BTreeMap, fs, path::Path};

use diesel::{
    Connection, PgConnection, QueryResult, QueryableByName, RunQueryDsl,
    sql_types::{Binary, Text},
};

use super::process::Deployment;
use crate::support::{Database, Kind, sqlite};

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

#[derive(QueryableByName)]
struct Bytes {
    #[diesel(sql_type = Binary)]
    bytes: Vec<u8>,
}

/// The column `line` of a query's result.
pub fn lines(deployment: &Deployment, query: &str) -> Vec<String> {
    lines_of(&deployment.database, query)
}

/// Like `lines`, for a database without a deployment.
pub fn lines_of(database: &Database, query: &str) -> Vec<String> {
    let url = &database.url;
    let found: QueryResult<Vec<Line>> = match database.kind {
        Kind::Sqlite => diesel::sql_query(query).load(&mut sqlite(url)),
        Kind::Postgres => diesel::sql_query(query).load(&mut PgConnection::establish(url).unwrap()),
    };
    found.unwrap_or_else(|error| panic!("{query}: {error}")).into_iter().map(|row| row.line).collect()
}

/// The value of a binary SQL expression.
pub fn bytes(deployment: &Deployment, expression: &str) -> Vec<u8> {
    let url = &deployment.database.url;
    let query = diesel::sql_query(format!("SELECT {expression} AS bytes"));
    let row: Bytes = match deployment.database.kind {
        Kind::Sqlite => query.get_result(&mut sqlite(url)).unwrap(),
        Kind::Postgres => query.get_result(&mut PgConnection::establish(url).unwrap()).unwrap(),
    };
    row.bytes
}

/// The names of all tables except Diesel's own.
pub fn names(deployment: &Deployment) -> Vec<String> {
    let query = match deployment.database.kind {
        Kind::Sqlite => {
            "SELECT name AS line FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
        }
        Kind::Postgres => {
            "SELECT tablename::TEXT AS line FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        }
    };
    let all = lines(deployment, query);
    all.into_iter().filter(|name| name != "__diesel_schema_migrations").collect()
}

/// The names of all views.
pub fn views(deployment: &Deployment) -> Vec<String> {
    let query = match deployment.database.kind {
        Kind::Sqlite => "SELECT name AS line FROM sqlite_master WHERE type = 'view'",
        Kind::Postgres => "SELECT viewname::TEXT AS line FROM pg_views WHERE schemaname = 'public'",
    };
    lines(deployment, query)
}

/// Every row of every table, as text.
pub fn contents(deployment: &Deployment) -> BTreeMap<String, Vec<String>> {
    let rows = |table: &String| match deployment.database.kind {
        Kind::Sqlite => {
            let columns = lines(deployment, &format!("SELECT name AS line FROM pragma_table_info('{table}')"));
            let quoted: Vec<_> = columns.iter().map(|column| format!("quote({column})")).collect();
            let row = quoted.join(" || ',' || ");
            lines(deployment, &format!("SELECT {row} AS line FROM {table} ORDER BY 1"))
        }
        Kind::Postgres => lines(deployment, &format!("SELECT t::TEXT AS line FROM {table} AS t ORDER BY 1")),
    };
    names(deployment).into_iter().map(|table| (table.clone(), rows(&table))).collect()
}

/// Reverts all migrations and runs them again, which leaves empty tables.
pub fn start_over(deployment: &Deployment) {
    down(deployment);
    let left = [names(deployment), views(deployment)].concat();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(deployment.run(&["migrate"]).code, Some(0));
}

/// Runs the `down.sql` of all migrations in reverse order.
pub fn down(deployment: &Deployment) {
    let folder = if deployment.database.kind == Kind::Sqlite { "sqlite" } else { "postgres" };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
    let mut all: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    for migration in all.iter().rev() {
        deployment.database.sql(&fs::read_to_string(migration.join("down.sql")).unwrap());
    }
    deployment.database.sql("DELETE FROM __diesel_schema_migrations");
}
