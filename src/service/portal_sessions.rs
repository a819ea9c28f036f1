//! Portal sessions: a user's own browser calls `/v1` for a short while, with what their roles let them do. Nothing of it is kept
//! in the session: a user who is blocked, demoted or gone is so at the next call.

use tokio::time::Instant;

use crate::{
    crypto::{credential, seal::Sealed},
    domain::{
        api_key::OwnerType,
        api_key_value::{ApiKeyValue, Prefix, PresentedKey, Secret},
        event::{EventKind, NewEvent},
        grant::KeyFault,
        id::{CredentialId, OrganizationId, PortalSessionId, UserId},
        page::PageRequest,
        permission::{AssignableTo, Permission},
        policy::{Holdings, Rights},
        portal_session::PortalSession,
        standing::Home,
        time::{Span, Timestamp},
    },
    store::{self, Conn, Outcome, StoreError, Tx, portal_sessions::StoredPortalSession},
    telemetry::metrics::{Form, Result as Judged},
};

use super::{
    App, Error,
    caller::Caller,
    guessing::{Source, Throttled},
    places::{self, PlaceNow},
    proof::{Denied, outcome_of, refused, require_trusted, wait_for_tick},
};

/// A session, for the one answer that shows its token.
#[derive(Debug)]
pub struct Opened {
    pub token: ApiKeyValue,
    pub expires_at: Timestamp,
}

/// Opens a session for a user, within an organization or not.
///
/// # Errors
/// The caller may not speak for users; or there is no such user there, or they are blocked.
pub async fn open(
    app: &App,
    caller: &Caller,
    user: UserId,
    organization: Option<OrganizationId>,
) -> Result<Opened, Error> {
    if !caller.authority.may_act_for_users() {
        return Err(Error::Forbidden("keyswap:keys"));
    }
    let (master, entropy, ttl) = (app.master.clone(), app.entropy.clone(), app.settings.session_ttl);
    let held = caller.holdings.clone();
    app.store
        .change(caller.origin.clone(), move |tx| {
            let place = place(tx, &user, organization.as_ref())?;
            let id = CredentialId::generate(&entropy)?;
            let secret = Secret::generate(&entropy)?;
            let token = ApiKeyValue::format(&Prefix::portal_session(), &id, &secret);
            let sealed = credential::seal_session(&master, &id, &secret, &entropy)?;
            let session = PortalSession {
                id: PortalSessionId::from(&id),
                home: place.home,
                created_at: tx.now(),
                created_by: tx.author(),
                expires_at: tx.now().after(ttl),
                held,
            };
            let opened = Opened { token, expires_at: session.expires_at };
            let event = NewEvent::new(EventKind::PortalSessionCreated, &session.id)
                .within(session.home.organization())
                .with("user", user.as_str());
            let stored = StoredPortalSession { session, sealed: sealed.bytes, master_version: sealed.master_version };
            store::portal_sessions::insert(tx, &stored)?;
            Ok(Outcome::event(opened, event))
        })
        .await
}

/// What a user's own page needs to know of them.
#[derive(Debug)]
pub struct Current {
    pub user: UserId,
    pub organization: Option<OrganizationId>,
    pub of_user: Kind,
    pub of_organization: Option<Kind>,
    pub max_lifetime: Option<Span>,
}

/// Keys of one kind of owner: what the user may do with them, and give to a new one.
#[derive(Debug, Default)]
pub struct Kind {
    pub rights: Rights,
    pub permissions: Vec<Permission>,
}

/// More permissions than these no page offers.
const OFFERED: i64 = 1000;

/// Who is at the page, and what they can do there.
///
/// # Errors
/// Nobody acts for a user here.
pub async fn current(app: &App, caller: &Caller) -> Result<Current, Error> {
    let nobody =
        || Error::invalid("Authorization", "is no user's: open a portal session, or name one in Keyswap-On-Behalf-Of");
    let home = caller.acts_as.clone().ok_or_else(nobody)?;
    let (user, organization) = (home.user().cloned().ok_or_else(nobody)?, home.organization().cloned());
    let (enabled, authority, holdings) =
        (app.settings.owner_types.clone(), caller.authority.clone(), caller.holdings.clone());
    let of = organization.clone();
    let (of_user, of_organization) = app
        .store
        .read(move |connection| {
            let kind = |connection: &mut Conn, home: &Home, owner, to| -> Result<Kind, StoreError> {
                let rights = if enabled.contains(&owner) { authority.over(home) } else { Rights::default() };
                let page = PageRequest { limit: OFFERED, after: None };
                let mut permissions = store::permissions::list_assignable(connection, Some(to), &page)?.data;
                permissions.retain(|permission| rights.change && holdings.hold(&permission.name));
                Ok(Kind { rights, permissions })
            };
            let of_user = kind(connection, &home, OwnerType::User, AssignableTo::User)?;
            let Some(organization) = of else { return Ok((of_user, None)) };
            let Some(place) = places::of_organization(connection, &organization)? else { return Ok((of_user, None)) };
            let of_organization = kind(connection, &place.home, OwnerType::Organization, AssignableTo::Organization)?;
            Ok::<_, StoreError>((of_user, Some(of_organization)))
        })
        .await?;
    Ok(Current { user, organization, of_user, of_organization, max_lifetime: app.settings.max_key_lifetime })
}

/// Where the user stands: they can neither go nor be blocked until the change ends.
fn place(tx: &mut Tx<'_>, user: &UserId, organization: Option<&OrganizationId>) -> Result<PlaceNow, Error> {
    if let Some(organization) = organization {
        store::organizations::find_for_change(tx, organization)?;
    }
    if store::users::find_for_change(tx, user)?.is_none() {
        return Err(Error::invalid("user_id", "there is no such user"));
    }
    match places::of_user(tx, user, organization)? {
        None => Err(Error::invalid("organization_id", "the user is no member of such an organization")),
        Some(place) if place.blocked => Err(Error::invalid("user_id", "the user is blocked: unblock them first")),
        Some(place) => Ok(place),
    }
}

/// The token of a session, where that is what was shown.
pub(super) fn token(credential: &str) -> Option<PresentedKey> {
    let presented = PresentedKey::parse(credential).ok()?;
    (presented.prefix == Prefix::portal_session()).then_some(presented)
}

/// A session whose token was shown.
#[derive(Debug)]
pub(super) struct Proved {
    pub session: PortalSessionId,
    /// Where its user stands now.
    pub place: PlaceNow,
    /// What whoever opened it may hand out.
    pub held: Holdings,
}

/// The session whose token was shown, and where its user stands now.
///
/// # Errors
/// `Denied::Key` for every fault of the session; too many failures; the database is away.
pub(super) async fn prove(app: &App, token: &PresentedKey, source: Source) -> Result<Proved, Denied> {
    let started = Instant::now();
    let (outcome, result) = match proved(app, token, source, started).await {
        Ok(proved) => (Judged::Granted, Ok(proved)),
        Err((outcome, denied)) => (outcome, Err(denied)),
    };
    app.metrics.exchanged(Form::Management, outcome, started.elapsed());
    result
}

async fn proved(app: &App, token: &PresentedKey, source: Source, started: Instant) -> Result<Proved, (Judged, Denied)> {
    let throttled = |throttled: Throttled| (Judged::Throttled, Denied::Throttled(throttled.retry_after));
    require_trusted(app).map_err(|denied| (Judged::Unavailable, denied))?;
    app.guessing.admit_source(source).map_err(throttled)?;
    app.guessing.admit_credential(source, &token.credential).map_err(throttled)?;
    let id = PortalSessionId::from(&token.credential);
    let found = app
        .store
        .read(move |connection| {
            let now = store::now(connection)?;
            let Some(stored) = store::portal_sessions::find(connection, &id)? else { return Ok(None) };
            let home = &stored.session.home;
            let place = match home.user() {
                Some(user) => places::of_user(connection, user, home.organization())?,
                None => None,
            };
            Ok::<_, StoreError>(Some(Found { stored, place, now }))
        })
        .await;
    let verdict = found.map_err(Denied::from).and_then(|found| verdict(app, token, found));
    match verdict.map_err(|denied| (outcome_of(&denied), denied))? {
        Ok(proved) => Ok(proved),
        Err(fault) => {
            app.guessing.failed(source, Some(&token.credential));
            wait_for_tick(started).await;
            Err(refused(Form::Management, Some(&token.credential), fault))
        }
    }
}

/// A session as it is found, and its user as they are now.
struct Found {
    stored: StoredPortalSession,
    place: Option<PlaceNow>,
    now: Timestamp,
}

fn verdict(app: &App, token: &PresentedKey, found: Option<Found>) -> Result<Result<Proved, KeyFault>, Denied> {
    let Some(Found { stored, place, now }) = found else {
        app.decoy.compare(token)?;
        return Ok(Err(KeyFault::Unknown));
    };
    let StoredPortalSession { session, sealed, master_version } = stored;
    let sealed = Sealed { master_version, bytes: sealed };
    if !credential::proves_session(&app.master, &token.credential, &sealed, token)? {
        return Ok(Err(KeyFault::Wrong));
    }
    if session.expires_at <= now {
        return Ok(Err(KeyFault::Expired));
    }
    // What was deleted and put again is another, and this session is not theirs.
    Ok(match place.filter(|place| place.home == session.home) {
        None => Err(KeyFault::OwnerGone),
        Some(place) if place.blocked => Err(KeyFault::OwnerBlocked),
        Some(place) => Ok(Proved { session: session.id, place, held: session.held }),
    })
}
