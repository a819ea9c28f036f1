//! Status lists: the public status of tokens. The lists are built and signed by one replica at a
//! time, and every replica serves them from memory.

pub mod build;
pub mod cache;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    domain::{
        access::token_profile::StatusSubject, common::id::StatusListId, credentials::error::CredentialError,
        exchange::grant::Grant, status_lists::StatusListIndex,
    },
    service::{
        Error, Services, Unavailable,
        common::document::CachedDocument,
        credentials::{error::AuthError, token::load_key},
        status_lists::cache::{ServedStatusList, StatusListSnapshot},
    },
    store::{
        self, NoEvent, Tx,
        credentials::key_context::KeySelector,
        status_lists::{
            TokenStatusRequest,
            signed_lists::{self, ServedList},
        },
    },
};

pub use build::build_lists;

/// A list to serve, and the time for which it may be used from now on.
#[derive(Debug)]
pub struct CurrentStatusList {
    pub list: Arc<ServedStatusList>,
    /// Until `iat` + `ttl`, in whole seconds: 0 in the last second.
    pub max_age: u64,
}

/// Returns a list, identical on every replica. A list that was just created is signed now, so that
/// no token refers to a missing list. A list that has reached three quarters of its `ttl` is signed
/// again: the background job, which signs at half, is late. No list is returned at or after `iat` +
/// `ttl`, where verifiers may refuse it.
pub async fn get(services: &Services, id: &StatusListId) -> Result<CurrentStatusList, Error> {
    require_fresh(services).await?;
    let lists = &services.status_lists;
    let ttl = Duration::from_secs(build::ttl(services));
    let is_recent = || find_cached(services, id).is_none_or(|list| lists.age(&list) < ttl * 3 / 4);
    // A list whose renewal fails is served as long as it may be used.
    lists.build_gate.refresh_if_stale(is_recent, || update(services)).await;
    let list = match find_cached(services, id) {
        Some(list) => list,
        None => load_new(services, id).await?,
    };
    let left = ttl.saturating_sub(lists.age(&list));
    if left.is_zero() {
        return Err(Unavailable::StatusListsStale.into());
    }
    Ok(CurrentStatusList { list, max_age: left.as_secs() })
}

/// Returns the URLs of all lists (§9 of the draft), which verifiers may fetch in advance.
pub async fn aggregate(services: &Services) -> Result<CachedDocument, Error> {
    require_fresh(services).await?;
    let status_lists = services.status_lists.uris(services.issuer());
    CachedDocument::new(&StatusListAggregation { status_lists })
}

/// The URLs of all status lists.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct StatusListAggregation {
    status_lists: Vec<String>,
}

/// Refreshes the lists in memory if they may be outdated. A verifier uses a list regardless of
/// cache headers, so lists that may be outdated are not served. Without a response, verifiers
/// correctly use the list they have until its `ttl` ends.
async fn require_fresh(services: &Services) -> Result<(), Error> {
    let lists = &services.status_lists;
    let is_fresh = || lists.is_fresh(services.settings.timing.replica_staleness);
    lists.gate.refresh_if_stale(is_fresh, || refresh(services)).await;
    if is_fresh() { Ok(()) } else { Err(Unavailable::StatusListsStale.into()) }
}

fn find_cached(services: &Services, id: &StatusListId) -> Option<Arc<ServedStatusList>> {
    services.status_lists.view.load().lists.get(id).cloned()
}

/// Loads a list that was created since the last refresh, and signs it if necessary.
async fn load_new(services: &Services, id: &StatusListId) -> Result<Arc<ServedStatusList>, Error> {
    let requested = id.clone();
    if !services.store.read(move |connection| store::status_lists::exists(connection, &requested)).await? {
        return Err(Error::NotFound("status list"));
    }
    refresh(services).await?;
    if let Some(list) = find_cached(services, id) {
        return Ok(list);
    }
    update(services).await?;
    find_cached(services, id).ok_or(Error::Unavailable(Unavailable::StatusListNotBuilt))
}

/// Builds and refreshes the lists.
pub async fn update(services: &Services) -> Result<(), Error> {
    build_lists(services).await?;
    refresh(services).await
}

/// Loads the lists that were signed since the last refresh. After a failure the lists in memory
/// stay unchanged.
pub async fn refresh(services: &Services) -> Result<(), Error> {
    let seen_at = services.status_lists.clock.monotonic_elapsed();
    let before = services.status_lists.view.load_full();
    let (as_of, lists) = services
        .store
        .read_at(move |connection, as_of| {
            let mut lists = BTreeMap::new();
            for (id, version) in signed_lists::list_versions(connection)? {
                let known = before.lists.get(&id);
                let list = match known.filter(|list| list.version == version) {
                    Some(list) => Some(Arc::clone(list)),
                    None => match signed_lists::find(connection, &id)? {
                        Some(ServedList { jwt, version, issued_at, expires_at }) => {
                            let plain = CachedDocument::from_bytes(jwt.into_bytes());
                            let gzip = plain.compress()?;
                            Some(Arc::new(ServedStatusList { version, issued_at, expires_at, plain, gzip }))
                        }
                        None => known.cloned(),
                    },
                };
                lists.extend(list.map(|list| (id, list)));
            }
            Ok::<_, Error>((as_of, lists))
        })
        .await?;
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
    // The future of each exchange would contain this one.
    Box::pin(assign_own_index(services, grant, jti)).await.map(Some)
}

async fn assign_own_index(services: &Services, grant: &Grant, jti: &str) -> Result<StatusListIndex, AuthError> {
    let token = TokenStatusRequest {
        jti: jti.to_owned(),
        credential: grant.credential_id,
        key: grant.key.clone(),
        exp: grant.expires_at,
    };
    let assign = move |tx: &mut Tx<'_>| store::status_lists::assign_token_index(tx, &token);
    let index = services.store.run_count(NoEvent::InternalState, assign).await?;
    let context = load_key(services, KeySelector::Credential(grant.credential_id)).await?;
    let context = context.ok_or(CredentialError::Unknown)?;
    context.key.check_in_force(context.now, &services.settings.limits)?;
    Ok(index)
}
