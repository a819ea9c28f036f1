//! Console sessions. The key of an operator is exchanged for a token for the management audience,
//! which the browser stores in a cookie. The session is an ordinary token: it ends when the token
//! expires, when its key is no longer in force, or when the token is revoked.

use crate::{
    crypto::token::Token,
    domain::{
        access::{
            permission::MANAGE,
            policy::{ADMIN, CallerPermissions, ReadOwnIdentity, TenantScope},
        },
        common::time::Span,
        events::{Actor, EventType, NewEvent},
        exchange::{
            grant,
            key_context::Limits,
            refusal::{DenyReason, ScopeError},
        },
    },
    service::{
        Services,
        credentials::{
            client::management_exchange_request, error::AuthError, request_context::RequestContext,
            verify::PresentedCredential,
        },
        exchange::{IssuedToken, issue_token},
        introspection::revoke,
    },
    store::Outcome,
    telemetry::labels::RequestForm,
};

/// The permissions that an error names if a key has no management permission.
pub const REQUIRED_PERMISSIONS: [&str; 2] = [ADMIN, MANAGE];

/// A session, for the one response that sets its cookie.
#[derive(Debug)]
pub struct SignedIn {
    pub token: Token,
    pub lasts: Span,
}

/// Exchanges a key for a session. Returns `None` if the key is valid but has no management
/// permission, and `AuthError::Credential` for every fault of the key.
pub async fn sign_in(services: &Services, key: &str, call: &RequestContext) -> Result<Option<SignedIn>, AuthError> {
    let request = management_exchange_request(services);
    let presented = PresentedCredential { value: key, source: call.source, form: Some(RequestForm::Management) };
    // With the default lifetime operators would have to sign in again every ten minutes. Revocation
    // takes effect immediately regardless of the lifetime.
    let limits = Limits { default_ttl: services.settings.limits.max_ttl, ..services.settings.limits.clone() };
    let issued = issue_token(services, presented, &request, |context| {
        let grant = grant::decide(context, &request, &limits)?;
        let tenant_scope = TenantScope::of(&context.key.ownership.owner_scope);
        let authority = CallerPermissions { scope: tenant_scope.restrict(&grant.scope), tenant_scope };
        // The console page begins with this action.
        if authority.allows::<ReadOwnIdentity>() {
            Ok(grant)
        } else {
            Err(DenyReason::Scope(ScopeError::Empty(Vec::new())))
        }
    });
    let IssuedToken { token, grant, jti, .. } = match issued.await {
        Ok(issued) => issued,
        Err(AuthError::Scope(_) | AuthError::Target(_) | AuthError::Lifetime(_)) => return Ok(None),
        Err(denied) => return Err(denied),
    };
    let lasts = Span::from_secs(grant.expires_in().unsigned_abs());
    services
        .store
        .run_transaction(call.origin(Actor::Key(grant.key.clone()), None), move |_| {
            let created = NewEvent::new(EventType::ConsoleSessionCreated, &jti);
            Ok::<_, AuthError>(Outcome::event((), created.with_data("api_key", grant.key.as_str())))
        })
        .await?;
    Ok(Some(SignedIn { token, lasts }))
}

/// Revokes a session, also while its key is suspended. A session that has ended is ignored.
pub async fn sign_out(services: &Services, session: &str, call: &RequestContext) -> Result<(), AuthError> {
    match revoke::revoke_held_token(services, session, call).await {
        Err(AuthError::Credential(_)) => Ok(()),
        revoked => revoked,
    }
}
