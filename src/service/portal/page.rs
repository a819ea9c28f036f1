//! Sessions of hosted pages. A code is exchanged once for a session, and signing out deletes the
//! session.

use crate::{
    domain::{
        common::time::Span,
        credentials::{error::CredentialError, format::ApiKeyValue},
        events::{Actor, EventType, NewEvent},
        portal::session::PortalSessionKind,
    },
    service::{
        Error, Services,
        credentials::{
            error::AuthError,
            request_context::RequestContext,
            session::{VerifiedSession, parse_session_token, verify_session},
        },
        portal::{SessionFactory, creation_event},
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
/// of the code yields `AuthError::Credential`.
pub async fn sign_in(
    services: &Services,
    code: &str,
    replaced: Option<&str>,
    call: &RequestContext,
) -> Result<SignedIn, AuthError> {
    let VerifiedSession { id: code, user, grantable_permissions } =
        verify_session(services, code, PortalSessionKind::Code, call.source).await?;
    let (factory, lasts) = (SessionFactory::of(services), services.settings.portal.session_ttl);
    let origin = call.origin(Actor::PortalSession(code.clone()), user.owner_scope.user().cloned());
    let cookie = services
        .store
        .run_transaction(origin, move |tx| {
            // Of two concurrent requests with the same code, only one deletes it.
            if !store::portal::sessions::delete(tx, &code)? {
                return Ok(Outcome::without_event(None, NoEvent::Unchanged));
            }
            let (cookie, session) =
                factory.create(tx, PortalSessionKind::Page, user.owner_scope, grantable_permissions)?;
            Ok::<_, Error>(Outcome::event(Some(cookie), creation_event(&session)))
        })
        .await?;
    let cookie = cookie.ok_or(CredentialError::Unknown)?;
    if let Some(replaced) = replaced {
        // If this fails, the replaced session expires by itself soon.
        let _ = sign_out(services, replaced, call).await;
    }
    Ok(SignedIn { cookie, lasts })
}

/// Ends a page session. A value that is not a valid page session is ignored.
pub async fn sign_out(services: &Services, cookie: &str, call: &RequestContext) -> Result<(), AuthError> {
    if parse_session_token(cookie).is_none() {
        return Ok(());
    }
    let VerifiedSession { id, user, .. } =
        match verify_session(services, cookie, PortalSessionKind::Page, call.source).await {
            // The session is no longer valid.
            Err(AuthError::Credential(_)) => return Ok(()),
            session => session?,
        };
    let origin = call.origin(Actor::PortalSession(id.clone()), user.owner_scope.user().cloned());
    services
        .store
        .run_transaction(origin, move |tx| {
            let ended = store::portal::sessions::delete(tx, &id)?.then(|| {
                NewEvent::new(EventType::PortalSessionEnded, &id).with_organization(user.owner_scope.organization())
            });
            Ok(Outcome::events_unless(NoEvent::Unchanged, (), ended.into_iter().collect()))
        })
        .await
}
