//! The replicas that are running or were running recently.

use std::fmt;

use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl, SelectableHelper};

use crate::{
    domain::{
        common::{
            id::ReplicaId,
            time::{Span, Timestamp},
        },
        signing::{Algorithm, rotation::RotationTiming},
    },
    store::{error::StoreError, pool::Conn, rows::selectable, schema::replicas, transaction::Tx},
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

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.id)
    }
}

selectable!(replicas => Replica {
    id: ReplicaId;
    name: String;
    started_at: Timestamp;
    last_heartbeat_at: Timestamp;
    published_kids: String;
    algorithm: Algorithm;
    rotation_period: Option<Span>;
    timing: RotationTiming = embedded;
    master_key_fingerprints: String;
});

selectable!(replicas => RotationTiming {
    verifier_cache_ttl: Span;
    max_snapshot_age: Span = replica_staleness;
    verifier_leeway: Span;
    clock_skew: Span;
    max_ttl: Span;
});

/// Inserts or updates what a replica reports about itself.
pub fn put(tx: &mut Tx<'_>, replica: &Replica) -> Result<(), StoreError> {
    let timing = &replica.timing;
    let reported = (
        replicas::last_heartbeat_at.eq(replica.last_heartbeat_at),
        replicas::published_kids.eq(replica.published_kids.as_str()),
        replicas::algorithm.eq(replica.algorithm),
        replicas::rotation_period.eq(replica.rotation_period),
        replicas::verifier_cache_ttl.eq(timing.verifier_cache_ttl),
        replicas::replica_staleness.eq(timing.max_snapshot_age),
        replicas::verifier_leeway.eq(timing.verifier_leeway),
        replicas::clock_skew.eq(timing.clock_skew),
        replicas::max_ttl.eq(timing.max_ttl),
        replicas::master_key_fingerprints.eq(replica.master_key_fingerprints.as_str()),
    );
    if diesel::update(replicas::table.find(&replica.id)).set(reported).execute(&mut **tx)? == 0 {
        let fixed = (
            replicas::id.eq(&replica.id),
            replicas::name.eq(replica.name.as_str()),
            replicas::started_at.eq(replica.started_at),
        );
        diesel::insert_into(replicas::table).values((fixed, reported)).execute(&mut **tx)?;
    }
    Ok(())
}

/// Returns all replicas, in the order in which they started.
pub fn list(connection: &mut Conn) -> Result<Vec<Replica>, StoreError> {
    Ok(replicas::table
        .order((replicas::started_at.asc(), replicas::id.asc()))
        .select(Replica::as_select())
        .load(connection)?)
}

pub fn delete(tx: &mut Tx<'_>, id: &ReplicaId) -> Result<(), StoreError> {
    diesel::delete(replicas::table.find(id)).execute(&mut **tx)?;
    Ok(())
}
