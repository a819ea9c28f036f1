//! Settings of the service layer.

use crate::{
    domain::{
        access::{audience::Identifier, owner::OwnerType},
        common::{origin::Origin, time::Span},
        credentials::format::Prefix,
        exchange::facts::Limits,
        portal::session::KeyFormOption,
        signing::{Algorithm, rotation::RotationTiming},
    },
    outbound::Guard,
};
use std::{collections::BTreeSet, path::PathBuf, time::Duration};

/// The settings that the use cases depend on.
#[derive(Debug, Clone)]
pub struct Settings {
    pub limits: Limits,
    pub timing: RotationTiming,
    pub algorithm: Algorithm,
    /// Time after which a signing key is rotated. `None` disables automatic rotation.
    pub rotation_period: Option<Span>,
    /// Name of this server in the list of replicas.
    pub replica_name: String,
    pub management_audience: Identifier,
    pub prefix: Prefix,
    pub accepted_prefixes: Vec<Prefix>,
    /// Whether imported keys are accepted.
    pub accept_imported_keys: bool,
    pub max_key_lifetime: Option<Span>,
    /// Owner types whose keys can be created.
    pub owner_types: BTreeSet<OwnerType>,
    /// Time for which a verifier may use a status list. `status_lists::ttl` limits it further.
    pub status_ttl: Span,
    /// Interval at which last-used times, live token counts and exchange counts are written.
    pub flush_interval: Duration,
    /// Lifetime of a portal session.
    pub session_ttl: Span,
    /// What a portal user can choose for a new key besides its name and expiry.
    pub choices: BTreeSet<KeyFormOption>,
    /// Origin of the hosted pages if it differs from the public URL of Keyswap.
    pub portal_url: Option<Origin>,
    /// Maximum number of service clients per user. 0 means no limit.
    pub max_clients_per_user: u32,
    pub keys_dir: PathBuf,
    pub admin_key_file: PathBuf,
    /// Path of the rollback guard file, outside of the database and its backups.
    pub rollback_guard_file: PathBuf,
    /// Whether the first master key may be created for an empty database.
    pub may_create_keys: bool,
    /// Restrictions on the addresses that webhooks may be delivered to.
    pub guard: Guard,
}

impl Settings {
    /// Returns the prefixes of native API keys, the current one first.
    pub fn native_key_prefixes(&self) -> impl Iterator<Item = &Prefix> {
        std::iter::once(&self.prefix).chain(&self.accepted_prefixes)
    }
}
