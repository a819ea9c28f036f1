//! Console sessions. The key of an operator is exchanged for a token for the management audience,
//! which the browser stores in a cookie. The session is an ordinary token: it ends when the token
//! expires, when its key is no longer in force, or when the token is revoked.

use crate::{
    crypto::token::Token,
    domain::{
        access::{
            permission::MANAGE,
            policy::{ADMIN, Authority, KnowOneself, Place},
        },
        common::time::Span,
        events::{Actor, EventKind, NewEvent},
        exchange::{
            facts::Limits,
            grant,
            refusal::{Refusal, ScopeFault},
        },
    },
    service::{
        App,
        credentials::{
            caller::{self, Call},
            error::Denied,
            verify::Attempt,
        },
        exchange::{Issued, issue},
        introspection::revoke::{self, NotRevoked},
    },
    store::Outcome,
    telemetry::labels::Form,
};

/// The permissions that an error names if a key has no management permission.
pub const NEEDED: [&str; 2] = [ADMIN, MANAGE];

/// A session, for the one response that sets its cookie.
#[derive(Debug)]
pub struct SignedIn {
    pub token: Token,
    pub lasts: Span,
}

/// Exchanges a key for a session. Returns `None` if the key is valid but has no management
/// permission, and `Denied::Key` for every fault of the key.
pub async fn sign_in(app: &App, key: &str, call: &Call) -> Result<Option<SignedIn>, Denied> {
    let request = caller::management_request(app);
    let attempt = Attempt { key, source: call.source, form: Form::Management };
    // With the default lifetime operators would have to sign in again every ten minutes. Revocation
    // takes effect immediately regardless of the lifetime.
    let limits = Limits { default_ttl: app.settings.limits.max_ttl, ..app.settings.limits.clone() };
    let issued = issue(app, attempt, &request, |facts| {
        let grant = grant::decide(facts, &request, &limits)?;
        let authority = Authority { scope: grant.scope.clone(), place: Place::of(&facts.key.ownership.home) };
        let nothing = || Refusal::Scope(ScopeFault::NothingLeft(Vec::new()));
        // The console page begins with this action.
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

/// Revokes a session. A session that is no longer valid is ignored.
pub async fn sign_out(app: &App, session: &str, call: &Call) -> Result<(), NotRevoked> {
    let caller = match caller::of_console(app, session, call).await {
        // The session has already ended.
        Err(Denied::Key) => return Ok(()),
        caller => caller?,
    };
    revoke::revoke(app, &caller, session).await
}
