//! Sessions of hosted pages. A code is exchanged once for a session, and signing out deletes the
//! session.

use crate::{
    domain::{
        common::time::Span,
        credentials::format::ApiKeyValue,
        events::{Actor, EventType, NewEvent},
        portal::session::PortalSessionKind,
    },
    service::{
        Services,
        credentials::{caller::RequestContext, error::AuthError},
        portal::{AuthenticatedSession, Mint, authenticate_session, made, token},
    },
    store::{self, NoEvent, Outcome},
};

/// A new session, for the only response that sets its cookie.
#[derive(Debug)]
pub struct SignedIn {
    pub cookie: ApiKeyValue,
    pub lasts: Span,
}

/// Exchanges a code for a page session, which replaces the session `replaced`, if any. Every fault
/// of the code yields `AuthError::Key`.
pub async fn sign_in(
    services: &Services,
    code: &str,
    replaced: Option<&str>,
    call: &RequestContext,
) -> Result<SignedIn, AuthError> {
    let Some(shown) = token(code) else {
        services.brute_force.failed(call.source, None);
        return Err(AuthError::Key);
    };
    let AuthenticatedSession { session: code, place, held } =
        authenticate_session(services, &shown, PortalSessionKind::Code, call.source).await?;
    let (mint, lasts) = (Mint::of(services), services.settings.session_ttl);
    let origin = call.origin(Actor::PortalSession(code.clone()), place.home.user().cloned());
    let cookie = services
        .store
        .run_transaction(origin, move |tx| {
            // Of two concurrent requests with the same code, only one deletes it.
            if !store::portal::sessions::delete(tx, &code)? {
                return Ok(Outcome::without_event(None, NoEvent::Unchanged));
            }
            let (cookie, session) = mint.make::<AuthError>(tx, PortalSessionKind::Page, place.home, held)?;
            Ok::<_, AuthError>(Outcome::event(Some(cookie), made(&session)))
        })
        .await?;
    let cookie = cookie.ok_or(AuthError::Key)?;
    if let Some(replaced) = replaced {
        // If this fails, the replaced session expires by itself soon.
        let _ = sign_out(services, replaced, call).await;
    }
    Ok(SignedIn { cookie, lasts })
}

/// Ends a page session. A value that is not a valid page session is ignored.
pub async fn sign_out(services: &Services, cookie: &str, call: &RequestContext) -> Result<(), AuthError> {
    let Some(shown) = token(cookie) else { return Ok(()) };
    let AuthenticatedSession { session, place, .. } =
        match authenticate_session(services, &shown, PortalSessionKind::Page, call.source).await {
            // The session is no longer valid.
            Err(AuthError::Key) => return Ok(()),
            proved => proved?,
        };
    let origin = call.origin(Actor::PortalSession(session.clone()), place.home.user().cloned());
    services
        .store
        .run_transaction(origin, move |tx| {
            if !store::portal::sessions::delete(tx, &session)? {
                return Ok(Outcome::without_event((), NoEvent::Unchanged));
            }
            let ended = NewEvent::new(EventType::PortalSessionEnded, &session);
            Ok::<_, AuthError>(Outcome::event((), ended.with_organization(place.home.organization())))
        })
        .await?;
    Ok(())
}
