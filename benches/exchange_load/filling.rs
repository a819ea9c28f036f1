//! Keys in bulk: thousands in one change instead of one durable change each.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use keyswap::{
    crypto::{credential, master::MasterKeys, random::SystemEntropy},
    domain::{
        api_key::{ApiKey, Credential, Life, Owner},
        api_key_value::{ApiKeyValue, Prefix, Secret},
        event::{Actor, Origin},
        id::{CredentialId, ServiceClientId},
        json::Metadata,
        permission::{AssignableTo, Permission, PermissionSet},
        service_client::ServiceClient,
        standing::{Directory, Home, Ownership},
    },
    service::{
        Error,
        start::{Mode, open_store},
    },
    store::{self, DatabaseSettings, DatabaseUrl, Outcome, Store, SystemClock, Tx, api_keys::NewCredential},
};
use tokio::task::JoinSet;

use super::databases::{Database, Place};

const PERMISSIONS: [&str; 5] = ["builds:read", "builds:start", "logs:read", "projects:read", "projects:write"];
/// Of these, each key has so many.
const PER_KEY: usize = 3;
const BATCH: usize = 5_000;
const PREFIX: &str = "ks";

/// The keys, one after the other: at ten million, a `String` for each would be half a gigabyte more.
pub struct Keys {
    values: Vec<u8>,
    width: usize,
}

impl Keys {
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
struct Filler {
    master: MasterKeys,
    entropy: SystemEntropy,
    prefix: Prefix,
    client: ServiceClientId,
    permissions: PermissionSet,
}

/// Fills a database that a server has set up, and gives back what its keys are on the wire.
pub fn fill(place: &Place, count: u32) -> Arc<Keys> {
    let settings = DatabaseSettings {
        url: DatabaseUrl::parse(&place.url()).expect("a database URL"),
        pool_size: 2,
        connect_timeout: Duration::from_secs(60),
        statement_timeout: Duration::from_secs(60),
    };
    let store = open_store(&settings, Mode::Command, Arc::new(SystemClock)).expect("the database");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime");
    let keys = runtime.block_on(async {
        let client = client(&store).await;
        let filler = Filler {
            master: MasterKeys::load(&place.keys_dir()).expect("the master keys").expect("a master key"),
            entropy: SystemEntropy::default(),
            prefix: PREFIX.parse().expect("a prefix"),
            permissions: client.permissions.iter().take(PER_KEY).cloned().collect(),
            client: client.id,
        };
        // SQLite has one writer at a time.
        let writers = if place.database == Database::Postgres { 2 } else { 1 };
        insert(&store, &filler, count as usize, writers, place.database.name()).await
    });
    Arc::new(keys)
}

/// The permissions and the service client that owns every key.
async fn client(store: &Store) -> ServiceClient {
    store
        .change(Origin::of(Actor::Cli), |tx| {
            for name in PERMISSIONS {
                let permission = Permission {
                    name: name.parse().expect("a permission"),
                    description: None,
                    assignable_to: [AssignableTo::ServiceClient].into(),
                    built_in: false,
                    created_at: tx.now(),
                    version: 1,
                };
                store::permissions::insert(tx, &permission)?;
            }
            let client = ServiceClient {
                id: tx.new_id()?,
                name: "Load".parse().expect("a name"),
                home: Home::Account,
                permissions: PERMISSIONS.iter().map(|name| name.parse().expect("a permission")).collect(),
                metadata: Metadata::default(),
                created_at: tx.now(),
                created_by: tx.author(),
                version: 1,
            };
            store::service_clients::insert(tx, &client)?;
            Ok::<_, Error>(Outcome::bookkeeping(client))
        })
        .await
        .expect("a service client")
}

async fn insert(store: &Store, filler: &Filler, count: usize, writers: usize, name: &str) -> Keys {
    let started = Instant::now();
    let (mut values, mut asked, mut made) = (Vec::new(), 0, 0);
    let mut running = JoinSet::new();
    while made < count {
        while running.len() < writers && asked < count {
            let (store, filler, size) = (store.clone(), filler.clone(), BATCH.min(count - asked));
            asked += size;
            running.spawn(async move {
                // No events: no exchange reads them, and they would be half of the work.
                let change = move |tx: &mut Tx<'_>| Ok::<_, Error>(Outcome::bookkeeping(filler.batch(tx, size)?));
                (size, store.change(Origin::of(Actor::Cli), change).await.expect("keys"))
            });
        }
        let (size, batch) = running.join_next().await.expect("a batch").expect("no panic");
        values.extend_from_slice(&batch);
        let tenths = |keys: usize| keys * 10 / count;
        if tenths(made + size) > tenths(made) {
            eprintln!("{name}: {} of {count} keys after {} s", made + size, started.elapsed().as_secs());
        }
        made += size;
    }
    Keys { width: values.len() / count, values }
}

impl Filler {
    /// As `service::api_keys` makes them.
    fn batch(&self, tx: &mut Tx<'_>, size: usize) -> Result<Vec<u8>, Error> {
        let mut values = Vec::new();
        for _ in 0..size {
            let id = CredentialId::generate(&self.entropy)?;
            let secret = Secret::generate(&self.entropy)?;
            values.extend_from_slice(ApiKeyValue::format(&self.prefix, &id, &secret).expose().as_bytes());
            let sealed = credential::seal(&self.master, &id, &secret, &self.entropy)?;
            let prefix = self.prefix.clone();
            let credential =
                Credential { id, prefix, masked: None, created_at: tx.now(), expires_at: None, last_used_at: None };
            let key = ApiKey {
                id: tx.new_id()?,
                name: "Load".parse().expect("a name"),
                ownership: Ownership {
                    owner: Owner::ServiceClient(self.client.clone()),
                    home: Home::Account,
                    creator: None,
                    client: None,
                    directory: Directory::default(),
                },
                permissions: self.permissions.clone(),
                audiences: None,
                metadata: Metadata::default(),
                max_token_ttl: None,
                exchanges_per_minute: None,
                life: Life { suspended_at: None, revoked_at: None, expires_at: None },
                archived_at: None,
                credentials: Vec::new(),
                created_at: tx.now(),
                created_by: tx.author(),
                version: 1,
            };
            let new =
                NewCredential { credential, sealed: sealed.bytes, master_version: sealed.master_version, lookup: None };
            store::api_keys::insert(tx, &key, &new)?;
        }
        Ok(values)
    }
}
