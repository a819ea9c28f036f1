//! Builds the status lists: only if something may have changed, and signing only lists whose
//! content differs or that must be renewed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    crypto::sha256_hex,
    domain::{
        access::token_profile::Typ,
        common::{
            derived_id::{CredentialId, SigningKeyId},
            id::StatusListId,
            time::{Span, Timestamp},
        },
        events::{Actor, Origin},
        status_lists::{Bits, ListKind, Status, Statuses},
    },
    service::{App, Error, status_lists::encoding},
    store::{
        self, Conn, Outcome, StoreError,
        status_lists::{
            List,
            revoked_credentials::{self, Mark},
            signed_lists::{Build, Signed, SignedInfo},
        },
    },
};

/// Maximum number of consecutive attempts when another replica writes first.
const TRIES: usize = 2;

/// The claims of a status list token (§5.1 of the draft).
#[derive(Serialize)]
struct ListClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    iat: i64,
    exp: i64,
    ttl: u64,
    status_list: ListMember<'a>,
}

#[derive(Serialize)]
struct ListMember<'a> {
    bits: Bits,
    lst: &'a str,
}

/// The inputs of a build from outside the database.
struct Terms {
    issuer: String,
    ends_with_creator: bool,
    ttl: u64,
    /// Lifetime of a signed list, equal to the maximum lifetime of a token, so that its signing key
    /// stays published until the list expires (invariant K6).
    lifetime: Span,
    published: BTreeSet<SigningKeyId>,
    /// Whether all statuses are read even if the audit log has no new events.
    anew: bool,
}

/// What a build has to sign and record.
struct Work {
    before: Build,
    seq: i64,
    next_end: Option<Timestamp>,
    now: Timestamp,
    lists: Vec<Packed>,
}

/// A list to sign.
struct Packed {
    id: StatusListId,
    content: String,
    lst: String,
}

/// Verifies that the lists are current, and signs those that are not, that have reached half of
/// their lifetime, or whose signing key is no longer published. Of several replicas, one writes;
/// the others find the work done.
pub async fn rebuild(app: &App) -> Result<(), Error> {
    let _alone = app.status_lists.building.lock().await;
    for _ in 0..TRIES {
        let began = Instant::now();
        if build(app).await? {
            app.status_lists.built(began);
            return Ok(());
        }
        app.metrics.status_list_build_lost();
    }
    tracing::warn!("others were faster to write the status lists, each time: the next look does what is left");
    Ok(())
}

/// Returns whether the lists are current; `false` if another replica has written first, from the
/// same earlier state.
async fn build(app: &App) -> Result<bool, Error> {
    let view = app.keys.view();
    let terms = Terms {
        issuer: app.issuer().to_owned(),
        ends_with_creator: app.settings.limits.ends_with_creator,
        ttl: ttl(app),
        lifetime: app.settings.limits.max_ttl,
        published: view.published.iter().map(|(info, _)| info.kid.clone()).collect(),
        anew: !app.status_lists.has_built.load(Ordering::Relaxed),
    };
    let Some(work) = app.store.read(move |connection| look(connection, &terms)).await? else { return Ok(true) };
    let mut signed = Vec::new();
    for packed in work.lists {
        signed.push(sign(app, packed, work.now).await?);
    }
    let (before, seq, next_end) = (work.before, work.seq, work.next_end);
    let written = app.store.change(Origin::of(Actor::System), move |tx| {
        Ok::<_, StoreError>(Outcome::bookkeeping(store::status_lists::signed_lists::write(
            tx, &before, seq, next_end, &signed,
        )?))
    });
    let written = written.await?;
    if written {
        app.status_lists.has_built.store(true, Ordering::Relaxed);
    }
    Ok(written)
}

async fn sign(app: &App, packed: Packed, now: Timestamp) -> Result<Signed, Error> {
    let view = app.keys.view_at(now, &app.store, &app.master).await;
    let minter = view.signer(None, app.settings.algorithm, now);
    let minter = minter.map_err(|why| Error::Unavailable(why.to_string()))?;
    let uri = packed.id.uri(app.issuer());
    let lifetime = app.settings.limits.max_ttl;
    let claims = ListClaims {
        iss: app.issuer(),
        sub: &uri,
        iat: now.seconds(),
        exp: now.after(lifetime).seconds(),
        ttl: ttl(app),
        status_list: ListMember { bits: Bits::OURS, lst: &packed.lst },
    };
    let jwt = minter.mint(&Typ::STATUS_LIST, &claims).await?.expose().to_owned();
    let info = SignedInfo {
        list: packed.id,
        kid: minter.jwk().kid.clone(),
        content: packed.content,
        issued_at: now,
        expires_at: now.after(lifetime),
    };
    Ok(Signed { info, jwt })
}

/// Returns `None` in most cases, after a few small reads.
fn look(connection: &mut Conn, terms: &Terms) -> Result<Option<Work>, Error> {
    let now = store::now(connection)?;
    let before = store::status_lists::signed_lists::build(connection)?;
    let lists = store::status_lists::list(connection)?;
    let infos: BTreeMap<_, _> = store::status_lists::signed_lists::infos(connection)?
        .into_iter()
        .map(|info| (info.list.clone(), info))
        .collect();
    // The chain head and the counter of revoked tokens are read before the statuses, so that the
    // statuses are at least as new as the state that is recorded for them.
    let seq = store::status_lists::signed_lists::head(connection)?;
    let has_news = terms.anew
        || seq != before.seq
        || before.revoked != before.built_revoked
        || before.next_end.is_some_and(|end| end <= now);
    let is_old = |list: &List| infos.get(&list.id).is_none_or(|info| must_renew(info, terms, now));
    if !has_news && !lists.iter().any(is_old) {
        return Ok(None);
    }
    let mut statuses = read(connection, &lists, now, terms.ends_with_creator)?;
    let mut packed = Vec::new();
    for list in &lists {
        let Some(statuses) = statuses.remove(&list.id.to_string()) else { continue };
        let content = content(&list.id, &statuses, terms);
        if !is_old(list) && infos.get(&list.id).is_some_and(|info| info.content == content) {
            continue;
        }
        let deflated = encoding::deflate(statuses.as_bytes()).map_err(|error| Error::Internal(error.to_string()))?;
        packed.push(Packed { id: list.id.clone(), content, lst: URL_SAFE_NO_PAD.encode(deflated) });
    }
    let next_end = revoked_credentials::next_end(connection, now)?;
    Ok(Some(Work { before, seq, next_end, now, lists: packed }))
}

fn must_renew(info: &SignedInfo, terms: &Terms, now: Timestamp) -> bool {
    let (lived, left) = (now.millis() - info.issued_at.millis(), info.expires_at.millis() - now.millis());
    left <= lived || lived < 0 || !terms.published.contains(&info.kid)
}

/// The current content of all lists.
fn read(
    connection: &mut Conn,
    lists: &[List],
    now: Timestamp,
    ends_with_creator: bool,
) -> Result<BTreeMap<String, Statuses>, StoreError> {
    let mut all: BTreeMap<_, _> =
        lists.iter().map(|list| (list.id.to_string(), Statuses::new(Bits::OURS, list.size))).collect();
    let mut mark = |list: &str, index: i32, status: Status| {
        // The list was created after `lists` was read. It is not signed yet, so the next build
        // includes it.
        let Some(statuses) = all.get_mut(list) else { return };
        let marked = u32::try_from(index).ok().and_then(|index| statuses.worsen(index, status).ok());
        // An invalid row must not fail the whole build. Verifiers reject tokens whose index is out
        // of range.
        if marked.is_none() {
            tracing::error!(list, index, "an index is not in its status list; the row is left out");
        }
    };
    // Collected only if tokens have statuses of their own: these are all credentials that are not
    // valid, possibly millions.
    let has_tokens = lists.iter().any(|list| list.kind == ListKind::Token);
    let mut dead: BTreeMap<CredentialId, Status> = BTreeMap::new();
    revoked_credentials::of_credentials(connection, now, ends_with_creator, |Mark { credential, place, status }| {
        if let Some((list, index)) = place {
            mark(&list, index, status);
        }
        if has_tokens {
            let Ok(id) = credential.parse() else {
                tracing::error!(credential, "not the id of a credential; the row is left out");
                return;
            };
            let gravest = dead.entry(id).or_insert(status);
            *gravest = status.max(*gravest);
        }
    })?;
    if has_tokens {
        revoked_credentials::of_tokens(connection, &dead, mark)?;
    }
    Ok(all)
}

fn content(id: &StatusListId, statuses: &Statuses, terms: &Terms) -> String {
    let terms = format!("{}\n{}\n{}\n", id.uri(&terms.issuer), terms.ttl, terms.lifetime.as_secs());
    sha256_hex(&[terms.as_bytes(), statuses.as_bytes()].concat())
}

/// How long a verifier may use a list, in seconds. At most half of the lifetime of a list, which is
/// signed again at that age.
pub fn ttl(app: &App) -> u64 {
    app.settings.status_ttl.as_secs().min(app.settings.limits.max_ttl.as_secs() / 2).max(1)
}
