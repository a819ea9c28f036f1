//! What every capability works with: the store, the keys, and the settings.

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

/// The settings that rules depend on.
#[derive(Debug, Clone)]
pub struct Settings {
    pub limits: Limits,
    pub timing: Timing,
    pub algorithm: Algorithm,
    /// How long a signing key signs; absent: until somebody rotates.
    pub rotation_period: Option<Span>,
    /// What this server is called among the replicas.
    pub replica_name: String,
    pub management_audience: Identifier,
    pub prefix: Prefix,
    pub accepted_prefixes: Vec<Prefix>,
    /// Whether keys of another make are taken.
    pub foreign: bool,
    pub max_key_lifetime: Option<Span>,
    /// Whose keys can be made.
    pub owner_types: BTreeSet<OwnerType>,
    /// How long a verifier may use a status list it has fetched.
    pub status_ttl: Span,
    /// How often last-used times and counts of exchanges are written.
    pub flush_interval: Duration,
    /// How long a portal session lasts.
    pub session_ttl: Span,
    /// What a user chooses there for a new key.
    pub choices: BTreeSet<Choice>,
    /// Where users reach the hosted pages, when it is not where everyone else reaches Keyswap.
    pub portal_url: Option<Origin>,
    /// How many service clients a user may have; 0: no limit.
    pub max_clients_per_user: u32,
    pub keys_dir: PathBuf,
    pub admin_key_file: PathBuf,
    /// Where the witness lies, outside of the database and its backups.
    pub witness: PathBuf,
    /// Whether the first master key may be made over an empty database.
    pub may_create_keys: bool,
    /// Where webhooks may be sent to.
    pub guard: Guard,
}

impl Settings {
    /// What keys of ours begin with.
    pub fn own_prefixes(&self) -> impl Iterator<Item = &Prefix> {
        std::iter::once(&self.prefix).chain(&self.accepted_prefixes)
    }
}

/// Keyswap, running.
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
    /// This server among the replicas.
    pub part: Part,
    pub watch: ClockWatch,
    pub metrics: Metrics,
    pub outbound: Outbound,
    /// What unknown keys are compared with, so that they cost what wrong ones do.
    pub decoy: super::proof::Decoy,
    /// Refusals are answered at whole multiples of this. No configuration changes it: a test that measures the work behind a refusal
    /// sets zero, which is at once.
    pub refusal_tick: Duration,
    pub witness: Witness,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "App({})", self.settings.limits.issuer)
    }
}

/// How handlers and jobs share it.
pub type Shared = Arc<App>;

impl App {
    pub fn issuer(&self) -> &str {
        &self.settings.limits.issuer
    }
}
