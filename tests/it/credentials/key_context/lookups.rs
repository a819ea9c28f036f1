//! All key lookups of the store.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use keyswap::{
    domain::{
        access::{audience::Identifier, key_visibility::KeyVisibility},
        common::{page::PageRequest, time::Timestamp},
        credentials::api_key::{ApiKey, KeyFilter},
        exchange::key_context::{ExchangeParameters, KeyContext},
    },
    store::{
        Conn, CredentialLookup, LookupDetail, Store, StoreError,
        access::stored_access_record::StoredAccessRecord,
        api_keys::keys,
        credentials::{
            key_context::{self, KeyRecord, KeySelector},
            key_details::{self, CredentialQuery},
        },
    },
};

use super::{
    history::permission,
    model::{Credential, DEFAULT_AUDIENCE, Model, TokenRequest},
    random::Random,
};

/// Generates the request for one key. Each lookup includes the requested audiences.
pub fn asked(chance: &mut Random) -> TokenRequest {
    let scope = chance.one_in(2).then(|| (0..=chance.below(2)).map(|_| permission(chance.below(8))).collect());
    let known = ["https://one.test", "https://two.test"].map(str::to_owned);
    let audiences = match chance.below(8) {
        0 => known.to_vec(),
        1 => vec![known[0].clone()],
        2 => vec![known[1].clone(), DEFAULT_AUDIENCE.to_owned()],
        3 => vec!["https://nobodys.test".to_owned()],
        _ => Vec::new(),
    };
    TokenRequest { scope, audiences }
}

pub fn request(asked: &TokenRequest) -> ExchangeParameters {
    ExchangeParameters {
        scope: asked.scope.as_ref().map(|scope| scope.iter().map(|name| name.parse().unwrap()).collect()),
        targets: asked.audiences.iter().map(|name| name.parse().unwrap()).collect(),
        requested_ttl: None,
        client_id: None,
    }
}

/// The audiences that an exchange of this request looks up.
fn targets(asked: &TokenRequest) -> BTreeSet<Identifier> {
    let targets = request(asked).targets;
    if targets.is_empty() { [DEFAULT_AUDIENCE.parse().unwrap()].into() } else { targets }
}

/// The context, with the statements of all access records as if they were verified.
pub fn context_of(record: KeyRecord) -> KeyContext {
    let mut context = record.context;
    context.key.access_statements =
        record.access_records.into_iter().flat_map(StoredAccessRecord::into_statements).collect();
    context
}

/// A key id, one of its credentials and a request.
pub type Lookup = (String, Credential, TokenRequest);

/// Performs one lookup by credential per question.
pub async fn by_credential(store: &Store, questions: &[Lookup]) -> Vec<Option<KeyContext>> {
    let questions = questions.to_vec();
    let read = move |connection: &mut Conn| {
        let found = questions.iter().map(|(_, credential, asked)| {
            let wanted = KeySelector::Credential(credential.id.parse().unwrap());
            Ok::<_, StoreError>(key_context::load(connection, &wanted, &targets(asked))?.map(context_of))
        });
        found.collect::<Result<Vec<_>, _>>()
    };
    store.read(read).await.unwrap()
}

/// Performs one lookup per question with each of the other single lookups.
pub async fn alone(store: &Store, questions: &[Lookup]) -> Vec<(&'static str, Vec<Option<KeyContext>>)> {
    let questions = questions.to_vec();
    let read = move |connection: &mut Conn| {
        let (mut by_lookup, mut by_key, mut whole) = (vec![], vec![], vec![]);
        for (id, credential, asked) in &questions {
            let targets = targets(asked);
            let credential_id = KeySelector::Credential(credential.id.parse().unwrap());
            let mut load = |wanted: &KeySelector| key_context::load(connection, wanted, &targets);
            by_key.push(load(&KeySelector::Key(id.parse().unwrap()))?.map(context_of));
            by_lookup.push(match &credential.lookup {
                Some(lookup) => {
                    let lookups = [lookup.clone(), "of-another-master-key".to_owned()];
                    let found = load(&KeySelector::ImportedKeyLookups(lookups.to_vec()))?;
                    let same = load(&KeySelector::ImportedKeyLookups(lookups[..1].to_vec()))?;
                    found.filter(|_| same.is_some()).map(context_of)
                }
                // Only imported keys have a lookup value.
                None => load(&credential_id)?.map(context_of),
            });
            let query = CredentialQuery { by: credential_id, targets, detail: LookupDetail::Full };
            whole.push(key_details::find(connection, &query)?.map(|found| context_of(found.record)));
        }
        Ok::<_, StoreError>(vec![("by lookup", by_lookup), ("by key", by_key), ("validated", whole)])
    };
    store.read(read).await.unwrap()
}

pub async fn in_batch(store: &Store, questions: &[Lookup], wants: LookupDetail) -> Vec<Option<CredentialLookup>> {
    let looks = questions.iter().map(|(_, credential, asked)| async move {
        let targets = targets(asked);
        store.load_credential(credential.id.parse().unwrap(), targets, wants).await.unwrap()
    });
    join_all(looks).await
}

/// Lists all keys, archived or not.
pub async fn listed(store: &Store, model: &Model) -> Vec<ApiKey> {
    let now = Timestamp::from_millis(model.now);
    let read = move |connection: &mut Conn| {
        let mut all = Vec::new();
        for only_archived in [false, true] {
            let filter = KeyFilter { only_archived, ..KeyFilter::default() };
            let mut page = PageRequest::FIRST_PAGE;
            loop {
                let found = keys::list(connection, &KeyVisibility::All, &filter, &page, now)?;
                all.extend(found.data);
                let Some(next) = found.next else { break };
                page.cursor = Some(next);
            }
        }
        Ok::<_, StoreError>(all)
    };
    let all = store.read(read).await.unwrap();
    assert_eq!(all.len(), model.keys.len(), "every key is listed, once");
    all
}
