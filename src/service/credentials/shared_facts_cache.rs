//! What exchanges remember of many keys: the permissions and limits of a key, the permissions of
//! its owner, and one audience. Nothing about a single key or owner is remembered.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, PoisonError, RwLock},
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    domain::{
        access::{
            access_record::EffectiveStatement,
            audience::{Audience, Identifier},
            owner::Owner,
            owner_status::{DirectorySnapshot, Ownership, ServiceClientSnapshot},
            permission::PermissionSet,
        },
        common::{
            id::ServiceClientId,
            time::{Span, Timestamp},
        },
        credentials::api_key::KeyLifecycle,
        exchange::key_context::{KeyContext, KeyProperties},
        status_lists::StatusListIndex,
    },
    store::credentials::{narrow_lookup::NarrowCredential, shared_facts::StoredSharedFacts},
};

/// Maximum number of remembered facts: some six megabytes.
const MAX_ENTRIES: usize = 4096;

/// How many exchanges load facts at once. After a change all of them miss, and each load takes a
/// connection.
const MAX_LOADS: usize = 2;

/// Facts of the keys with the same entitlement, service client and roles, at one audience.
#[derive(Debug)]
pub struct SharedFacts {
    pub permissions: PermissionSet,
    pub audiences: Option<Vec<Identifier>>,
    pub max_token_ttl: Option<Span>,
    pub client: Option<ServiceClientSnapshot>,
    pub owner_permissions: PermissionSet,
    /// The requested audience.
    pub audience: Audience,
}

/// The facts by what they depend on. `None` remembers that such keys need a lookup in all tables.
#[derive(Debug)]
pub struct SharedFactsCache {
    entries: RwLock<HashMap<u64, Entry>>,
    hasher: RandomState,
    loads: Semaphore,
}

impl Default for SharedFactsCache {
    fn default() -> Self {
        Self { entries: RwLock::default(), hasher: RandomState::default(), loads: Semaphore::new(MAX_LOADS) }
    }
}

#[derive(Debug)]
struct Entry {
    dependencies: Dependencies,
    facts: Option<Arc<SharedFacts>>,
}

/// What facts depend on. They are remembered until one of these differs, so no time limits them.
#[derive(Debug, PartialEq, Eq)]
struct Dependencies {
    authority_event: String,
    audience: Identifier,
    entitlement: i64,
    client: Option<ServiceClientId>,
    is_of_user: bool,
    is_of_organization: bool,
    roles: Option<String>,
}

impl Dependencies {
    fn of(row: &NarrowCredential, audience: &Identifier) -> Self {
        Self {
            authority_event: row.authority_event.clone(),
            audience: audience.clone(),
            entitlement: row.entitlement,
            client: client_of(row).cloned(),
            is_of_user: row.owner_scope.user().is_some(),
            is_of_organization: row.owner_scope.organization().is_some(),
            roles: row.roles.clone(),
        }
    }

    fn are_those_of(&self, row: &NarrowCredential, audience: &Identifier) -> bool {
        self.authority_event == row.authority_event
            && self.entitlement == row.entitlement
            && self.client.as_ref() == client_of(row)
            && self.is_of_user == row.owner_scope.user().is_some()
            && self.is_of_organization == row.owner_scope.organization().is_some()
            && self.roles == row.roles
            && self.audience == *audience
    }
}

const fn client_of(row: &NarrowCredential) -> Option<&ServiceClientId> {
    match &row.owner {
        Owner::ServiceClient(id) => Some(id),
        Owner::User(_) | Owner::Organization(_) | Owner::Unowned => None,
    }
}

impl SharedFactsCache {
    /// Returns a cache into which nothing is loaded, so every key is verified with all tables. For
    /// comparisons of the two ways.
    pub fn disabled() -> Self {
        Self { loads: Semaphore::new(0), ..Self::default() }
    }

    fn hash(&self, row: &NarrowCredential, audience: &Identifier) -> u64 {
        let scope = (row.owner_scope.user().is_some(), row.owner_scope.organization().is_some());
        self.hasher.hash_one((row.entitlement, client_of(row), scope, &row.roles, audience.as_str()))
    }

    /// Returns `None` if enough facts are being loaded.
    pub(crate) fn begin_load(&self) -> Option<SemaphorePermit<'_>> {
        self.loads.try_acquire().ok()
    }

    /// Returns what is remembered for a key at an audience: `Some(None)` if it needs a lookup in
    /// all tables.
    pub fn find(&self, row: &NarrowCredential, audience: &Identifier) -> Option<Option<Arc<SharedFacts>>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(&self.hash(row, audience))?;
        entry.dependencies.are_those_of(row, audience).then(|| entry.facts.clone())
    }

    pub fn remember(&self, row: &NarrowCredential, audience: &Identifier, facts: Option<Arc<SharedFacts>>) {
        let entry = Entry { dependencies: Dependencies::of(row, audience), facts };
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, entry| entry.dependencies.authority_event == row.authority_event);
        }
        if entries.len() >= MAX_ENTRIES {
            entries.clear();
        }
        entries.insert(self.hash(row, audience), entry);
    }
}

impl SharedFacts {
    /// Returns `None` if the requested audience does not exist, or takes claims from metadata,
    /// which differ from key to key.
    pub fn from_stored(stored: StoredSharedFacts) -> Option<Self> {
        let StoredSharedFacts { permissions, audiences, max_token_ttl, client, owner_permissions, audience } = stored;
        let audience = audience?.audience;
        let facts = Self { permissions, audiences, max_token_ttl, client, owner_permissions, audience };
        facts.audience.token_profile.claims.is_empty().then_some(facts)
    }

    /// Returns the context of an exchange for the requested audience: the same that a lookup in all
    /// tables gives.
    pub fn context_of(&self, row: NarrowCredential, now: Timestamp) -> KeyContext {
        let status = row.status().map(|(list, index)| StatusListIndex { list: list.clone(), index });
        let directory = DirectorySnapshot {
            user: row.user(),
            membership: row.membership(),
            organization: row.organization,
            creator_membership: None,
            creator_blocked: false,
            permissions: self.owner_permissions.clone(),
        };
        let key = KeyProperties {
            id: row.key,
            credential_id: row.id,
            credential_expires_at: row.credential_expires_at,
            credential_replaced_at: None,
            ownership: Ownership {
                owner: row.owner,
                owner_scope: row.owner_scope,
                creator_membership: None,
                client: self.client.clone(),
                directory,
            },
            permissions: self.permissions.clone(),
            audiences: self.audiences.clone(),
            max_token_ttl: self.max_token_ttl,
            exchanges_per_minute: None,
            record_bound: false,
            lifecycle: KeyLifecycle { expires_at: row.key_expires_at, ..KeyLifecycle::default() },
            created_at: row.created_at,
            version: row.version,
            access_statements: Vec::<EffectiveStatement>::new(),
            metadata: "{}".to_owned(),
            status,
        };
        KeyContext { now, key, audiences: vec![self.audience.clone()], sources: BTreeMap::new() }
    }
}
