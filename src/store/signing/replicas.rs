//! The replicas that are running or were running recently.

use std::fmt;

use crate::{
    domain::{
        common::{
            id::ReplicaId,
            time::{Span, Timestamp},
        },
        signing::{Algorithm, rotation::RotationTiming},
    },
    store::{
        prelude::*,
        schema::{replica_heartbeats, replicas},
    },
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
    id, name, started_at, last_heartbeat_at, published_kids, algorithm, rotation_period, timing: RotationTiming,
    master_key_fingerprints,
});

selectable!(replicas => RotationTiming {
    verifier_cache_ttl, replica_staleness, verifier_leeway, clock_skew, max_ttl,
});

/// Inserts or updates what a replica reports about itself.
pub fn put(tx: &mut Tx<'_>, replica: &Replica) -> Result<(), StoreError> {
    let timing = &replica.timing;
    let reported = values!(replicas, replica =>
        last_heartbeat_at, published_kids, algorithm, rotation_period, master_key_fingerprints,
        verifier_cache_ttl = timing.verifier_cache_ttl, replica_staleness = timing.replica_staleness,
        verifier_leeway = timing.verifier_leeway, clock_skew = timing.clock_skew, max_ttl = timing.max_ttl,
    );
    if diesel::update(replicas::table.find(&replica.id)).set(reported).count_affected(tx)? == 0 {
        let fixed = values!(replicas, replica => id, name, started_at);
        diesel::insert_into(replicas::table).values((fixed, reported)).execute_in(tx)?;
    }
    Ok(())
}

/// Returns all replicas, in the order in which they started.
pub fn list(connection: &mut Conn) -> Result<Vec<Replica>, StoreError> {
    replicas::table
        .order((replicas::started_at.asc(), replicas::id.asc()))
        .select(Replica::as_select())
        .load_all(connection)
}

pub fn delete(tx: &mut Tx<'_>, id: &ReplicaId) -> Result<(), StoreError> {
    diesel::delete(replica_heartbeats::table.find(id)).execute_in(tx)?;
    diesel::delete(replicas::table.find(id)).execute_in(tx)
}
