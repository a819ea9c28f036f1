//! Sessions of hosted pages: a code is spent for one, once, and one that is signed out of is gone.

use crate::{
    domain::{
        api_key_value::ApiKeyValue,
        event::{Actor, EventKind, NewEvent},
        portal_session::SessionKind,
        time::Span,
    },
    service::{App, caller::Call, proof::Denied},
    store::{self, Outcome},
};

use super::{Mint, Proved, made, prove, token};

/// A session, for the one answer that sets its cookie.
#[derive(Debug)]
pub struct SignedIn {
    pub cookie: ApiKeyValue,
    pub lasts: Span,
}

/// Spends a code for a session of the page that shows it, in place of the one it had.
///
/// # Errors
/// `Denied::Key` for every fault of the code; too many failures; the database is away.
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
            // Of two that spend it at once, one finds it.
            if !store::portal_sessions::delete(tx, &code)? {
                return Ok(Outcome::bookkeeping(None));
            }
            let (cookie, session) = mint.make::<Denied>(tx, SessionKind::Page, place.home, held)?;
            Ok::<_, Denied>(Outcome::event(Some(cookie), made(&session)))
        })
        .await?;
    let cookie = cookie.ok_or(Denied::Key)?;
    if let Some(replaced) = replaced {
        // It ends by itself soon, where this fails.
        let _ = sign_out(app, replaced, call).await;
    }
    Ok(SignedIn { cookie, lasts })
}

/// Ends the session of a page, where it is one.
///
/// # Errors
/// Too many failures; the database is away.
pub async fn sign_out(app: &App, cookie: &str, call: &Call) -> Result<(), Denied> {
    let Some(shown) = token(cookie) else { return Ok(()) };
    let Proved { session, place, .. } = match prove(app, &shown, SessionKind::Page, call.source).await {
        // It has ended by itself.
        Err(Denied::Key) => return Ok(()),
        proved => proved?,
    };
    let origin = call.origin(Actor::PortalSession(session.clone()), place.home.user().cloned());
    app.store
        .change(origin, move |tx| {
            if !store::portal_sessions::delete(tx, &session)? {
                return Ok(Outcome::bookkeeping(()));
            }
            let ended = NewEvent::new(EventKind::PortalSessionEnded, &session);
            Ok::<_, Denied>(Outcome::event((), ended.within(place.home.organization())))
        })
        .await?;
    Ok(())
}
