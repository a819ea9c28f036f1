//! Status lists: the public status of tokens. The lists are built and signed by one replica at a
//! time, and every replica serves them from memory.

pub mod build;
pub mod cache;
pub mod encoding;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
};

use tokio::time::{Instant, timeout};

use crate::{
    domain::{
        access::token_profile::StatusSubject,
        common::id::StatusListId,
        credentials::error::CredentialError,
        events::{Actor, Origin},
        exchange::grant::Grant,
        status_lists::StatusListIndex,
    },
    service::{
        Error, Services,
        common::document::CachedDocument,
        credentials::error::AuthError,
        status_lists::cache::{LOOK_FOR, ServedStatusList, StatusListSnapshot},
    },
    store::{
        self, NoEvent, Outcome, StoreError,
        credentials::key_context::KeySelector,
        status_lists::{TokenStatusRequest, signed_lists::ServedList},
    },
};

pub use build::build_lists;

/// Maximum number of credentials, created by versions without status lists, that get an index in
/// one transaction.
const INDEX_BATCH_SIZE: i64 = 200;
/// Maximum number of such transactions in one update.
const MAX_INDEX_BATCHES: usize = 50;

/// Returns a list, identical on every replica. A list that was just created is signed now, so that
/// no token refers to a missing list.
pub async fn get(services: &Services, id: &StatusListId) -> Result<Arc<ServedStatusList>, Error> {
    ensure_fresh(services).await?;
    let found = || services.status_lists.view.load().lists.get(id).cloned();
    if let Some(list) = found() {
        return Ok(list);
    }
    let wanted = id.clone();
    if !services.store.read(move |connection| store::status_lists::exists(connection, &wanted)).await? {
        return Err(Error::NotFound("status list"));
    }
    refresh(services).await?;
    if let Some(list) = found() {
        return Ok(list);
    }
    build_lists(services).await?;
    refresh(services).await?;
    found().ok_or_else(|| Error::Unavailable("the status list is being made".to_owned()))
}

/// Refreshes the lists if they are too old, and waits at most `LOOK_FOR`. A verifier uses a list
/// for its whole `ttl`, regardless of cache headers, so lists that may be outdated are not served.
/// Without a response, verifiers correctly use the list they have until its `ttl` ends.
async fn ensure_fresh(services: &Services) -> Result<(), Error> {
    let lists = &services.status_lists;
    let is_fresh = || lists.is_fresh(services.settings.timing.max_snapshot_age);
    if is_fresh() {
        return Ok(());
    }
    if !lists.failed_lately() {
        let look = async {
            let _turn = lists.looking.lock().await;
            if !is_fresh() && !lists.failed_lately() {
                refresh(services).await?;
            }
            Ok::<_, Error>(())
        };
        if !matches!(timeout(LOOK_FOR, look).await, Ok(Ok(()))) {
            *lists.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }
    if is_fresh() { Ok(()) } else { Err(Error::Unavailable("the status lists here may be out of date".to_owned())) }
}

/// Assigns missing indexes, and builds and refreshes the lists.
pub async fn update(services: &Services) -> Result<(), Error> {
    for _ in 0..MAX_INDEX_BATCHES {
        if !assign_missing_indexes(services).await? {
            break;
        }
    }
    build_lists(services).await?;
    refresh(services).await
}

/// Loads the lists that were signed since the last refresh. After a failure the lists in memory
/// stay unchanged.
pub async fn refresh(services: &Services) -> Result<(), Error> {
    let seen_at = Instant::now();
    let before = services.status_lists.view.load_full();
    let known: BTreeMap<_, _> = before.lists.iter().map(|(id, list)| (id.clone(), list.version)).collect();
    let (as_of, all, new) = services
        .store
        .read(move |connection| {
            let as_of = store::now(connection)?;
            let all = store::status_lists::signed_lists::list_versions(connection)?;
            let mut new = Vec::new();
            for (id, _) in all.iter().filter(|(id, version)| known.get(id) != Some(version)) {
                if let Some(found) = store::status_lists::signed_lists::find(connection, id)? {
                    new.push((id.clone(), compress_list(found)?));
                }
            }
            Ok::<_, Error>((as_of, all, new))
        })
        .await?;
    let mut new: BTreeMap<_, _> = new.into_iter().collect();
    let mut lists = BTreeMap::new();
    for (id, _) in all {
        let list = new.remove(&id).map(Arc::new).or_else(|| before.lists.get(&id).cloned());
        if let Some(list) = list {
            lists.insert(id, list);
        }
    }
    // A concurrent refresh may have read a newer state.
    services.status_lists.view.rcu(|now| {
        if now.seen_at.is_some_and(|(at, _)| at > seen_at) {
            return Arc::clone(now);
        }
        Arc::new(StatusListSnapshot { lists: lists.clone(), seen_at: Some((seen_at, as_of)) })
    });
    let (lists, bytes) = services.status_lists.size();
    services.metrics.set_status_list_size(lists, bytes);
    Ok(())
}

fn compress_list(found: ServedList) -> Result<ServedStatusList, Error> {
    let ServedList { jwt, version, expires_at } = found;
    let gzip = encoding::gzip(jwt.as_bytes()).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(ServedStatusList {
        version,
        expires_at,
        plain: CachedDocument::from_bytes(jwt.into_bytes()),
        gzip: CachedDocument::from_bytes(gzip),
    })
}

/// Assigns indexes to a batch of credentials created by versions without status lists. Returns
/// whether more may remain.
pub async fn assign_missing_indexes(services: &Services) -> Result<bool, StoreError> {
    services
        .store
        .run_transaction(Origin::of(Actor::System), |tx| {
            Ok(Outcome::without_event(
                store::status_lists::backfill_credential_indexes(tx, INDEX_BATCH_SIZE)? > 0,
                NoEvent::InternalState,
            ))
        })
        .await
}

/// Returns the status list index of the token to be signed: an index of its own if an audience
/// requires it, otherwise that of the credential.
///
/// The key may be revoked after its lookup and before the index is committed, and a build may read
/// the revocation and not yet the index. The list would then report the token as valid until a
/// later change causes a build. The key is therefore read again after the index is committed. If it
/// is no longer in force, no token is issued. If it is, a revocation can only follow, and every
/// build that reads the revocation reads the index as well. This costs one read beside a commit,
/// holds no lock and invalidates no build.
pub async fn assign_token_index(
    services: &Services,
    grant: &Grant,
    jti: &str,
) -> Result<Option<StatusListIndex>, AuthError> {
    if grant.status_subject == StatusSubject::Credential {
        return Ok(grant.status.clone());
    }
    let token = TokenStatusRequest {
        jti: jti.to_owned(),
        credential: grant.credential_id,
        key: grant.key.clone(),
        exp: grant.expires_at,
    };
    let wanted = KeySelector::Credential(grant.credential_id);
    let place = services
        .store
        .run_transaction(Origin::of(Actor::System), move |tx| {
            Ok::<_, StoreError>(Outcome::without_event(
                store::status_lists::assign_token_index(tx, &token)?,
                NoEvent::InternalState,
            ))
        })
        .await?;
    let found = services
        .store
        .read(move |connection| store::credentials::key_context::load(connection, &wanted, &BTreeSet::new()))
        .await?;
    let context = found.ok_or(AuthError::Credential(CredentialError::Unknown))?.context;
    context.key.check_in_force(context.now, &services.settings.limits).map_err(AuthError::Credential)?;
    Ok(Some(place))
}
