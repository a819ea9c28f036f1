//! Revocation (RFC 7009). The holder of a key can revoke it, and the tokens that were issued for
//! it, without further permission. Callers that may revoke the key at `/v1` can do so as well. All
//! other callers get the response for an unknown token and learn nothing about the keys of others.

use tokio::time::Instant;

use crate::{
    domain::{
        common::{id::KeyId, time::Timestamp},
        events::{Actor, EventType, NewEvent},
        exchange::{claims::Claims, facts::Request},
    },
    service::{
        Error, Services,
        api_keys::{self, Step, lookup::lock_key_to_end},
        caller::Caller,
        credentials::{
            brute_force::Source,
            caller::has_token_format,
            error::AuthError,
            verify::{PresentedCredential, judge, wait_for_deadline},
        },
        portal,
    },
    store::{self, NoEvent, Outcome, credentials::key_context::KeySelector},
    telemetry::labels::Form,
};

/// The reason why a revocation failed. An unknown key or token is not an error.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// The token belongs to a portal session, which expires soon.
    #[error("tokens of this kind cannot be revoked")]
    Unsupported,
    #[error(transparent)]
    Denied(#[from] AuthError),
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Revokes a key or a token if the caller may do so. After the function returns, no replica accepts
/// the key or token (invariant 2). Returns `Error::Conflict` for the key of the last administrator.
pub async fn revoke(services: &Services, caller: &Caller, shown: &str) -> Result<(), RevocationError> {
    let started = Instant::now();
    if portal::token(shown).is_some() {
        return Err(RevocationError::Unsupported);
    }
    let revoked = if has_token_format(shown) {
        revoke_presented_token(services, caller, shown).await?
    } else {
        revoke_presented_key(services, caller, shown).await?
    };
    match revoked {
        RevocationOutcome::Revoked | RevocationOutcome::Refused => {}
        // A key or token that the caller may not revoke takes as long as an unknown one.
        RevocationOutcome::NotPermitted => wait_for_deadline(services, started).await,
    }
    Ok(())
}

enum RevocationOutcome {
    Revoked,
    /// The key is not accepted, and the constant-time deadline has passed.
    Refused,
    NotPermitted,
}

async fn revoke_presented_key(
    services: &Services,
    caller: &Caller,
    key: &str,
) -> Result<RevocationOutcome, RevocationError> {
    // A third party may have sent the key to a service, so its source is unknown.
    let attempt = PresentedCredential { key, source: Source::UNKNOWN, form: Form::Management };
    // The state of the key does not matter: a suspended key could be resumed.
    let proved = judge(services, attempt, &Request::default(), |facts| Ok(facts.key.id.clone())).await;
    let (id, facts) = match proved {
        Ok(proved) => proved,
        Err(AuthError::Key) => return Ok(RevocationOutcome::Refused),
        Err(
            denied @ (AuthError::Scope(_)
            | AuthError::Target(_)
            | AuthError::OnBehalfOf(_)
            | AuthError::Throttled(_)
            | AuthError::Limited(_)
            | AuthError::Unavailable(_)
            | AuthError::Restored
            | AuthError::Internal(_)),
        ) => return Err(denied.into()),
    };
    let caller = caller_with_own_key_authority(caller, &id);
    let ownership = &facts.key.ownership;
    if !caller.authority.rights_on(&ownership.home, ownership.owner_exists()).end {
        return Ok(RevocationOutcome::NotPermitted);
    }
    match api_keys::step(services, &caller, id, Step::Revoke, None).await {
        Ok(_) => Ok(RevocationOutcome::Revoked),
        // The key or its owner was deleted since the lookup.
        Err(Error::NotFound(_) | Error::Forbidden(_) | Error::NotAllowed(_)) => Ok(RevocationOutcome::NotPermitted),
        Err(error) => Err(error.into()),
    }
}

async fn revoke_presented_token(
    services: &Services,
    caller: &Caller,
    token: &str,
) -> Result<RevocationOutcome, RevocationError> {
    let verified = services.keys.view().verify_any(token, services.issuer());
    let Some((_, claims)) = verified else { return Ok(RevocationOutcome::NotPermitted) };
    let caller = caller_with_own_key_authority(caller, &claims.key_id);
    // This lookup precedes the transaction, so that unauthorized callers do not lock a key.
    let wanted = KeySelector::Key(claims.key_id.clone());
    let found = services
        .store
        .read(move |connection| store::credentials::key_context::load(connection, &wanted, &[].into()))
        .await;
    let Some(found) = found.map_err(AuthError::from)? else { return Ok(RevocationOutcome::NotPermitted) };
    let ownership = &found.facts.key.ownership;
    let may_end = caller.authority.rights_on(&ownership.home, ownership.owner_exists()).end;
    if !may_end || claims.exp <= found.facts.now.seconds() {
        return Ok(RevocationOutcome::NotPermitted);
    }
    Ok(if revoke_token(services, caller, claims).await? {
        RevocationOutcome::Revoked
    } else {
        RevocationOutcome::NotPermitted
    })
}

/// Revokes a token and returns whether the caller may do so. Only the first revocation appends an
/// event.
async fn revoke_token(services: &Services, caller: Caller, claims: Claims) -> Result<bool, Error> {
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            // The key is locked here, so the second of two concurrent revocations finds the result
            // of the first.
            let Some(key) = lock_key_to_end(tx, &caller, &claims.key_id)? else {
                return Ok(Outcome::without_event(false, NoEvent::Unchanged));
            };
            if store::credentials::revoked_tokens::is_revoked(tx, &claims.jti)? {
                return Ok(Outcome::without_event(true, NoEvent::AlreadyRecorded));
            }
            let ends = Timestamp::from_millis(claims.exp.saturating_mul(1000));
            store::credentials::revoked_tokens::insert(tx, &claims.jti, &key.id, ends)?;
            // If the token has an index of its own in a status list, verifiers read the revocation
            // there.
            store::status_lists::revoke_token(tx, &claims.jti)?;
            let event = NewEvent::new(EventType::TokenRevoked, &key.id)
                .with_organization(key.ownership.home.organization())
                .with_data("jti", claims.jti);
            Ok(Outcome::event(true, event))
        })
        .await
}

/// The holder of a key may revoke it regardless of its tenant scope.
fn caller_with_own_key_authority(caller: &Caller, key: &KeyId) -> Caller {
    if caller.origin.actor == Actor::Key(key.clone()) {
        Caller { authority: Caller::for_system().authority, ..caller.clone() }
    } else {
        caller.clone()
    }
}
