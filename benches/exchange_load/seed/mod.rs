//! Bulk creation of keys. What the keys need, and the first key of each kind, is created through the
//! API. The other keys are copies of its rows with new ids, secrets, owners and status list indexes.

mod directory;
mod plan;
mod service;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use keyswap::{
    crypto::{credential, master_keys::MasterKeys, random::SystemEntropy, sha256},
    domain::{
        common::{
            derived_id::CredentialId,
            encryption::RowCipher as _,
            id::{GeneratedId, KeyId},
            time::Timestamp,
        },
        credentials::{
            api_key::KeyLifecycle,
            authority::{CredentialAuthority, Entitlement},
            format::{ApiKeyValue, Prefix, PresentedKey, Secret},
        },
        signing::Algorithm,
        status_lists::StatusListIndex,
    },
};
use serde_json::{Value, json};

use super::{
    api::{ManagementApi, text},
    copies::{Copies, NewKey, Template},
    databases::TemporaryDeployment,
    processes::Process,
};
use plan::{KeyKind, Plan, PlannedKey};

/// Who has the keys, and what they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Population {
    /// All keys belong to one service client and have the same three
    /// permissions.
    Service,
    /// For a million keys: 300,000 users in 20,000 organizations and 200
    /// service clients, 40 permission sets, a tenth of the keys with audiences,
    /// and one in a hundred with access records.
    Directory,
}

impl Population {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Directory => "directory",
        }
    }
}

const BATCH: usize = 5_000;

/// The values of all keys, concatenated. With ten million keys, one `String` each would take half a
/// gigabyte more.
pub struct Keys {
    values: Vec<u8>,
    width: usize,
}

impl Keys {
    /// Concatenates values of the same length.
    pub fn from_values<V: AsRef<[u8]>>(all: &[V]) -> Self {
        let width = all.first().expect("a key").as_ref().len();
        assert!(all.iter().all(|value| value.as_ref().len() == width), "keys of different lengths");
        Self { values: all.iter().flat_map(|value| value.as_ref().iter().copied()).collect(), width }
    }

    pub fn count(&self) -> usize {
        self.values.len() / self.width
    }

    pub const fn width(&self) -> usize {
        self.width
    }

    pub fn get(&self, index: usize) -> &[u8] {
        &self.values[index * self.width..][..self.width]
    }
}

/// The first key of its kind, which the API created.
struct FirstKey {
    number: u32,
    template: Template,
    prefix: Prefix,
    value: String,
    made_at: Timestamp,
}

/// Fills a new database and returns the values of the keys.
pub fn fill(place: &TemporaryDeployment, population: Population, algorithm: Algorithm, count: u32) -> Arc<Keys> {
    // The server initializes the database, and stops before rows are inserted past it.
    let server = Process::server(place, algorithm);
    let administrator = place.administrator();
    let api = ManagementApi::new(&server, &administrator);
    let plan = match population {
        Population::Service => service::create(&api),
        Population::Directory => directory::create(&api, place, count),
    };
    let first_keys = create_first_keys(&api, &plan, count);
    drop(server);
    let (keys, records) = copy(place, &plan, &first_keys, count);
    if !records.is_empty() {
        place.settle();
        let server = Process::server(place, algorithm);
        let api = ManagementApi::new(&server, &administrator);
        for record in &records {
            api.post("/v1/access-records", record, 201);
        }
        eprintln!("{}: {} access records", place.database.name(), records.len());
    }
    Arc::new(keys)
}

/// Creates the first key of each kind.
fn create_first_keys(api: &ManagementApi<'_>, plan: &Plan, count: u32) -> BTreeMap<KeyKind, FirstKey> {
    let mut first_keys = BTreeMap::new();
    for number in 0..count {
        let key = plan.key(number);
        first_keys.entry(key.kind).or_insert_with(|| create_key(api, plan, number, &key));
    }
    first_keys
}

fn create_key(api: &ManagementApi<'_>, plan: &Plan, number: u32, key: &PlannedKey) -> FirstKey {
    let created = api.post(
        "/v1/api-keys",
        &json!({
            "name": "Load",
            "owner": key.owner_body(),
            "permissions": plan.permissions(key.kind),
            "audiences": plan.audiences(key.kind),
        }),
        201,
    );
    let value = text(&created, "value").to_owned();
    let presented = PresentedKey::parse(&value).expect("a well-formed key");
    FirstKey {
        number,
        template: Template {
            key: text(&created, "id").parse().expect("the id of a key"),
            credential: presented.credential_id,
        },
        prefix: presented.prefix,
        value,
        made_at: text(&created, "created_at").parse().expect("a time"),
    }
}

/// Creates the other keys. Returns the values of all, and the bodies of the access records to
/// create.
fn copy(
    place: &TemporaryDeployment,
    plan: &Plan,
    first_keys: &BTreeMap<KeyKind, FirstKey>,
    count: u32,
) -> (Keys, Vec<Value>) {
    let started = Instant::now();
    let made_at = first_keys.values().map(|first| first.made_at).min().expect("a key");
    let mut copies = Copies::of(place, made_at);
    let copier = Copier {
        plan,
        master: MasterKeys::read_dir(&place.keys_dir()).expect("the master keys").expect("a master key"),
        entropy: SystemEntropy::default(),
    };
    let (mut values, mut records, mut batch) = (Vec::new(), Vec::new(), Vec::with_capacity(BATCH));
    for number in 0..count {
        let key = plan.key(number);
        let first = &first_keys[&key.kind];
        let id = if first.number == number {
            values.extend_from_slice(first.value.as_bytes());
            first.template.key.clone()
        } else {
            let copy = copier.copy(first, &key, copies.assign_index(), &mut values);
            let id = copy.key.clone();
            batch.push(copy);
            id
        };
        records.extend(plan.access_record(number, &key, &id));
        if batch.len() == BATCH || number + 1 == count {
            copies.insert(&batch);
            batch.clear();
        }
        report_progress(place, number + 1, count, started.elapsed());
    }
    let width = values.len() / count as usize;
    (Keys { width, values }, records)
}

/// Prints each tenth of the keys.
fn report_progress(place: &TemporaryDeployment, made: u32, count: u32, elapsed: Duration) {
    let tenths = |keys: u32| u64::from(keys) * 10 / u64::from(count);
    if tenths(made) > tenths(made - 1) {
        eprintln!("{}: {made} of {count} keys after {} s", place.database.name(), elapsed.as_secs());
    }
}

struct Copier<'a> {
    plan: &'a Plan,
    master: MasterKeys,
    entropy: SystemEntropy,
}

impl Copier<'_> {
    /// Creates a copy for another owner, and appends its value to `values`.
    fn copy(&self, first: &FirstKey, planned: &PlannedKey, status: StatusListIndex, values: &mut Vec<u8>) -> NewKey {
        let key = KeyId::generate(first.made_at, &self.entropy).expect("randomness");
        let id = CredentialId::generate(&self.entropy).expect("randomness");
        let secret = Secret::generate(&self.entropy).expect("randomness");
        values.extend_from_slice(ApiKeyValue::format(&first.prefix, &id, &secret).expose().as_bytes());
        let authority = CredentialAuthority {
            credential: &id,
            credential_expires_at: None,
            status: Some((&status.list, status.index)),
            key: &key,
            version: 1,
            lifecycle: KeyLifecycle::default(),
            exchanges_per_minute: None,
            record_bound: false,
            owner: &planned.owner,
            owner_scope: &planned.owner_scope,
            creator_membership: None,
            metadata: "{}",
            entitlement: Entitlement {
                permissions: self.plan.permissions(planned.kind),
                audiences: self.plan.audiences(planned.kind),
                max_token_ttl: None,
            },
        };
        let digest = credential::hash_secret(&id, &secret);
        let encrypted = self.master.encrypt(&authority.encode(sha256), digest.expose(), &self.entropy);
        let encrypted = encrypted.expect("an encrypted secret").bytes;
        NewKey {
            template: first.template.clone(),
            key,
            credential: id,
            owner: planned.owner.clone(),
            owner_scope: planned.owner_scope.clone(),
            status,
            encrypted,
        }
    }
}
