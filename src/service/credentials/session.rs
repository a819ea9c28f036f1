//! Verification of portal sessions, with the current directory entry of their user.

use crate::{
    crypto::{
        credential,
        encryption::{Encrypted, SecretKind},
    },
    domain::{
        access::policy::GrantablePermissions,
        common::derived_id::PortalSessionId,
        credentials::{
            error::CredentialError,
            format::{Prefix, PresentedKey},
        },
        portal::session::{PortalSession, PortalSessionKind},
    },
    service::{
        Services,
        access::owners::{self, DirectoryEntry},
        credentials::{
            brute_force::Source,
            error::AuthError,
            verify::{PresentedCredential, verify},
        },
    },
    store::{
        StoreError,
        portal::sessions::{self, StoredPortalSession},
    },
    telemetry::labels::RequestForm,
};

/// Parses a credential as the token of a portal session; `None` for any other credential.
pub(crate) fn parse_session_token(credential: &str) -> Option<PresentedKey> {
    PresentedKey::parse(credential).ok().filter(|token| token.prefix == Prefix::portal_session())
}

/// A verified session.
#[derive(Debug)]
pub(crate) struct VerifiedSession {
    pub id: PortalSessionId,
    /// The current directory entry of its user.
    pub user: DirectoryEntry,
    /// The permissions that the opener of the session may grant.
    pub grantable_permissions: GrantablePermissions,
}

/// Verifies a session of the given kind. Every fault yields `AuthError::Credential`, including a
/// session of another kind.
pub(crate) async fn verify_session(
    services: &Services,
    token: &str,
    kind: PortalSessionKind,
    source: Source,
) -> Result<VerifiedSession, AuthError> {
    let presented = PresentedCredential { value: token, source, form: Some(RequestForm::Management) };
    let parse = |text: &str| {
        let token = parse_session_token(text)?;
        let id = token.credential_id;
        Some((token, Some(id)))
    };
    verify(services, presented, parse, async |token: PresentedKey| {
        let id = PortalSessionId::from(&token.credential_id);
        let found = services.store.read_at(move |connection, now| {
            let Some(stored) = sessions::find(connection, &id)? else { return Ok::<_, StoreError>(None) };
            let owner_scope = &stored.session.owner_scope;
            let user = match owner_scope.user() {
                Some(user) => owners::find_user(connection, user, owner_scope.organization())?,
                None => None,
            };
            Ok(Some((stored, user, now)))
        });
        let Some((stored, user, now)) = found.await? else {
            let decoy = &services.decoy;
            credential::verify(&decoy.master, SecretKind::Credential, &decoy.id, &decoy.encrypted, &token)?;
            return Err(CredentialError::Unknown.into());
        };
        let StoredPortalSession { session, encrypted_secret, master_version } = stored;
        let encrypted = Encrypted { master_version, bytes: encrypted_secret };
        let (master_keys, id) = (&services.master_keys, &token.credential_id);
        let is_correct = credential::verify(master_keys, SecretKind::PortalSession, id, &encrypted, &token)?;
        // A user that was deleted and created again has another generation id, and the session does
        // not belong to it.
        Err(AuthError::Credential(match user.filter(|user| user.owner_scope == session.owner_scope) {
            _ if !is_correct => CredentialError::SecretMismatch,
            _ if session.kind != kind => CredentialError::Unknown,
            _ if session.expires_at <= now => CredentialError::Expired,
            None => CredentialError::OwnerDeleted,
            Some(user) if user.blocked => CredentialError::OwnerBlocked,
            Some(user) => {
                let PortalSession { id, grantable_permissions, .. } = session;
                return Ok(VerifiedSession { id, user, grantable_permissions });
            }
        }))
    })
    .await
}
