//! Builds the status lists: only if something may have changed, and signing only lists whose
//! content differs or that must be renewed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use flate2::{Compression, write::ZlibEncoder};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    crypto::sha256_hex,
    domain::{
        access::token_profile::TokenTypeHeader,
        common::{
            derived_id::{CredentialId, SigningKeyId},
            id::StatusListId,
            time::Timestamp,
        },
        exchange::key_context::Limits,
        status_lists::{StatusArray, StatusListKind, StatusSize, TokenStatus},
    },
    service::{Error, Services},
    store::{
        self, Conn, NoEvent, StoreError,
        status_lists::{
            StatusListInfo,
            revoked_credentials::{self, RevokedCredential},
            signed_lists::{self, BuildState, SignedList, SignedListMetadata},
        },
    },
};

/// Maximum number of consecutive attempts when another replica writes first.
const MAX_ATTEMPTS: usize = 2;

/// The claims of a status list token (§5.1 of the draft).
#[derive(Serialize)]
struct StatusListTokenClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    iat: i64,
    exp: i64,
    ttl: u64,
    status_list: StatusListClaim<'a>,
}

#[derive(Serialize)]
struct StatusListClaim<'a> {
    bits: StatusSize,
    lst: &'a str,
}

/// The inputs of a build from outside the database.
struct BuildInputs {
    limits: Limits,
    ttl: u64,
    published: BTreeSet<SigningKeyId>,
    /// Whether all statuses are read even if the audit log has no new events.
    is_full: bool,
}

/// What a build has to sign and record.
struct BuildPlan {
    before: BuildState,
    seq: i64,
    next_expiry: Option<Timestamp>,
    now: Timestamp,
    lists: Vec<UnsignedList>,
}

/// A list to sign.
struct UnsignedList {
    id: StatusListId,
    content_digest: String,
    lst: String,
}

/// Verifies that the lists are current, and signs those that are not, that have reached half of
/// their `ttl`, or whose signing key is no longer published. Of several replicas, one writes;
/// the others find the work done.
pub async fn build_lists(services: &Services) -> Result<(), Error> {
    let mut has_completed = services.status_lists.has_completed_build.lock().await;
    for _ in 0..MAX_ATTEMPTS {
        let began = Instant::now();
        if try_build(services, &mut has_completed).await? {
            services.status_lists.record_build(began);
            return Ok(());
        }
        services.metrics.record_build_conflict();
    }
    tracing::warn!("failed to write the status lists: other replicas wrote first; will retry");
    Ok(())
}

/// Returns whether the lists are current; `false` if another replica has written first, from the
/// same earlier state.
async fn try_build(services: &Services, has_completed: &mut bool) -> Result<bool, Error> {
    let view = services.keys.view();
    let inputs = BuildInputs {
        limits: services.settings.limits.clone(),
        ttl: ttl(services),
        published: view.published.iter().map(|(info, _)| info.kid.clone()).collect(),
        is_full: !*has_completed,
    };
    let Some(plan) = services.store.read_at(move |connection, now| plan_build(connection, &inputs, now)).await? else {
        return Ok(true);
    };
    let mut signed = Vec::new();
    for list in plan.lists {
        signed.push(sign(services, list, plan.now).await?);
    }
    let written = services.store.run_internal(NoEvent::InternalState, move |tx| {
        signed_lists::write(tx, &plan.before, plan.seq, plan.next_expiry, &signed)
    });
    let written = written.await?;
    *has_completed |= written;
    Ok(written)
}

async fn sign(services: &Services, list: UnsignedList, now: Timestamp) -> Result<SignedList, Error> {
    let view = services.keys.snapshot_at(now).await;
    let signer = view.signer(None, services.settings.signing_keys.algorithm, now)?;
    let uri = list.id.uri(services.issuer());
    // The maximum lifetime of a token, so that the signing key stays published until the list
    // expires (invariant K6).
    let expires_at = now.plus(services.settings.limits.max_ttl);
    let claims = StatusListTokenClaims {
        iss: services.issuer(),
        sub: &uri,
        iat: now.seconds(),
        exp: expires_at.seconds(),
        ttl: ttl(services),
        status_list: StatusListClaim { bits: StatusSize::DEFAULT, lst: &list.lst },
    };
    let jwt = signer.sign_token(&TokenTypeHeader::STATUS_LIST, &claims).await?.expose().to_owned();
    let info = SignedListMetadata {
        list: list.id,
        kid: signer.jwk().kid.clone(),
        content_digest: list.content_digest,
        issued_at: now,
        expires_at,
    };
    Ok(SignedList { info, jwt })
}

/// Returns `None` in most cases, after a few small reads.
fn plan_build(connection: &mut Conn, inputs: &BuildInputs, now: Timestamp) -> Result<Option<BuildPlan>, Error> {
    let before = signed_lists::read_build_state(connection)?;
    let lists = store::status_lists::list(connection)?;
    let infos: BTreeMap<_, _> =
        signed_lists::list_metadata(connection)?.into_iter().map(|info| (info.list.clone(), info)).collect();
    // The chain head and the counter of revoked tokens are read before the statuses, so that the
    // statuses are at least as new as the state that is recorded for them.
    let seq = signed_lists::read_last_event_number(connection)?;
    let has_news = inputs.is_full
        || seq != before.event_cursor
        || before.revoked_token_count != before.included_revoked_token_count
        || before.next_expiration.is_some_and(|end| end <= now);
    // A verifier may refuse a list at `iat` + `ttl`, so a list is signed again long before. Another
    // replica may have signed it a moment ago, which bounds the number of signatures as well.
    let half_ttl = i64::try_from(inputs.ttl).unwrap_or(i64::MAX).saturating_mul(1000) / 2;
    let is_old = |list: &StatusListInfo| {
        infos.get(&list.id).is_none_or(|info| {
            // `iat` is in whole seconds.
            let age = now.millis() - info.issued_at.seconds() * 1000;
            !(0..half_ttl).contains(&age) || !inputs.published.contains(&info.kid)
        })
    };
    if !has_news && !lists.iter().any(is_old) {
        return Ok(None);
    }
    let mut statuses = read_statuses(connection, &lists, now, inputs.limits.end_with_creator)?;
    let mut unsigned = Vec::new();
    for list in &lists {
        let Some(statuses) = statuses.remove(&list.id.to_string()) else { continue };
        let content_digest = content_digest(&list.id, &statuses, inputs);
        if !is_old(list) && infos.get(&list.id).is_some_and(|info| info.content_digest == content_digest) {
            continue;
        }
        let deflated = compress_zlib(statuses.as_bytes()).map_err(Error::internal)?;
        unsigned.push(UnsignedList { id: list.id.clone(), content_digest, lst: URL_SAFE_NO_PAD.encode(deflated) });
    }
    let next_expiry = revoked_credentials::find_next_expiration(connection, now)?;
    Ok(Some(BuildPlan { before, seq, next_expiry, now, lists: unsigned }))
}

/// DEFLATE in the zlib format, as §4.1 of the draft requires.
pub fn compress_zlib(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The current content of all lists.
fn read_statuses(
    connection: &mut Conn,
    lists: &[StatusListInfo],
    now: Timestamp,
    ends_with_creator: bool,
) -> Result<BTreeMap<String, StatusArray>, StoreError> {
    let mut all: BTreeMap<_, _> =
        lists.iter().map(|list| (list.id.to_string(), StatusArray::new(StatusSize::DEFAULT, list.size))).collect();
    let mut mark = |list: &str, index: i32, status: TokenStatus| {
        // The list was created after `lists` was read. It is not signed yet, so the next build
        // includes it.
        let Some(statuses) = all.get_mut(list) else { return };
        let marked = u32::try_from(index).ok().and_then(|index| statuses.set_if_more_severe(index, status).ok());
        // An invalid row must not fail the whole build. Verifiers reject tokens whose index is out
        // of range.
        if marked.is_none() {
            tracing::error!(list, index, "ignored an index outside of its status list");
        }
    };
    // Collected only if tokens have statuses of their own: these are all credentials that are not
    // valid, possibly millions.
    let has_tokens = lists.iter().any(|list| list.kind == StatusListKind::Token);
    let mut revoked: BTreeMap<CredentialId, TokenStatus> = BTreeMap::new();
    revoked_credentials::for_each_revoked_credential(
        connection,
        now,
        ends_with_creator,
        |RevokedCredential { credential, index, status }| {
            if let Some((list, index)) = index {
                mark(&list, index, status);
            }
            if has_tokens {
                let Ok(id) = credential.parse() else {
                    tracing::error!(credential, "ignored a revoked credential with an invalid id");
                    return;
                };
                let most_severe = revoked.entry(id).or_insert(status);
                *most_severe = status.max(*most_severe);
            }
        },
    )?;
    if has_tokens {
        revoked_credentials::for_each_revoked_token(connection, &revoked, mark)?;
    }
    Ok(all)
}

fn content_digest(id: &StatusListId, statuses: &StatusArray, inputs: &BuildInputs) -> String {
    let lifetime = inputs.limits.max_ttl.as_secs();
    let terms = format!("{}\n{}\n{lifetime}\n", id.uri(&inputs.limits.issuer), inputs.ttl);
    sha256_hex(&[terms.as_bytes(), statuses.as_bytes()].concat())
}

/// How long a verifier may use a list after `iat`, in seconds. At most half of the lifetime of a
/// list. A list is signed again at half of this age.
pub fn ttl(services: &Services) -> u64 {
    services.settings.status_lists.ttl.as_secs().min(services.settings.limits.max_ttl.as_secs() / 2).max(1)
}
