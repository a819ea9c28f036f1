//! Sessions of the console: an operator's key is swapped at once for a token for the management audience, which the browser keeps in a cookie. So
//! a session is no more than any such token: it ends with its time, with its key, and by name.

use crate::{
    crypto::token::Token,
    domain::{
        event::{Actor, EventKind, NewEvent},
        grant::{self, Limits, Refusal, ScopeFault},
        policy::{ADMIN, Authority, KnowOneself, MANAGE, Place},
        time::Span,
    },
    store::Outcome,
    telemetry::metrics::Form,
};

use super::{
    App,
    caller::{self, Call},
    exchange::{Issued, issue},
    proof::{Attempt, Denied},
    revocation::{self, NotRevoked},
};

/// Who holds neither these nor another permission that governs Keyswap has nothing to do there.
pub const NEEDED: [&str; 2] = [ADMIN, MANAGE];

/// A session, for the one answer that sets its cookie.
#[derive(Debug)]
pub struct SignedIn {
    pub token: Token,
    pub lasts: Span,
}

/// Swaps a key for a session; nothing where the key governs nothing.
///
/// # Errors
/// `Denied::Key` for every fault of the key; too many failures; the database is away.
pub async fn sign_in(app: &App, key: &str, call: &Call) -> Result<Option<SignedIn>, Denied> {
    let request = caller::management_request(app);
    let attempt = Attempt { key, source: call.source, form: Form::Management };
    // Nobody wants to enter anew every ten minutes, and what is revoked is refused at once all the same.
    let limits = Limits { default_ttl: app.settings.limits.max_ttl, ..app.settings.limits.clone() };
    let issued = issue(app, attempt, &request, |facts| {
        let grant = grant::decide(facts, &request, &limits)?;
        let authority = Authority { scope: grant.scope.clone(), place: Place::of(&facts.key.ownership.home) };
        let nothing = || Refusal::Scope(ScopeFault::NothingLeft(Vec::new()));
        // The first thing that the page asks.
        if authority.allows::<KnowOneself>() { Ok(grant) } else { Err(nothing()) }
    });
    let Issued { token, jti, key, expires_in, .. } = match issued.await {
        Ok(issued) => issued,
        Err(Denied::Scope(_) | Denied::Target(_)) => return Ok(None),
        Err(denied) => return Err(denied),
    };
    app.store
        .change(call.origin(Actor::Key(key.clone()), None), move |_| {
            let created = NewEvent::new(EventKind::ConsoleSessionCreated, &jti);
            Ok::<_, Denied>(Outcome::event((), created.with("api_key", key.as_str())))
        })
        .await?;
    Ok(Some(SignedIn { token, lasts: Span::from_secs(expires_in.unsigned_abs()) }))
}

/// Ends a session, where it is one.
///
/// # Errors
/// The database is away; too many failures.
pub async fn sign_out(app: &App, session: &str, call: &Call) -> Result<(), NotRevoked> {
    let caller = match caller::of_console(app, session, call).await {
        // It has ended by itself.
        Err(Denied::Key) => return Ok(()),
        caller => caller?,
    };
    revocation::revoke(app, &caller, session).await
}
