//! Application state that all use cases share: the store, the keys and the settings.

use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    crypto::{master::MasterKeys, random::SystemEntropy},
    domain::{
        api_key::OwnerType, api_key_value::Prefix, audience::Identifier, grant::Limits, origin::Origin,
        portal_session::Choice, rotation::Timing, signing::Algorithm, time::Span,
    },
    outbound::{Guard, Outbound},
    store::Store,
    telemetry::metrics::Metrics,
};

use super::{
    exchange_counts::Counted,
    guessing::Guessing,
    key_ring::KeyRing,
    last_used::LastUsed,
    overview::Census,
    signing_keys::{ClockWatch, Part, live_tokens::LiveTokens},
    status_lists::StatusLists,
    witness::Witness,
};

/// The settings that the use cases depend on.
#[derive(Debug, Clone)]
pub struct Settings {
    pub limits: Limits,
    pub timing: Timing,
    pub algorithm: Algorithm,
    /// Time after which a signing key is rotated. `None` disables automatic rotation.
    pub rotation_period: Option<Span>,
    /// Name of this server in the list of replicas.
    pub replica_name: String,
    pub management_audience: Identifier,
    pub prefix: Prefix,
    pub accepted_prefixes: Vec<Prefix>,
    /// Whether imported keys are accepted.
    pub foreign: bool,
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
    pub choices: BTreeSet<Choice>,
    /// Origin of the hosted pages if it differs from the public URL of Keyswap.
    pub portal_url: Option<Origin>,
    /// Maximum number of service clients per user. 0 means no limit.
    pub max_clients_per_user: u32,
    pub keys_dir: PathBuf,
    pub admin_key_file: PathBuf,
    /// Path of the rollback guard file, outside of the database and its backups.
    pub witness: PathBuf,
    /// Whether the first master key may be created for an empty database.
    pub may_create_keys: bool,
    /// Restrictions on the addresses that webhooks may be delivered to.
    pub guard: Guard,
}

impl Settings {
    /// Returns the prefixes of native API keys, the current one first.
    pub fn own_prefixes(&self) -> impl Iterator<Item = &Prefix> {
        std::iter::once(&self.prefix).chain(&self.accepted_prefixes)
    }
}

/// The state of a Keyswap process.
pub struct App {
    pub store: Store,
    pub settings: Settings,
    pub master: MasterKeys,
    pub entropy: SystemEntropy,
    pub keys: KeyRing,
    pub status_lists: StatusLists,
    pub guessing: Guessing,
    pub last_used: LastUsed,
    pub live_tokens: LiveTokens,
    pub counted: Counted,
    pub census: Census,
    /// This server's entry in the list of replicas. Empty for a command.
    pub part: Part,
    pub watch: ClockWatch,
    pub metrics: Metrics,
    pub outbound: Outbound,
    /// The credential that unknown keys are compared with. It makes their refusal cost the same
    /// work as that of a wrong key.
    pub decoy: super::proof::Decoy,
    /// Period of the constant-time deadline: refusals are answered at whole multiples of it. No
    /// setting changes it. Zero answers immediately; tests use it to measure the work behind a
    /// refusal.
    pub refusal_tick: Duration,
    pub witness: Witness,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "App({})", self.settings.limits.issuer)
    }
}

/// The form in which handlers and jobs share the application state.
pub type Shared = Arc<App>;

impl App {
    pub fn issuer(&self) -> &str {
        &self.settings.limits.issuer
    }
}
