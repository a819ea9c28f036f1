//! Sessions of hosted pages. A code is exchanged once for a session, and signing out deletes the
//! session.

use crate::{
    domain::{
        common::time::Span,
        credentials::format::ApiKeyValue,
        events::{Actor, EventKind, NewEvent},
        portal::session::SessionKind,
    },
    service::{
        App,
        credentials::{caller::Call, error::Denied},
        portal::{Mint, Proved, made, prove, token},
    },
    store::{self, Outcome},
};

/// A new session, for the only response that sets its cookie.
#[derive(Debug)]
pub struct SignedIn {
    pub cookie: ApiKeyValue,
    pub lasts: Span,
}

/// Exchanges a code for a page session, which replaces the session `replaced`, if any. Every fault
/// of the code yields `Denied::Key`.
pub async fn sign_in(app: &App, code: &str, replaced: Option<&str>, call: &Call) -> Result<SignedIn, Denied> {
    let Some(shown) = token(code) else {
        app.guessing.failed(call.source, None);
        return Err(Denied::Key);
    };
    let Proved { session: code, place, held } = prove(app, &shown, SessionKind::Code, call.source).await?;
    let (mint, lasts) = (Mint::of(app), app.settings.session_ttl);
    let origin = call.origin(Actor::PortalSession(code.clone()), place.home.user().cloned());
    let cookie = app
        .store
        .change(origin, move |tx| {
            // Of two concurrent requests with the same code, only one deletes it.
            if !store::portal::sessions::delete(tx, &code)? {
                return Ok(Outcome::bookkeeping(None));
            }
            let (cookie, session) = mint.make::<Denied>(tx, SessionKind::Page, place.home, held)?;
            Ok::<_, Denied>(Outcome::event(Some(cookie), made(&session)))
        })
        .await?;
    let cookie = cookie.ok_or(Denied::Key)?;
    if let Some(replaced) = replaced {
        // If this fails, the replaced session expires by itself soon.
        let _ = sign_out(app, replaced, call).await;
    }
    Ok(SignedIn { cookie, lasts })
}

/// Ends a page session. A value that is not a valid page session is ignored.
pub async fn sign_out(app: &App, cookie: &str, call: &Call) -> Result<(), Denied> {
    let Some(shown) = token(cookie) else { return Ok(()) };
    let Proved { session, place, .. } = match prove(app, &shown, SessionKind::Page, call.source).await {
        // The session is no longer valid.
        Err(Denied::Key) => return Ok(()),
        proved => proved?,
    };
    let origin = call.origin(Actor::PortalSession(session.clone()), place.home.user().cloned());
    app.store
        .change(origin, move |tx| {
            if !store::portal::sessions::delete(tx, &session)? {
                return Ok(Outcome::bookkeeping(()));
            }
            let ended = NewEvent::new(EventKind::PortalSessionEnded, &session);
            Ok::<_, Denied>(Outcome::event((), ended.within(place.home.organization())))
        })
        .await?;
    Ok(())
}
