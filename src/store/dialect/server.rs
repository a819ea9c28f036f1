//! What a PostgreSQL server reports about itself, and the heartbeats by which it proves that it can
//! write.

use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl,
    connection::SimpleConnection as _,
    dsl::sql,
    pg::data_types::PgTimestamp,
    sql_types::{BigInt, Text, Timestamptz},
};

use crate::store::database_lease::ServerIdentity;

/// Reads which server this is. A session stays with its server for its whole life.
pub fn read_identity(connection: &mut PgConnection) -> QueryResult<ServerIdentity> {
    let started_at: PgTimestamp = sql::<Timestamptz>("SELECT pg_postmaster_start_time()").get_result(connection)?;
    Ok(ServerIdentity {
        started_at: started_at.0,
        system_id: read_system_id(connection)?,
        timeline: read_timeline(connection)?,
    })
}

/// Reads the timeline of a primary. Returns `None` if the role may not.
pub fn read_timeline(connection: &mut PgConnection) -> QueryResult<Option<u32>> {
    let timeline = evaluate_if_permitted(connection, "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")?;
    Ok(timeline.and_then(|digits| u32::from_str_radix(&digits, 16).ok()))
}

/// Reads the identifier that `initdb` gave to the cluster. Returns `None` if the role may not.
pub fn read_system_id(connection: &mut PgConnection) -> QueryResult<Option<i64>> {
    let id = evaluate_if_permitted(connection, "(SELECT system_identifier::TEXT FROM pg_control_system())")?;
    Ok(id.and_then(|digits| digits.parse().ok()))
}

/// Evaluates an expression of functions that every role may call by default. Returns `None` if an
/// operator has revoked that, or if a hosted database does not have the functions.
///
/// All other errors are returned, because they can pass: a server whose identity was read without
/// one of its parts would look like another server for as long as the connection lasts. Diesel does
/// not disclose the SQLSTATE, so the server distinguishes the errors.
fn evaluate_if_permitted(connection: &mut PgConnection, expression: &str) -> QueryResult<Option<String>> {
    connection.batch_execute(&format!(
        "DO $$ BEGIN PERFORM set_config('keyswap.identity', {expression}, false); \
         EXCEPTION WHEN insufficient_privilege OR undefined_function OR feature_not_supported \
         THEN PERFORM set_config('keyswap.identity', '', false); END $$"
    ))?;
    // The parameter is missing if a pooler has changed the session.
    let value: String =
        sql::<Text>("SELECT COALESCE(current_setting('keyswap.identity', true), '')").get_result(connection)?;
    Ok((!value.is_empty()).then_some(value))
}

/// Writes and commits a heartbeat of a replica.
pub fn record_heartbeat(connection: &mut PgConnection, replica: &str) -> QueryResult<usize> {
    diesel::sql_query(
        "INSERT INTO replica_heartbeats (replica_id, heartbeats) VALUES ($1, 1) \
         ON CONFLICT (replica_id) DO UPDATE SET heartbeats = replica_heartbeats.heartbeats + 1",
    )
    .bind::<Text, _>(replica)
    .execute(connection)
}

/// How the changes of a server reach its standbys.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Replication {
    #[diesel(sql_type = Text)]
    pub synchronous_standby_names: String,
    #[diesel(sql_type = Text)]
    pub synchronous_commit: String,
    /// The number of connected standbys.
    #[diesel(sql_type = BigInt)]
    pub standbys: i64,
    /// How many of them a commit waits for.
    #[diesel(sql_type = BigInt)]
    pub synchronous_standbys: i64,
    /// How many of them the role may not see the state of.
    #[diesel(sql_type = BigInt)]
    pub hidden_standbys: i64,
}

/// Whether a commit waits for a standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicationMode {
    NoStandby,
    Synchronous,
    Asynchronous,
}

impl Replication {
    pub fn mode(&self) -> ReplicationMode {
        let waits = ["on", "remote_apply", "remote_write"].contains(&self.synchronous_commit.as_str());
        if waits && !self.synchronous_standby_names.trim().is_empty() {
            ReplicationMode::Synchronous
        } else if self.standbys == 0 {
            ReplicationMode::NoStandby
        } else {
            ReplicationMode::Asynchronous
        }
    }
}

pub fn read_replication(connection: &mut PgConnection) -> QueryResult<Replication> {
    diesel::sql_query(
        "SELECT current_setting('synchronous_standby_names') AS synchronous_standby_names, \
         current_setting('synchronous_commit') AS synchronous_commit, COUNT(*) AS standbys, \
         COUNT(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) AS synchronous_standbys, \
         COUNT(*) FILTER (WHERE sync_state IS NULL) AS hidden_standbys FROM pg_stat_replication",
    )
    .get_result(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_commit_that_waits_for_a_standby_is_synchronous() {
        for (names, commit, standbys, expected) in [
            ("", "on", 0, ReplicationMode::NoStandby),
            ("", "on", 1, ReplicationMode::Asynchronous),
            ("ANY 1 (*)", "on", 2, ReplicationMode::Synchronous),
            ("db2", "remote_write", 0, ReplicationMode::Synchronous),
            ("db2", "local", 1, ReplicationMode::Asynchronous),
            ("db2", "off", 1, ReplicationMode::Asynchronous),
        ] {
            let replication = Replication {
                synchronous_standby_names: names.to_owned(),
                synchronous_commit: commit.to_owned(),
                standbys,
                synchronous_standbys: 0,
                hidden_standbys: 0,
            };
            assert_eq!(replication.mode(), expected, "{names} {commit}");
        }
    }
}
