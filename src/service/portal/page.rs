//! Sessions of hosted pages. A code is exchanged once for a session, and signing out deletes the
//! session.

use crate::{
    domain::{
        common::time::Span,
        credentials::{error::CredentialError, format::ApiKeyValue},
        portal::session::{PortalSession, PortalSessionKind},
    },
    service::{
        Conflict, Error, Services,
        credentials::{
            brute_force::Source,
            error::AuthError,
            request_context::RequestContext,
            session::{parse_session_token, session_origin, verify_session, verify_session_to_end},
            session_end,
        },
        portal::{SessionFactory, SessionSource, creation_event},
    },
    store::{self, NoEvent, Outcome},
};

/// A new session, for the only response that sets its cookie.
#[derive(Debug)]
pub struct SignedIn {
    pub cookie: ApiKeyValue,
    pub lasts: Span,
}

/// The page session that a browser has already.
#[derive(Debug, Clone, Copy)]
pub struct CurrentSession<'a> {
    pub cookie: Option<&'a str>,
    /// Whether it may be replaced if it belongs to another user.
    pub may_be_replaced: bool,
}

/// Exchanges a code for a page session, which replaces the current one. Every fault of the code
/// yields `AuthError::Credential`. A code is not spent if the session of another user would be
/// replaced without consent. Otherwise, the link of a stranger could sign in the stranger, and the
/// user would create keys for the stranger.
pub async fn sign_in(
    services: &Services,
    code: &str,
    current: CurrentSession<'_>,
    call: &RequestContext,
) -> Result<SignedIn, AuthError> {
    let verified = verify_session(services, code, &[PortalSessionKind::Code], call.source).await?;
    let replaced = find_page_session(services, current.cookie).await?;
    if let Some(session) = &replaced
        && let Some(user) = session.owner_scope.user()
        && verified.session.owner_scope.user() != Some(user)
        && !current.may_be_replaced
    {
        return Err(Error::from(Conflict::AnotherUserSignedIn(user.clone())).into());
    }
    let (factory, lasts) = (SessionFactory::of(services), services.settings.portal.session_ttl);
    let (origin, code) = (session_origin(&verified.session, call), verified.session);
    let cookie = services
        .store
        .run_transaction(origin, move |tx| {
            // The session of the code may have ended since the code was verified, without the code
            // if it had expired by then. Of two concurrent requests with the same code, only one
            // deletes it.
            let is_in_force = store::portal::sessions::lock_with_parent(tx, &code)? && code.expires_at > tx.now();
            if !is_in_force || !store::portal::sessions::delete(tx, &code.id)? {
                return Ok(Outcome::without_event(None, NoEvent::Unchanged));
            }
            let PortalSession { owner_scope, opened_by, parent_id, .. } = code;
            let source = SessionSource { owner_scope, opened_by, parent_id };
            let (cookie, session) = factory.create(tx, PortalSessionKind::Page, source)?;
            Ok::<_, Error>(Outcome::event(Some(cookie), creation_event(&session)))
        })
        .await?;
    let cookie = cookie.ok_or(CredentialError::Unknown)?;
    if let Some(replaced) = replaced {
        // If this fails, the replaced session expires by itself soon.
        let _ = end(services, replaced, call).await;
    }
    Ok(SignedIn { cookie, lasts })
}

/// Ends a page session, also while its user is blocked or its opener is suspended. A value that is
/// not a page session is ignored.
pub async fn sign_out(services: &Services, cookie: &str, call: &RequestContext) -> Result<(), AuthError> {
    match find_page_session(services, Some(cookie)).await? {
        Some(session) => end(services, session, call).await,
        None => Ok(()),
    }
}

/// Returns the session of a cookie, unless it has ended. The browser sends an expired cookie by
/// itself, so it does not count as a failure of its source.
async fn find_page_session(services: &Services, cookie: Option<&str>) -> Result<Option<PortalSession>, AuthError> {
    let Some(cookie) = cookie.filter(|cookie| parse_session_token(cookie).is_some()) else { return Ok(None) };
    match verify_session_to_end(services, cookie, &[PortalSessionKind::Page], Source::UNKNOWN).await {
        Err(AuthError::Credential(_)) => Ok(None),
        session => session.map(Some),
    }
}

async fn end(services: &Services, session: PortalSession, call: &RequestContext) -> Result<(), AuthError> {
    services
        .store
        .run_transaction(session_origin(&session, call), move |tx| {
            let ended = session_end::delete(tx, &session)?;
            Ok(Outcome::events_unless(NoEvent::Unchanged, (), ended.into_iter().collect()))
        })
        .await
}
