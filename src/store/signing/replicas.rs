//! The replicas that are running or were running recently.

use diesel::{ExpressionMethods, QueryDsl, Queryable, RunQueryDsl, Selectable, SelectableHelper};

use crate::{
    domain::{
        common::{
            id::ReplicaId,
            time::{Span, Timestamp},
        },
        signing::{Algorithm, rotation::RotationTiming},
    },
    store::{columns::parsed, error::StoreError, pool::Conn, schema::replicas, transaction::Tx},
};

/// A replica, as it reported itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    pub id: ReplicaId,
    /// The name of its host.
    pub name: String,
    pub started_at: Timestamp,
    pub last_heartbeat_at: Timestamp,
    /// The key ids (`kid`) in its JWKS, separated by single spaces.
    pub published_kids: String,
    pub algorithm: Algorithm,
    pub rotation_period: Option<Span>,
    pub timing: RotationTiming,
    /// The fingerprints of the master keys that are available to it, separated by single spaces.
    pub master_key_fingerprints: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = replicas)]
struct Row {
    id: String,
    name: String,
    started_at: i64,
    last_heartbeat_at: i64,
    published_kids: String,
    algorithm: String,
    rotation_period: Option<i64>,
    verifier_cache_ttl: i64,
    replica_staleness: i64,
    verifier_leeway: i64,
    clock_skew: i64,
    max_ttl: i64,
    master_key_fingerprints: String,
}

/// Inserts or updates what a replica reports about itself.
pub fn put(tx: &mut Tx<'_>, replica: &Replica) -> Result<(), StoreError> {
    let timing = &replica.timing;
    let told = (
        replicas::last_heartbeat_at.eq(replica.last_heartbeat_at.millis()),
        replicas::published_kids.eq(replica.published_kids.as_str()),
        replicas::algorithm.eq(replica.algorithm.as_str()),
        replicas::rotation_period.eq(replica.rotation_period.map(Span::millis)),
        replicas::verifier_cache_ttl.eq(timing.verifier_cache_ttl.millis()),
        replicas::replica_staleness.eq(timing.max_snapshot_age.millis()),
        replicas::verifier_leeway.eq(timing.verifier_leeway.millis()),
        replicas::clock_skew.eq(timing.clock_skew.millis()),
        replicas::max_ttl.eq(timing.max_ttl.millis()),
        replicas::master_key_fingerprints.eq(replica.master_key_fingerprints.as_str()),
    );
    if diesel::update(replicas::table.find(replica.id.as_str())).set(told).execute(&mut **tx)? == 0 {
        let made = (
            replicas::id.eq(replica.id.as_str()),
            replicas::name.eq(replica.name.as_str()),
            replicas::started_at.eq(replica.started_at.millis()),
        );
        diesel::insert_into(replicas::table).values((made, told)).execute(&mut **tx)?;
    }
    Ok(())
}

/// Returns all replicas, in the order in which they started.
pub fn list(connection: &mut Conn) -> Result<Vec<Replica>, StoreError> {
    let rows: Vec<Row> = replicas::table
        .order((replicas::started_at.asc(), replicas::id.asc()))
        .select(Row::as_select())
        .load(connection)?;
    rows.into_iter().map(replica).collect()
}

pub fn delete(tx: &mut Tx<'_>, id: &ReplicaId) -> Result<(), StoreError> {
    diesel::delete(replicas::table.find(id.as_str())).execute(&mut **tx)?;
    Ok(())
}

fn replica(row: Row) -> Result<Replica, StoreError> {
    let span = |millis: i64| Span::from_millis(millis.max(0).unsigned_abs());
    Ok(Replica {
        id: parsed("replica id", &row.id)?,
        name: row.name,
        started_at: Timestamp::from_millis(row.started_at),
        last_heartbeat_at: Timestamp::from_millis(row.last_heartbeat_at),
        published_kids: row.published_kids,
        algorithm: parsed("algorithm", &row.algorithm)?,
        rotation_period: row.rotation_period.map(span),
        timing: RotationTiming {
            verifier_cache_ttl: span(row.verifier_cache_ttl),
            max_snapshot_age: span(row.replica_staleness),
            verifier_leeway: span(row.verifier_leeway),
            clock_skew: span(row.clock_skew),
            max_ttl: span(row.max_ttl),
        },
        master_key_fingerprints: row.master_key_fingerprints,
    })
}
