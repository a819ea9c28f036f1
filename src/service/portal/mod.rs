//! Portal sessions: short-lived access of a user's browser to `/v1`, with the permissions of the
//! user's roles. These are read on every call and not stored in the session, so blocking, demoting
//! or deleting the user takes effect on the next call.

pub mod branding;
pub mod console;
pub mod current;
pub mod key_statistics;
pub mod page;

use zeroize::Zeroizing;

use crate::{
    crypto::{credential, encryption::SecretKind, master_keys::MasterKeys},
    domain::{
        access::{owner::OwnerScope, policy::GrantablePermissions},
        common::{
            derived_id::{CredentialId, PortalSessionId},
            id::{OrganizationId, UserId},
            time::{Span, Timestamp},
        },
        credentials::format::{ApiKeyValue, Prefix, Secret},
        events::{EventType, NewEvent},
        portal::session::{PortalSession, PortalSessionKind},
    },
    service::{
        Error, Services,
        access::owners::{self, DirectoryEntry},
        caller::Caller,
    },
    store::{self, Outcome, Tx, portal::sessions::StoredPortalSession},
};

/// A new session, for the only response that contains its token.
#[derive(Debug)]
pub struct OpenedSession {
    pub token: ApiKeyValue,
    pub expires_at: Timestamp,
    /// The URL of the hosted page, for the user's browser. It contains a single-use code that the
    /// browser exchanges for a session of its own.
    pub url: Zeroizing<String>,
}

/// Lifetime of a code: a browser follows the URL at once (invariant 6).
const SIGN_IN_CODE_TTL: Span = Span::from_secs(60);

/// Opens a session for a user, optionally within an organization: a token for a page of the
/// product, and a code for the hosted page.
pub async fn open(
    services: &Services,
    caller: &Caller,
    user: UserId,
    organization: Option<OrganizationId>,
) -> Result<OpenedSession, Error> {
    if !caller.authority.may_act_on_behalf_of_users() {
        return Err(Error::Forbidden("keyswap:keys"));
    }
    let (factory, grantable) = (SessionFactory::of(services), caller.holdings.clone());
    let base =
        services.settings.portal.public_url.as_ref().map_or_else(|| services.issuer().to_owned(), ToString::to_string);
    services
        .change(caller, move |tx, _| {
            let owner_scope = lock_user_entry(tx, &user, organization.as_ref())?.owner_scope;
            let (token, session) =
                factory.create(tx, PortalSessionKind::Token, owner_scope.clone(), grantable.clone())?;
            let (code, code_session) = factory.create(tx, PortalSessionKind::Code, owner_scope, grantable)?;
            let page = if organization.is_some() { "organization-keys" } else { "user-keys" };
            // In the fragment, which browsers do not send to servers or proxies, nor in `Referer`.
            let url = Zeroizing::new(format!("{base}/portal/{page}#code={}", code.expose()));
            // The event of the sign-in names the code by its id; this links the two.
            let event = creation_event(&session).with_data("code", code_session.id.as_str());
            Ok(Outcome::event(OpenedSession { token, expires_at: session.expires_at, url }, event))
        })
        .await
}

fn creation_event(session: &PortalSession) -> NewEvent {
    let user = session.owner_scope.user().map_or("", UserId::as_str);
    NewEvent::new(EventType::PortalSessionCreated, &session.id)
        .with_organization(session.owner_scope.organization())
        .with_data("user", user)
        .with_data("kind", session.kind.as_str())
}

/// The dependencies of session creation.
struct SessionFactory {
    master: MasterKeys,
    ttl: Span,
}

impl SessionFactory {
    fn of(services: &Services) -> Self {
        Self { master: services.master_keys.clone(), ttl: services.settings.portal.session_ttl }
    }

    fn create(
        &self,
        tx: &mut Tx<'_>,
        kind: PortalSessionKind,
        owner_scope: OwnerScope,
        grantable_permissions: GrantablePermissions,
    ) -> Result<(ApiKeyValue, PortalSession), Error> {
        let id = CredentialId::generate(tx.entropy())?;
        let secret = Secret::generate(tx.entropy())?;
        let value = ApiKeyValue::format(&Prefix::portal_session(), &id, &secret);
        let encrypted = credential::encrypt(&self.master, SecretKind::PortalSession, &id, &secret, tx.entropy())?;
        let ttl = if kind == PortalSessionKind::Code { SIGN_IN_CODE_TTL } else { self.ttl };
        let session = PortalSession {
            id: PortalSessionId::from(&id),
            kind,
            owner_scope,
            created_at: tx.now(),
            created_by: tx.creator(),
            expires_at: tx.now().plus(ttl),
            grantable_permissions,
        };
        let stored = StoredPortalSession {
            session: session.clone(),
            encrypted_secret: encrypted.bytes,
            master_version: encrypted.master_version,
        };
        store::portal::sessions::insert(tx, &stored)?;
        Ok((value, session))
    }
}

/// Resolves the user and locks its rows. The user can be neither deleted nor blocked until the
/// transaction ends.
fn lock_user_entry(
    tx: &mut Tx<'_>,
    user: &UserId,
    organization: Option<&OrganizationId>,
) -> Result<DirectoryEntry, Error> {
    if let Some(organization) = organization {
        store::directory::organizations::find_for_change(tx, organization)?;
    }
    if store::directory::users::find_for_change(tx, user)?.is_none() {
        return Err(Error::invalid("user_id", "there is no such user"));
    }
    match owners::find_user(tx, user, organization)? {
        None => Err(Error::invalid("organization_id", "the user is not a member of this organization")),
        Some(entry) if entry.blocked => Err(Error::invalid("user_id", "the user is blocked: unblock them first")),
        Some(entry) => Ok(entry),
    }
}
