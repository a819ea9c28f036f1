//! Bulk creation of keys. The first key is created as the service creates one. The others are
//! copies of its rows with new ids, secrets and status list indexes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    copies::{Copies, NewKey},
    databases::TemporaryDeployment,
};
use keyswap::{
    app::startup::{StartMode, open_store},
    crypto::{credential, master_keys::MasterKeys, random::SystemEntropy, sha256},
    domain::{
        access::{
            owner::{Owner, OwnerScope},
            owner_status::{DirectorySnapshot, Ownership},
            permission::{AssignableOwnerType, Permission, PermissionSet},
        },
        common::{
            derived_id::CredentialId,
            encryption::RowCipher as _,
            id::{GeneratedId, KeyId, ServiceClientId},
            json::Metadata,
            time::Timestamp,
        },
        credentials::{
            api_key::{ApiKey, ApiKeyAttributes, Credential, KeyLifecycle},
            authority::{CredentialAuthority, Entitlement},
            format::{ApiKeyValue, Prefix, Secret},
        },
        directory::service_client::ServiceClient,
        events::{Actor, Origin},
        status_lists::StatusListIndex,
    },
    service::Error,
    store::{self, DatabaseSettings, NoEvent, Outcome, Store, SystemClock, Tx, api_keys::credentials::NewCredential},
};

const PERMISSIONS: [&str; 5] = ["builds:read", "builds:start", "logs:read", "projects:read", "projects:write"];
/// The number of these permissions that each key has.
const PER_KEY: usize = 3;
const BATCH: usize = 5_000;
const PREFIX: &str = "ks";

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

#[derive(Clone)]
struct Seeder {
    master: MasterKeys,
    entropy: SystemEntropy,
    prefix: Prefix,
    client: ServiceClientId,
    permissions: PermissionSet,
}

/// The key that all others are copies of.
struct First {
    key: KeyId,
    credential: CredentialId,
    value: Vec<u8>,
    made_at: Timestamp,
}

/// Fills a database that a server has initialized, and returns the values of the keys.
pub fn fill(place: &TemporaryDeployment, count: u32) -> Arc<Keys> {
    let settings = DatabaseSettings {
        url: place.url().parse().expect("a database URL"),
        pool_size: 2,
        connect_timeout: Duration::from_secs(60),
        statement_timeout: Duration::from_secs(60),
        lease: Duration::from_secs(30),
    };
    let store = open_store(&settings, StartMode::Command, Arc::new(SystemClock)).expect("the database");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime");
    let master = MasterKeys::read_dir(&place.keys_dir()).expect("the master keys").expect("a master key");
    store.set_cipher(Arc::new(master.clone()));
    let (filler, first) = runtime.block_on(async {
        let client = client(&store).await;
        let filler = Seeder {
            master,
            entropy: SystemEntropy::default(),
            prefix: PREFIX.parse().expect("a prefix"),
            permissions: client.permissions.iter().take(PER_KEY).cloned().collect(),
            client: client.id,
        };
        let maker = filler.clone();
        // No event is recorded, because exchanges do not read events.
        let change =
            move |tx: &mut Tx<'_>| Ok::<_, Error>(Outcome::without_event(maker.first(tx)?, NoEvent::InternalState));
        let first = store.run_transaction(Origin::of(Actor::Operator), change).await.expect("a key");
        (filler, first)
    });
    Arc::new(copy(place, &filler, &first, count as usize))
}

fn copy(place: &TemporaryDeployment, filler: &Seeder, first: &First, count: usize) -> Keys {
    let started = Instant::now();
    let mut copies = Copies::of(place, &first.key, &first.credential, first.made_at);
    let mut values = first.value.clone();
    let mut made = 1;
    while made < count {
        let size = BATCH.min(count - made);
        let batch: Vec<_> = (0..size).map(|_| filler.copy(first.made_at, copies.assign_index(), &mut values)).collect();
        copies.insert(&batch);
        let tenths = |keys: usize| keys * 10 / count;
        if tenths(made + size) > tenths(made) {
            let (name, seconds) = (place.database.name(), started.elapsed().as_secs());
            eprintln!("{name}: {} of {count} keys after {seconds} s", made + size);
        }
        made += size;
    }
    Keys { width: values.len() / count, values }
}

/// Creates the permissions, and the service client that owns every key.
async fn client(store: &Store) -> ServiceClient {
    store
        .run_transaction(Origin::of(Actor::Operator), |tx| {
            for name in PERMISSIONS {
                let permission = Permission {
                    name: name.parse().expect("a permission"),
                    description: None,
                    assignable_to: [AssignableOwnerType::ServiceClient].into(),
                    built_in: false,
                    created_at: tx.now(),
                    version: 1,
                };
                store::access::permissions::insert(tx, &permission)?;
            }
            let client = ServiceClient {
                id: tx.generate_id()?,
                name: "Load".parse().expect("a name"),
                owner_scope: OwnerScope::Account,
                permissions: PERMISSIONS.iter().map(|name| name.parse().expect("a permission")).collect(),
                metadata: Metadata::default(),
                created_at: tx.now(),
                created_by: tx.creator(),
                version: 1,
            };
            store::api_keys::service_clients::insert(tx, &client)?;
            Ok::<_, Error>(Outcome::without_event(client, NoEvent::InternalState))
        })
        .await
        .expect("a service client")
}

impl Seeder {
    fn value(&self, id: &CredentialId, secret: &Secret) -> Vec<u8> {
        ApiKeyValue::format(&self.prefix, id, secret).expose().as_bytes().to_vec()
    }

    /// Creates the first key as `service::api_keys` does.
    fn first(&self, tx: &mut Tx<'_>) -> Result<First, Error> {
        let id = CredentialId::generate(&self.entropy)?;
        let secret = Secret::generate(&self.entropy)?;
        let value = self.value(&id, &secret);
        let digest = credential::hash_secret(&id, &secret);
        let first = First { key: tx.generate_id()?, credential: id, value, made_at: tx.now() };
        let credential = Credential {
            id,
            prefix: self.prefix.clone(),
            masked_value: None,
            created_at: tx.now(),
            expires_at: None,
            last_used_at: None,
        };
        let key = ApiKey {
            id: first.key.clone(),
            attributes: ApiKeyAttributes {
                permissions: self.permissions.clone(),
                ..ApiKeyAttributes::new("Load".parse().expect("a name"))
            },
            ownership: Ownership {
                owner: Owner::ServiceClient(self.client.clone()),
                owner_scope: OwnerScope::Account,
                creator_membership: None,
                client: None,
                directory: DirectorySnapshot::default(),
            },
            suspended_at: None,
            revoked_at: None,
            archived_at: None,
            credentials: Vec::new(),
            created_at: tx.now(),
            created_by: tx.creator(),
            version: 1,
        };
        let new = NewCredential { credential, digest, lookup_digest: None };
        store::api_keys::keys::insert(tx, &key, &new)?;
        Ok(first)
    }

    /// Creates a copy, and appends its value to `values`.
    fn copy(&self, made_at: Timestamp, status: StatusListIndex, values: &mut Vec<u8>) -> NewKey {
        let key = KeyId::generate(made_at, &self.entropy).expect("randomness");
        let id = CredentialId::generate(&self.entropy).expect("randomness");
        let secret = Secret::generate(&self.entropy).expect("randomness");
        values.extend_from_slice(&self.value(&id, &secret));
        let authority = CredentialAuthority {
            credential: &id,
            credential_expires_at: None,
            status: Some((&status.list, status.index)),
            key: &key,
            version: 1,
            lifecycle: KeyLifecycle::default(),
            exchanges_per_minute: None,
            record_bound: false,
            owner: &Owner::ServiceClient(self.client.clone()),
            owner_scope: &OwnerScope::Account,
            creator_membership: None,
            metadata: "{}",
            entitlement: Entitlement { permissions: &self.permissions, audiences: None, max_token_ttl: None },
        };
        let digest = credential::hash_secret(&id, &secret);
        let encrypted = self.master.encrypt(&authority.encode(sha256), digest.expose(), &self.entropy);
        let encrypted = encrypted.expect("an encrypted secret").bytes;
        NewKey { key, credential: id, status, encrypted }
    }
}
