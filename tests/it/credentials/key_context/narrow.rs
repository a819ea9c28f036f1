//! Compares the contexts and details that narrow rows and remembered facts give with those of all
//! tables.

use keyswap::{
    crypto::sha256,
    domain::{access::audience::Identifier, common::derived_id::CredentialId},
    service::credentials::shared_facts_cache::{SharedFacts, SharedFactsCache},
    store::{
        Conn, LookupDetail, Store, StoreError,
        credentials::{
            key_context::KeySelector,
            key_details::{self, CredentialQuery},
            shared_facts,
        },
    },
};

use super::{
    lookups::context_of,
    model::{DEFAULT_AUDIENCE, Model},
};

/// Compares every credential that has a narrow row, and returns how many have one. The remembered
/// facts are those of whichever key was first.
pub async fn compare(store: &Store, model: &Model) -> usize {
    let (cache, mut compared) = (SharedFactsCache::default(), 0);
    let audience: Identifier = DEFAULT_AUDIENCE.parse().unwrap();
    wait_for_a_reader(store, model).await;
    let credentials = model.keys.values().flat_map(|key| key.credentials.iter().map(move |one| (key, one)));
    for (key, credential) in credentials {
        let id: CredentialId = credential.id.parse().unwrap();
        let Some((row, now)) = store.load_narrow_credential(id).await.unwrap() else { continue };
        assert!(!key.suspended && !key.revoked && !key.archived && credential.lookup.is_none(), "{key:?}");
        let facts = match cache.find(&row, &audience) {
            Some(facts) => facts,
            None => {
                let (read, of_audience) = (row.clone(), audience.clone());
                let load = move |connection: &mut Conn| shared_facts::load(connection, &read, &of_audience, sha256);
                let stored = store.read::<_, StoreError>(load).await.unwrap().expect("nothing changes");
                let facts = SharedFacts::from_stored(stored).map(std::sync::Arc::new);
                cache.remember(&row, &audience, facts.clone());
                facts
            }
        };
        let Some(facts) = facts else { continue };
        let read = move |connection: &mut Conn| {
            let targets = [DEFAULT_AUDIENCE.parse().unwrap()].into();
            let query = CredentialQuery { by: KeySelector::Credential(id), targets, detail: LookupDetail::Full };
            Ok::<_, StoreError>(key_details::find(connection, &query)?.unwrap())
        };
        let found = store.read(read).await.unwrap();
        let record = found.record;
        let encrypted = (record.encrypted_secret.clone(), record.master_version);
        assert_eq!((row.encrypted_secret.bytes.clone(), row.encrypted_secret.master_version), encrypted);
        let narrow = facts.context_of(row, now);
        let (_, details) = store.load_narrow_details(id).await.unwrap().expect("the same row");
        assert_eq!(details.into_key_details(&narrow), *found.details.unwrap());
        assert_eq!(format!("{narrow:#?}"), format!("{:#?}", context_of(record)));
        compared += 1;
    }
    compared
}

/// Waits until a narrow row can be read: SQLite's connections for it are opened when the first one
/// is asked for.
async fn wait_for_a_reader(store: &Store, model: &Model) {
    let ids: Vec<CredentialId> =
        model.keys.values().flat_map(|key| &key.credentials).map(|one| one.id.parse().unwrap()).collect();
    for _ in 0..250 {
        for id in &ids {
            if store.load_narrow_credential(*id).await.unwrap().is_some() {
                return;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("no narrow row can be read");
}
