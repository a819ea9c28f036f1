//! Portal sessions: short-lived access of a user's browser to `/v1`, with the permissions of the
//! user's roles. The user and the key that opened the session are read on every call, so blocking,
//! demoting or deleting the user, and revoking the key, take effect on the next call.

pub mod branding;
pub mod console;
pub mod current;
pub mod key_statistics;
pub mod page;

use zeroize::Zeroizing;

use crate::{
    crypto::{credential, master_keys::MasterKeys},
    domain::{
        access::{owner::OwnerScope, policy::SESSIONS},
        common::{
            derived_id::{CredentialId, PortalSessionId},
            encryption::RowCipher as _,
            id::{KeyId, OrganizationId, UserId},
            page::{Page, PageRequest},
            time::{Span, Timestamp},
        },
        credentials::format::{ApiKeyValue, Prefix, Secret},
        events::{EventType, NewEvent},
        portal::session::{PortalSession, PortalSessionFilter, PortalSessionKind},
    },
    service::{
        Error, Services,
        access::owners::{self, DirectoryEntry},
        caller::Caller,
        common::idempotency::{self, IdempotencyRequest, IdempotentOutcome},
        credentials::session_end,
    },
    store::{self, Conn, NoEvent, Outcome, Tx, portal::sessions::StoredPortalSession},
};

/// A new session, for the only response that contains its token.
#[derive(Debug)]
pub struct OpenedSession {
    pub id: PortalSessionId,
    pub token: ApiKeyValue,
    pub expires_at: Timestamp,
    /// The URL of the hosted page, for the user's browser. It contains a single-use code that the
    /// browser exchanges for a session of its own.
    pub url: Zeroizing<String>,
}

/// Lifetime of a code: a browser follows the URL at once (invariant 6).
const SIGN_IN_CODE_TTL: Span = Span::from_secs(60);

/// Opens a session for a user, optionally within an organization: a token for a page of the
/// product, and a code for the hosted page. If the user has as many sessions as permitted, the
/// oldest ends.
pub async fn open(
    services: &Services,
    caller: &Caller,
    user: UserId,
    organization: Option<OrganizationId>,
    once: Option<IdempotencyRequest>,
) -> Result<IdempotentOutcome<OpenedSession, PortalSession>, Error> {
    let opener = caller.origin.actor.source_key().filter(|_| caller.authority.may_manage_portal_sessions());
    let opened_by = opener.ok_or(Error::Forbidden(SESSIONS))?.clone();
    let (factory, max_sessions) = (SessionFactory::of(services), services.live.load().quotas.sessions_per_user);
    let base =
        services.settings.portal.public_url.as_ref().map_or_else(|| services.issuer().to_owned(), ToString::to_string);
    services
        .change(caller, move |tx, _| {
            if let Some(id) = idempotency::earlier(tx, once.as_ref())? {
                let (found, now) = (store::portal::sessions::find(tx, &id.parse()?)?, tx.now());
                let session = found.map(|stored| stored.session).filter(|session| now < session.expires_at);
                let existing = IdempotentOutcome::Existing(session.ok_or(Error::NotFound("portal session"))?);
                return Ok(Outcome::without_event(existing, NoEvent::AlreadyRecorded));
            }
            let owner_scope = lock_user_entry(tx, &user, organization.as_ref())?.owner_scope;
            let mut events = session_end::end_oldest(tx, &owner_scope, max_sessions)?;
            let source = SessionSource { owner_scope, opened_by, parent_id: None };
            let (token, session) = factory.create(tx, PortalSessionKind::Token, source.clone())?;
            let source = SessionSource { parent_id: Some(session.id.clone()), ..source };
            let (code, code_session) = factory.create(tx, PortalSessionKind::Code, source)?;
            let page = if organization.is_some() { "organization-keys" } else { "user-keys" };
            // In the fragment, which browsers do not send to servers or proxies, nor in `Referer`.
            let url = Zeroizing::new(format!("{base}/portal/{page}#code={}", code.expose()));
            // The event of the sign-in names the code by its id; this links the two.
            events.push(creation_event(&session).with_data("code", code_session.id.as_str()));
            idempotency::record_object(tx, once.as_ref(), session.id.as_str())?;
            let opened = OpenedSession { id: session.id, token, expires_at: session.expires_at, url };
            Ok(Outcome::events(IdempotentOutcome::New(opened), events))
        })
        .await
}

fn creation_event(session: &PortalSession) -> NewEvent {
    let user = session.owner_scope.user().map_or("", UserId::as_str);
    NewEvent::new(EventType::PortalSessionCreated, &session.id)
        .with_organization(session.owner_scope.organization())
        .with_data("user", user)
        .with_data("kind", session.kind.as_str())
        .with_data("opened_by", session.opened_by.as_str())
}

/// Lists the sessions that match `filter` and have not expired, with unspent codes.
pub async fn list(
    services: &Services,
    caller: &Caller,
    filter: PortalSessionFilter,
    page: PageRequest,
) -> Result<Page<PortalSession>, Error> {
    if !caller.authority.may_manage_portal_sessions() {
        return Err(Error::Forbidden(SESSIONS));
    }
    let read = move |connection: &mut Conn, now| store::portal::sessions::list(connection, &filter, &page, now);
    Ok(services.store.read_at(read).await?)
}

/// What a new session depends on.
#[derive(Debug, Clone)]
struct SessionSource {
    owner_scope: OwnerScope,
    opened_by: KeyId,
    parent_id: Option<PortalSessionId>,
}

/// The dependencies of session creation.
#[derive(Clone)]
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
        source: SessionSource,
    ) -> Result<(ApiKeyValue, PortalSession), Error> {
        let id = CredentialId::generate(tx.entropy())?;
        let secret = Secret::generate(tx.entropy())?;
        let value = ApiKeyValue::format(&Prefix::portal_session(), &id, &secret);
        let ttl = if kind == PortalSessionKind::Code { SIGN_IN_CODE_TTL } else { self.ttl };
        let session = PortalSession {
            id: PortalSessionId::from(&id),
            kind,
            parent_id: source.parent_id,
            owner_scope: source.owner_scope,
            opened_by: source.opened_by,
            created_at: tx.now(),
            expires_at: tx.now().plus(ttl),
        };
        let digest = credential::hash_secret(&id, &secret);
        let encrypted = self.master.encrypt(&session.encode(), digest.expose(), tx.entropy())?;
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
        Some(entry) if entry.blocked => {
            Err(Error::invalid("user_id", "the user is blocked or locked: unblock or unlock them first"))
        }
        Some(entry) => Ok(entry),
    }
}
