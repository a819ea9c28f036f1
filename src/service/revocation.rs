//! Revocation (RFC 7009): whoever holds a key ends it, or a token made from it, without further permission; so does whoever may end the
//! key at `/v1`. To everyone else the answer is as if there were no such thing: nobody learns here what somebody else holds.

use tokio::time::Instant;

use crate::{
    domain::{
        claims::Claims,
        event::{Actor, EventKind, NewEvent},
        grant::Request,
        id::KeyId,
        standing::Standing,
        time::Timestamp,
    },
    store::{self, Outcome, facts::Wanted},
    telemetry::metrics::Form,
};

use super::{
    App, Error,
    api_keys::{self, Step, endable},
    caller::{Caller, is_token},
    guessing::Source,
    portal_sessions,
    proof::{Attempt, Denied, judge, wait_for_tick},
};

/// Why nothing was revoked, where that is not because there is nothing to revoke.
#[derive(Debug, thiserror::Error)]
pub enum NotRevoked {
    /// A portal session: it ends by itself, soon.
    #[error("tokens of this kind cannot be revoked")]
    Unsupported,
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Ends a key or a token, if it is one that the caller may end. When this has returned, no replica takes it any more (design rule 2).
///
/// # Errors
/// The database is away; too many failures with this credential; the key is the last administrator's.
pub async fn revoke(app: &App, caller: &Caller, shown: &str) -> Result<(), NotRevoked> {
    let started = Instant::now();
    if portal_sessions::token(shown).is_some() {
        return Err(NotRevoked::Unsupported);
    }
    let revoked =
        if is_token(shown) { by_token(app, caller, shown).await? } else { by_key(app, caller, shown).await? };
    match revoked {
        Done::Revoked | Done::Refused => {}
        // What is not the caller's takes as long as what is not there.
        Done::Nothing => wait_for_tick(app, started).await,
    }
    Ok(())
}

enum Done {
    Revoked,
    /// No such key, and the answer has waited already.
    Refused,
    Nothing,
}

async fn by_key(app: &App, caller: &Caller, key: &str) -> Result<Done, NotRevoked> {
    // What is shown here may be what strangers sent to a service.
    let attempt = Attempt { key, source: Source::BEHIND_ANOTHER, form: Form::Management };
    // In force or not: a suspended key might be resumed.
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
        // It changed hands just now.
        Err(Error::NotFound(_) | Error::Forbidden(_)) => Ok(Done::Nothing),
        Err(error) => Err(error.into()),
    }
}

async fn by_token(app: &App, caller: &Caller, token: &str) -> Result<Done, NotRevoked> {
    let verified = app.keys.view().verify_any(token, app.issuer());
    let Some((_, claims)) = verified else { return Ok(Done::Nothing) };
    let caller = ender(caller, &claims.key_id);
    // Asked before the change begins, so that strangers lock no key.
    let wanted = Wanted::Key(claims.key_id.clone());
    let found = app.store.read(move |connection| store::facts::load(connection, &wanted, &[].into())).await;
    let Some(found) = found.map_err(Denied::from)? else { return Ok(Done::Nothing) };
    let ownership = &found.facts.key.ownership;
    let gone = matches!(ownership.standing(false), Standing::Gone(_));
    if !caller.may_end(&ownership.home, gone) || claims.exp <= found.facts.now.seconds() {
        return Ok(Done::Nothing);
    }
    Ok(if revoke_token(app, caller, claims).await? { Done::Revoked } else { Done::Nothing })
}

/// Whether the caller may end it. One event, the first time; what is revoked already stays as it is.
async fn revoke_token(app: &App, caller: Caller, claims: Claims) -> Result<bool, Error> {
    app.store
        .change(caller.origin.clone(), move |tx| {
            // Under the lock of its key: of two that revoke at once the second finds what the first did.
            let Some(key) = endable(tx, &caller, &claims.key_id)? else { return Ok(Outcome::bookkeeping(false)) };
            if store::revoked_tokens::is_revoked(tx, &claims.jti)? {
                return Ok(Outcome::bookkeeping(true));
            }
            let ends = Timestamp::from_millis(claims.exp.saturating_mul(1000));
            store::revoked_tokens::insert(tx, &claims.jti, &key.id, ends)?;
            // Where the audience asked for a place of its own, verifiers read it there.
            store::status_lists::revoke_token(tx, &claims.jti)?;
            let event = NewEvent::new(EventKind::TokenRevoked, &key.id)
                .within(key.ownership.home.organization())
                .with("jti", claims.jti);
            Ok(Outcome::event(true, event))
        })
        .await
}

/// Whoever holds a key may end it, wherever they stand.
fn ender(caller: &Caller, key: &KeyId) -> Caller {
    if caller.origin.actor == Actor::Key(key.clone()) {
        Caller { authority: Caller::system().authority, ..caller.clone() }
    } else {
        caller.clone()
    }
}
