//! Revocation (RFC 7009). The holder of a key can revoke it, the tokens that were issued for it,
//! and the portal sessions that it opened, without further permission. Callers that may revoke the
//! key or end the session at `/v1` can do so as well. All other callers get the response for an
//! unknown token and learn nothing about the keys and sessions of others.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::{
    domain::{
        common::{id::KeyId, preconditions::Preconditions, time::Timestamp},
        events::{Actor, EventType, NewEvent},
        exchange::{
            claims::Claims,
            key_context::{ExchangeParameters, KeyProperties},
        },
        portal::session::PortalSessionKind,
    },
    service::{
        Error, Services,
        api_keys::{self, KeyTransition, lookup::lock_key_for_end},
        caller::Caller,
        credentials::{
            api_key::verify_api_key,
            brute_force::Source,
            error::AuthError,
            request_context::RequestContext,
            session::{parse_session_token, verify_session_to_end},
            session_end::{self, EndedSessions},
            token::{SignedToken, find_key_of_token, has_token_format},
            verify::{PresentedCredential, verify, wait_for_deadline},
        },
    },
    store::{self, LookupDetail, NoEvent, Outcome},
    telemetry::labels::RequestForm,
};

/// Revokes a key, a token or a portal session if the caller may do so. An unknown one is no error.
/// After the function returns, no replica accepts it (invariant 2). Returns `Error::Conflict` for
/// the key of the last administrator.
pub async fn revoke(services: &Services, caller: &Caller, token: &str) -> Result<(), AuthError> {
    let started = Instant::now();
    let revoked = if parse_session_token(token).is_some() {
        revoke_presented_session(services, caller, token).await
    } else if has_token_format(token) {
        revoke_presented_token(services, caller, token).await
    } else {
        revoke_presented_key(services, caller, token).await
    };
    match revoked {
        // It is not accepted, and the constant-time deadline has passed.
        Ok(true) | Err(AuthError::Credential(_)) => Ok(()),
        Ok(false) => {
            // A key or token that the caller may not revoke takes as long as an unknown one.
            wait_for_deadline(services, started).await;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Ends a portal session of any kind and returns whether the caller may do so.
async fn revoke_presented_session(services: &Services, caller: &Caller, token: &str) -> Result<bool, AuthError> {
    let session = verify_session_to_end(services, token, &PortalSessionKind::ALL, Source::UNKNOWN).await?;
    let caller = with_key_authority(caller, &session.opened_by);
    match session_end::end(services, &caller, EndedSessions::One(session.id), Preconditions::default()).await {
        Ok(_) => Ok(true),
        // The session has ended since the lookup, or the caller may not end it.
        Err(Error::NotFound(_) | Error::Forbidden(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Revokes a key and returns whether the caller may do so.
async fn revoke_presented_key(services: &Services, caller: &Caller, key: &str) -> Result<bool, AuthError> {
    // A third party may have sent the key to a service, so its source is unknown.
    let presented = PresentedCredential { value: key, source: Source::UNKNOWN, form: Some(RequestForm::Management) };
    // The state of the key does not matter: a suspended key could be resumed.
    let (request, detail) = (ExchangeParameters::default(), LookupDetail::Context);
    let verified = verify_api_key(services, presented, &request, detail, async |_| Ok(())).await?;
    let Some(caller) = find_revoking_caller(caller, &verified.context.key) else { return Ok(false) };
    match api_keys::step(services, &caller, verified.context.key.id, KeyTransition::Revoke, Preconditions::default())
        .await
    {
        Ok(_) => Ok(true),
        // The key or its owner was deleted since the lookup.
        Err(Error::NotFound(_) | Error::Forbidden(_) | Error::NotAllowed(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Revokes a token and returns whether the caller may do so.
async fn revoke_presented_token(services: &Services, caller: &Caller, token: &str) -> Result<bool, AuthError> {
    let presented = PresentedCredential { value: token, source: Source::UNKNOWN, form: None };
    let parse = |text: &str| Some((SignedToken::verify(services, text)?, None));
    let (claims, context) = verify(services, presented, parse, async |token: SignedToken| {
        // This lookup precedes the transaction, so that unauthorized callers do not lock a key.
        let found = find_key_of_token(services, &token, BTreeSet::new(), LookupDetail::Context).await?;
        Ok((token.claims, found.0))
    })
    .await?;
    match find_revoking_caller(caller, &context.key) {
        Some(caller) => Ok(revoke_token(services, &caller, claims).await?),
        None => Ok(false),
    }
}

/// Revokes a token for the management audience that the client presents as its own credential. The
/// state of its key does not matter: a suspended key could be resumed. Every fault of the token
/// yields `AuthError::Credential`.
pub(crate) async fn revoke_held_token(
    services: &Services,
    token: &str,
    call: &RequestContext,
) -> Result<(), AuthError> {
    let presented = PresentedCredential { value: token, source: call.source, form: None };
    let audience = &services.settings.management_audience;
    let parse = |text: &str| Some((SignedToken::verify_for(services, text, audience)?, None));
    let claims = verify(services, presented, parse, async |token: SignedToken| {
        find_key_of_token(services, &token, BTreeSet::new(), LookupDetail::Context).await?;
        Ok(token.claims)
    })
    .await?;
    let origin = call.origin(Actor::Key(claims.key_id.clone()), None);
    revoke_token(services, &Caller { origin, ..Caller::for_system() }, claims).await?;
    Ok(())
}

/// Returns the caller with the authority to revoke the key, or `None` if it may not.
fn find_revoking_caller(caller: &Caller, key: &KeyProperties) -> Option<Caller> {
    let caller = with_key_authority(caller, &key.id);
    let ownership = &key.ownership;
    caller.authority.rights_on(&ownership.owner_scope, ownership.owner_exists()).end.then_some(caller)
}

/// Returns the caller. If it is `key`, it may end this key and what the key opened, whatever its
/// permissions and its tenant scope.
fn with_key_authority(caller: &Caller, key: &KeyId) -> Caller {
    let is_key = caller.origin.actor == Actor::Key(key.clone());
    let authority = if is_key { Caller::for_system().authority } else { caller.authority.clone() };
    Caller { authority, ..caller.clone() }
}

/// Revokes a token and returns whether the caller may do so. Only the first revocation appends an
/// event.
async fn revoke_token(services: &Services, caller: &Caller, claims: Claims<'static>) -> Result<bool, Error> {
    services
        .end_access(caller, move |tx, caller| {
            // The key is locked here, so the second of two concurrent revocations finds the result
            // of the first.
            let Some(key) = lock_key_for_end(tx, caller, &claims.key_id)? else {
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
                .with_organization(key.ownership.owner_scope.organization())
                .with_data("jti", claims.jti);
            Ok(Outcome::event(true, event))
        })
        .await
}
