//! Authenticates portal sessions and loads the current directory entry of their user.

use tokio::time::Instant;

use crate::{
    crypto::{credential, encryption::Encrypted},
    domain::{
        access::policy::GrantablePermissions,
        common::{derived_id::PortalSessionId, time::Timestamp},
        credentials::{
            error::CredentialError,
            format::{Prefix, PresentedKey},
        },
        portal::session::PortalSessionKind,
    },
    service::{
        Services,
        access::owners::{self, DirectoryEntry},
        credentials::{
            brute_force::{Source, Throttled},
            error::AuthError,
            verify::{metric_result, refused, require_trusted, wait_for_deadline},
        },
    },
    store::{self, StoreError, portal::sessions::StoredPortalSession},
    telemetry::labels::{Form, Result as Judged},
};

/// Parses a credential as the token of a portal session; `None` for any other credential.
pub(crate) fn token(credential: &str) -> Option<PresentedKey> {
    let presented = PresentedKey::parse(credential).ok()?;
    (presented.prefix == Prefix::portal_session()).then_some(presented)
}

/// An authenticated session.
#[derive(Debug)]
pub(crate) struct AuthenticatedSession {
    pub session: PortalSessionId,
    /// The current directory entry of its user.
    pub place: DirectoryEntry,
    /// The permissions that the opener of the session may grant.
    pub held: GrantablePermissions,
}

/// Authenticates a session that was presented in the way of `kind`, and loads the current directory
/// entry of its user. Every fault of the session yields `AuthError::Key`, including a session of
/// another kind.
pub(crate) async fn authenticate_session(
    services: &Services,
    token: &PresentedKey,
    kind: PortalSessionKind,
    source: Source,
) -> Result<AuthenticatedSession, AuthError> {
    let started = Instant::now();
    let (outcome, result) = match authenticate_with_outcome(services, token, kind, source, started).await {
        Ok(proved) => (Judged::Granted, Ok(proved)),
        Err((outcome, denied)) => (outcome, Err(denied)),
    };
    services.metrics.record_exchange(Form::Management, outcome, started.elapsed());
    result
}

async fn authenticate_with_outcome(
    services: &Services,
    token: &PresentedKey,
    kind: PortalSessionKind,
    source: Source,
    started: Instant,
) -> Result<AuthenticatedSession, (Judged, AuthError)> {
    let throttled = |throttled: Throttled| (Judged::Throttled, AuthError::Throttled(throttled.retry_after));
    require_trusted(services).map_err(|denied| (Judged::Unavailable, denied))?;
    services.brute_force.admit_source(source).map_err(throttled)?;
    services.brute_force.admit_credential(source, &token.credential_id).map_err(throttled)?;
    let id = PortalSessionId::from(&token.credential_id);
    let found = services
        .store
        .read(move |connection| {
            let now = store::now(connection)?;
            let Some(stored) = store::portal::sessions::find(connection, &id)? else { return Ok(None) };
            let home = &stored.session.home;
            let place = match home.user() {
                Some(user) => owners::of_user(connection, user, home.organization())?,
                None => None,
            };
            Ok::<_, StoreError>(Some(SessionWithUser { stored, place, now }))
        })
        .await;
    let verdict = found.map_err(AuthError::from).and_then(|found| verdict(services, token, kind, found));
    match verdict.map_err(|denied| (metric_result(&denied), denied))? {
        Ok(proved) => Ok(proved),
        Err(fault) => {
            services.brute_force.failed(source, Some(&token.credential_id));
            wait_for_deadline(services, started).await;
            Err(refused(Form::Management, Some(&token.credential_id), fault))
        }
    }
}

/// A stored session with the current directory entry of its user.
struct SessionWithUser {
    stored: StoredPortalSession,
    place: Option<DirectoryEntry>,
    now: Timestamp,
}

fn verdict(
    services: &Services,
    token: &PresentedKey,
    kind: PortalSessionKind,
    found: Option<SessionWithUser>,
) -> Result<Result<AuthenticatedSession, CredentialError>, AuthError> {
    let Some(SessionWithUser { stored, place, now }) = found else {
        services.decoy.compare(token)?;
        return Ok(Err(CredentialError::Unknown));
    };
    let StoredPortalSession { session, encrypted_secret, master_version } = stored;
    let sealed = Encrypted { master_version, bytes: encrypted_secret };
    if !credential::verify_session_secret(&services.master, &token.credential_id, &sealed, token)? {
        return Ok(Err(CredentialError::SecretMismatch));
    }
    if session.kind != kind {
        return Ok(Err(CredentialError::Unknown));
    }
    if session.expires_at <= now {
        return Ok(Err(CredentialError::Expired));
    }
    // A user that was deleted and created again has another generation id, and the session does not
    // belong to it.
    Ok(match place.filter(|place| place.home == session.home) {
        None => Err(CredentialError::OwnerDeleted),
        Some(place) if place.blocked => Err(CredentialError::OwnerBlocked),
        Some(place) => Ok(AuthenticatedSession { session: session.id, place, held: session.grantable_permissions }),
    })
}
