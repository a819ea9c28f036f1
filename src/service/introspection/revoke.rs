//! Revocation (RFC 7009). The holder of a key can revoke it, and the tokens that were issued for
//! it, without further permission. Callers that may revoke the key at `/v1` can do so as well. All
//! other callers get the response for an unknown token and learn nothing about the keys of others.

use tokio::time::Instant;

use crate::{
    domain::{
        access::owner_status::Standing,
        common::{id::KeyId, time::Timestamp},
        events::{Actor, EventKind, NewEvent},
        exchange::{claims::Claims, facts::Request},
    },
    service::{
        App, Error,
        api_keys::{self, Step, lookup::endable},
        caller::Caller,
        credentials::{
            brute_force::Source,
            caller::is_token,
            error::Denied,
            verify::{Attempt, judge, wait_for_tick},
        },
        portal,
    },
    store::{self, Outcome, credentials::key_context::Wanted},
    telemetry::labels::Form,
};

/// The reason why a revocation failed. An unknown key or token is not an error.
#[derive(Debug, thiserror::Error)]
pub enum NotRevoked {
    /// The token belongs to a portal session, which expires soon.
    #[error("tokens of this kind cannot be revoked")]
    Unsupported,
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Revokes a key or a token if the caller may do so. After the function returns, no replica accepts
/// the key or token (invariant 2). Returns `Error::Conflict` for the key of the last administrator.
pub async fn revoke(app: &App, caller: &Caller, shown: &str) -> Result<(), NotRevoked> {
    let started = Instant::now();
    if portal::token(shown).is_some() {
        return Err(NotRevoked::Unsupported);
    }
    let revoked =
        if is_token(shown) { by_token(app, caller, shown).await? } else { by_key(app, caller, shown).await? };
    match revoked {
        Done::Revoked | Done::Refused => {}
        // A key or token that the caller may not revoke takes as long as an unknown one.
        Done::Nothing => wait_for_tick(app, started).await,
    }
    Ok(())
}

enum Done {
    Revoked,
    /// The key is not accepted, and the constant-time deadline has passed.
    Refused,
    Nothing,
}

async fn by_key(app: &App, caller: &Caller, key: &str) -> Result<Done, NotRevoked> {
    // A third party may have sent the key to a service, so its source is unknown.
    let attempt = Attempt { key, source: Source::BEHIND_ANOTHER, form: Form::Management };
    // The state of the key does not matter: a suspended key could be resumed.
    let proved = judge(app, attempt, &Request::default(), |facts| Ok(facts.key.id.clone())).await;
    let (id, facts) = match proved {
        Ok(proved) => proved,
        Err(Denied::Key) => return Ok(Done::Refused),
        Err(
            denied @ (Denied::Scope(_)
            | Denied::Target(_)
            | Denied::OnBehalfOf(_)
            | Denied::Throttled(_)
            | Denied::Limited(_)
            | Denied::Unavailable(_)
            | Denied::Restored
            | Denied::Internal(_)),
        ) => return Err(denied.into()),
    };
    let caller = ender(caller, &id);
    let gone = matches!(facts.key.ownership.standing(false), Standing::Gone(_));
    if !caller.may_end(&facts.key.ownership.home, gone) {
        return Ok(Done::Nothing);
    }
    match api_keys::step(app, &caller, id, Step::Revoke, None).await {
        Ok(_) => Ok(Done::Revoked),
        // The key or its owner was deleted since the lookup.
        Err(Error::NotFound(_) | Error::Forbidden(_)) => Ok(Done::Nothing),
        Err(error) => Err(error.into()),
    }
}

async fn by_token(app: &App, caller: &Caller, token: &str) -> Result<Done, NotRevoked> {
    let verified = app.keys.view().verify_any(token, app.issuer());
    let Some((_, claims)) = verified else { return Ok(Done::Nothing) };
    let caller = ender(caller, &claims.key_id);
    // This lookup precedes the transaction, so that unauthorized callers do not lock a key.
    let wanted = Wanted::Key(claims.key_id.clone());
    let found =
        app.store.read(move |connection| store::credentials::key_context::load(connection, &wanted, &[].into())).await;
    let Some(found) = found.map_err(Denied::from)? else { return Ok(Done::Nothing) };
    let ownership = &found.facts.key.ownership;
    let gone = matches!(ownership.standing(false), Standing::Gone(_));
    if !caller.may_end(&ownership.home, gone) || claims.exp <= found.facts.now.seconds() {
        return Ok(Done::Nothing);
    }
    Ok(if revoke_token(app, caller, claims).await? { Done::Revoked } else { Done::Nothing })
}

/// Revokes a token and returns whether the caller may do so. Only the first revocation appends an
/// event.
async fn revoke_token(app: &App, caller: Caller, claims: Claims) -> Result<bool, Error> {
    app.store
        .change(caller.origin.clone(), move |tx| {
            // The key is locked here, so the second of two concurrent revocations finds the result
            // of the first.
            let Some(key) = endable(tx, &caller, &claims.key_id)? else { return Ok(Outcome::bookkeeping(false)) };
            if store::credentials::revoked_tokens::is_revoked(tx, &claims.jti)? {
                return Ok(Outcome::bookkeeping(true));
            }
            let ends = Timestamp::from_millis(claims.exp.saturating_mul(1000));
            store::credentials::revoked_tokens::insert(tx, &claims.jti, &key.id, ends)?;
            // If the token has an index of its own in a status list, verifiers read the revocation
            // there.
            store::status_lists::revoke_token(tx, &claims.jti)?;
            let event = NewEvent::new(EventKind::TokenRevoked, &key.id)
                .within(key.ownership.home.organization())
                .with("jti", claims.jti);
            Ok(Outcome::event(true, event))
        })
        .await
}

/// The holder of a key may revoke it regardless of its tenant scope.
fn ender(caller: &Caller, key: &KeyId) -> Caller {
    if caller.origin.actor == Actor::Key(key.clone()) {
        Caller { authority: Caller::system().authority, ..caller.clone() }
    } else {
        caller.clone()
    }
}
