//! Verification of portal sessions, with the current state of their user and of the key that opened
//! them.

use crate::{
    crypto::credential,
    domain::{
        access::policy::{CallerPermissions, TenantScope},
        common::{
            derived_id::{CredentialId, PortalSessionId},
            encryption::Encrypted,
            time::Timestamp,
        },
        credentials::{
            error::CredentialError,
            format::{Prefix, PresentedKey},
        },
        events::{Actor, Origin},
        exchange::key_context::KeyContext,
        portal::session::{PortalSession, PortalSessionKind},
    },
    service::{
        Services,
        access::owners::{self, DirectoryEntry},
        credentials::{
            authenticity::{authenticate, decrypt_row},
            brute_force::Source,
            client::{management_exchange_request, management_scope},
            error::AuthError,
            request_context::RequestContext,
            verify::{PresentedCredential, verify},
        },
    },
    store::{
        Conn, StoreError,
        credentials::key_context::{self, KeyRecord, KeySelector},
        portal::sessions::{self, StoredPortalSession},
    },
    telemetry::labels::{AuthenticatedTable, RequestForm},
};

/// Parses a credential as the token of a portal session; `None` for any other credential.
pub(crate) fn parse_session_token(credential: &str) -> Option<PresentedKey> {
    PresentedKey::parse(credential).ok().filter(|token| token.prefix == Prefix::portal_session())
}

/// A session that may be used now.
#[derive(Debug)]
pub(crate) struct VerifiedSession {
    pub session: PortalSession,
    /// The current directory entry of its user.
    pub user: DirectoryEntry,
}

/// Returns the origin of what is done in a session.
pub(crate) fn session_origin(session: &PortalSession, call: &RequestContext) -> Origin {
    let actor = Actor::PortalSession { id: session.id.clone(), opened_by: session.opened_by.clone() };
    call.origin(actor, session.owner_scope.user().cloned())
}

/// A session, and what it depends on.
struct StoredSession {
    stored: StoredPortalSession,
    user: Option<DirectoryEntry>,
    opener: Option<KeyRecord>,
    now: Timestamp,
}

/// Verifies a session of one of these kinds, with its user and its opener as they are now. Every
/// fault yields `AuthError::Credential`, including a session of another kind.
pub(crate) async fn verify_session(
    services: &Services,
    token: &str,
    kinds: &[PortalSessionKind],
    source: Source,
) -> Result<VerifiedSession, AuthError> {
    verify(services, presented(token, source), parse_with_id, async |token: PresentedKey| {
        let found = find_authentic(services, &token, kinds).await?;
        let opener = match found.opener.map(|record| authenticate(services, record)).transpose() {
            Err(AuthError::Credential(CredentialError::Altered)) => None,
            opener => opener?.map(|(context, _)| context),
        };
        let session = found.stored.session;
        // A user that was deleted and created again has another generation id, and the session does
        // not belong to it.
        Err(AuthError::Credential(match found.user.filter(|user| user.owner_scope == session.owner_scope) {
            _ if !may_open_sessions(services, opener.as_ref()) => CredentialError::OpenerNotAuthorized,
            None => CredentialError::OwnerDeleted,
            Some(user) if user.blocked => CredentialError::OwnerBlocked,
            Some(user) => return Ok(VerifiedSession { session, user }),
        }))
    })
    .await
}

/// Verifies the secret, the kind and the expiry of a session that is to be ended. Neither its user
/// nor its opener is considered, because a blocked user can be unblocked later.
pub(crate) async fn verify_session_to_end(
    services: &Services,
    token: &str,
    kinds: &[PortalSessionKind],
    source: Source,
) -> Result<PortalSession, AuthError> {
    verify(services, presented(token, source), parse_with_id, async |token: PresentedKey| {
        Ok(find_authentic(services, &token, kinds).await?.stored.session)
    })
    .await
}

const fn presented(token: &str, source: Source) -> PresentedCredential<'_> {
    PresentedCredential { value: token, source, form: Some(RequestForm::Management) }
}

fn parse_with_id(text: &str) -> Option<(PresentedKey, Option<CredentialId>)> {
    let token = parse_session_token(text)?;
    let id = token.credential_id;
    Some((token, Some(id)))
}

/// Finds a session of one of these kinds that has not expired, and verifies its secret.
async fn find_authentic(
    services: &Services,
    token: &PresentedKey,
    kinds: &[PortalSessionKind],
) -> Result<StoredSession, AuthError> {
    let Some(found) = find(services, PortalSessionId::from(&token.credential_id)).await? else {
        credential::is_correct(&services.decoy.decrypt()?, token);
        return Err(CredentialError::Unknown.into());
    };
    let StoredPortalSession { session, encrypted_secret, master_version } = &found.stored;
    let encrypted = Encrypted { master_version: *master_version, bytes: encrypted_secret.clone() };
    let (table, row) = (AuthenticatedTable::PortalSessions, session.encode());
    let digest = decrypt_row(services, table, session.id.as_str(), &row, &encrypted)?;
    if !credential::is_correct(&digest, token) {
        Err(CredentialError::SecretMismatch.into())
    } else if !kinds.contains(&session.kind) {
        Err(CredentialError::Unknown.into())
    } else if session.expires_at <= found.now {
        Err(CredentialError::Expired.into())
    } else {
        Ok(found)
    }
}

async fn find(services: &Services, id: PortalSessionId) -> Result<Option<StoredSession>, StoreError> {
    let targets = management_exchange_request(services).targets;
    let load = move |connection: &mut Conn, now| {
        let Some(stored) = sessions::find(connection, &id)? else { return Ok(None) };
        let owner_scope = &stored.session.owner_scope;
        let user = match owner_scope.user() {
            Some(user) => owners::find_user(connection, user, owner_scope.organization())?,
            None => None,
        };
        let opener = key_context::load(connection, &KeySelector::Key(stored.session.opened_by.clone()), &targets)?;
        Ok(Some(StoredSession { stored, user, opener, now }))
    };
    services.store.read_at(load).await
}

/// Returns whether the key that opened a session exists, is in force and may still open sessions.
/// Its credential does not matter: a rotation ends no session (invariant 13).
fn may_open_sessions(services: &Services, opener: Option<&KeyContext>) -> bool {
    let Some(context) = opener else { return false };
    let tenant_scope = TenantScope::of(&context.key.ownership.owner_scope);
    management_scope(context, &management_exchange_request(services), &services.settings.limits)
        .is_ok_and(|scope| CallerPermissions { scope, tenant_scope }.may_manage_portal_sessions())
}
