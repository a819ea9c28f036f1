//! Revocation (RFC 7009). The holder of a key can revoke it, and the tokens that were issued for
//! it, without further permission. Callers that may revoke the key at `/v1` can do so as well. All
//! other callers get the response for an unknown token and learn nothing about the keys of others.

use tokio::time::Instant;

use crate::{
    domain::{
        common::time::Timestamp,
        credentials::error::CredentialError,
        events::{Actor, EventType, NewEvent},
        exchange::{
            claims::Claims,
            key_context::{ExchangeParameters, KeyProperties},
        },
    },
    service::{
        Error, Services,
        api_keys::{self, KeyTransition, lookup::lock_key_for_end},
        caller::Caller,
        credentials::{
            api_key::verify_api_key,
            brute_force::Source,
            error::AuthError,
            session::parse_session_token,
            token::{has_token_format, load_key},
            verify::{PresentedCredential, verify, wait_for_deadline},
        },
    },
    store::{self, LookupDetail, NoEvent, Outcome, credentials::key_context::KeySelector},
    telemetry::labels::RequestForm,
};

/// The reason why a revocation failed. An unknown key or token is not an error.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// The token belongs to a portal session, which expires soon.
    #[error("tokens of this kind cannot be revoked")]
    Unsupported,
    #[error(transparent)]
    Auth(#[from] AuthError),
}

/// Revokes a key or a token if the caller may do so. After the function returns, no replica accepts
/// the key or token (invariant 2). Returns `Error::Conflict` for the key of the last administrator.
pub async fn revoke(services: &Services, caller: &Caller, token: &str) -> Result<(), RevocationError> {
    let started = Instant::now();
    if parse_session_token(token).is_some() {
        return Err(RevocationError::Unsupported);
    }
    let revoked = if has_token_format(token) {
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
    match api_keys::step(services, &caller, verified.context.key.id, KeyTransition::Revoke, None).await {
        Ok(_) => Ok(true),
        // The key or its owner was deleted since the lookup.
        Err(Error::NotFound(_) | Error::Forbidden(_) | Error::NotAllowed(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Revokes a token and returns whether the caller may do so.
async fn revoke_presented_token(services: &Services, caller: &Caller, token: &str) -> Result<bool, AuthError> {
    let presented = PresentedCredential { value: token, source: Source::UNKNOWN, form: None };
    let parse = |text: &str| Some((services.keys.view().verify_any(text, services.issuer())?.1, None));
    let (claims, context) = verify(services, presented, parse, async |claims: Claims| {
        // This lookup precedes the transaction, so that unauthorized callers do not lock a key.
        let found = load_key(services, KeySelector::Key(claims.key_id.clone())).await?;
        Ok((claims, found.ok_or(CredentialError::Unknown)?))
    })
    .await?;
    match find_revoking_caller(caller, &context.key) {
        Some(caller) if claims.exp > context.now.seconds() => Ok(revoke_token(services, &caller, claims).await?),
        Some(_) | None => Ok(false),
    }
}

/// Returns the caller with the authority to revoke the key, or `None` if it may not. The holder of
/// a key may revoke it regardless of its tenant scope.
fn find_revoking_caller(caller: &Caller, key: &KeyProperties) -> Option<Caller> {
    let mut caller = caller.clone();
    if caller.origin.actor == Actor::Key(key.id.clone()) {
        caller.authority = Caller::for_system().authority;
    }
    let ownership = &key.ownership;
    caller.authority.rights_on(&ownership.owner_scope, ownership.owner_exists()).end.then_some(caller)
}

/// Revokes a token and returns whether the caller may do so. Only the first revocation appends an
/// event.
async fn revoke_token(services: &Services, caller: &Caller, claims: Claims) -> Result<bool, Error> {
    services
        .change(caller, move |tx, caller| {
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
