//! Who calls `/v1`: an API key, a token for the management audience, or a portal session. What it may do is for `domain::policy`.

use std::{net::IpAddr, str::FromStr};

use crate::{
    domain::{
        api_key::KeyLimits,
        audience::Identifier,
        event::{Actor, Origin},
        grant::{self, KeyFacts, Refusal, Request},
        id::{InvalidId, KeyId, OrganizationId, UserId},
        permission::{PermissionName, PermissionSet},
        policy::{ADMIN, Authority, Holdings, ORGANIZATION_MANAGEMENT, Place},
        portal_session::SessionKind,
        standing::Home,
    },
    telemetry::metrics::Form,
};

use super::{
    App,
    guessing::Source,
    places::{self, PlaceNow},
    portal_sessions::{self, Proved},
    proof::{Attempt, Denied, FACTS_ALONE, judge, require_trusted},
    tokens,
};

/// Someone who is known, and what they bring.
#[derive(Debug, Clone)]
pub struct Caller {
    pub origin: Origin,
    /// What they may do here, and where.
    pub authority: Authority,
    /// What they may hand out.
    pub holdings: Holdings,
    /// Those of the key that calls, where it stands inside a place: what it makes stays within them.
    pub limits: Option<KeyLimits>,
    /// The user they are or act for, in the incarnation they have now.
    pub acts_as: Option<Home>,
}

impl Caller {
    /// Someone with a shell on the server.
    pub fn cli() -> Self {
        Self::operator(Actor::Cli)
    }

    /// Keyswap itself.
    pub fn system() -> Self {
        Self::operator(Actor::System)
    }

    /// Whether they may end what belongs to `home`. Where its owner is gone, it is no one's inside an organization.
    pub(super) fn may_end(&self, home: &Home, gone: bool) -> bool {
        self.authority.over(home).end && (!gone || self.authority.place == Place::Everywhere)
    }

    fn operator(actor: Actor) -> Self {
        Self {
            origin: Origin::of(actor),
            authority: Authority { scope: ADMIN.parse().into_iter().collect(), place: Place::Everywhere },
            holdings: Holdings::WholeCatalog,
            limits: None,
            acts_as: None,
        }
    }
}

/// Someone who calls as OAuth's clients and resource servers do.
#[derive(Debug, Clone)]
pub struct Client {
    pub caller: Caller,
    /// As tokens of its key have it in `client_id`.
    pub id: String,
    /// Those that its key is for.
    pub audiences: Option<Vec<Identifier>>,
}

/// Where a call comes from.
#[derive(Debug, Clone)]
pub struct Call {
    pub source: Source,
    pub request_id: String,
    pub address: IpAddr,
}

impl Call {
    pub(super) fn origin(&self, actor: Actor, on_behalf_of: Option<UserId>) -> Origin {
        Origin {
            actor,
            on_behalf_of,
            request_id: Some(self.request_id.clone()),
            address: Some(self.address.to_string()),
        }
    }
}

/// For whom a back end calls: `Keyswap-On-Behalf-Of: <user>[; organization=<id>]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnBehalfOf {
    pub user: UserId,
    pub organization: Option<OrganizationId>,
}

impl FromStr for OnBehalfOf {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (user, organization) = match text.split_once(';') {
            None => (text, None),
            Some((user, rest)) => {
                // What is no organization is no id either, and refused as one.
                (user, Some(rest.trim().strip_prefix("organization=").unwrap_or_default().trim().parse()?))
            }
        };
        Ok(Self { user: user.trim().parse()?, organization })
    }
}

/// What a call of `/v1` shows. A portal session that is shown in one way is none in the other; one of the console is a token like any other,
/// and is one in a header too.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// An API key, a token, or a portal session's token.
    Header(&'a str),
    /// The session of a hosted page, which the browser sends by itself.
    Portal(&'a str),
    /// The session of the console, likewise.
    Console(&'a str),
}

/// Finds out who shows `credential`, and bounds them by the user they call for.
///
/// # Errors
/// `Denied::Key` when nobody does; `Denied::OnBehalfOf` when they may not speak for users, or not for this one.
pub async fn authenticate(
    app: &App,
    shown: Shown<'_>,
    on_behalf_of: Option<OnBehalfOf>,
    call: &Call,
) -> Result<Caller, Denied> {
    let origin = |actor, on_behalf_of| call.origin(actor, on_behalf_of);
    let (credential, kind) = match shown {
        Shown::Header(credential) => (credential, SessionKind::Token),
        Shown::Portal(credential) => (credential, SessionKind::Page),
        Shown::Console(session) => {
            return bounded(app, of_console(app, session, call).await?, on_behalf_of).await;
        }
    };
    if let Some(token) = portal_sessions::token(credential) {
        let Proved { session, place, held } = portal_sessions::prove(app, &token, kind, call.source).await?;
        if on_behalf_of.is_some() {
            return Err(Denied::OnBehalfOf("a portal session speaks for its own user, and for no other"));
        }
        let user = place.home.user().cloned();
        // The token came to the user through whoever opened the session, and could have stayed there.
        return Ok(as_user(origin(Actor::PortalSession(session), user), &held, place));
    }
    if kind == SessionKind::Page {
        // Nothing but a session is taken from this cookie.
        return Err(Denied::Key);
    }
    let caller = identify(app, credential, call.source).await?.into_caller(call);
    bounded(app, caller, on_behalf_of).await
}

/// Who shows a session of the console. It is a token, and nothing else is taken from that cookie.
///
/// # Errors
/// `Denied::Key` when nobody does.
pub(super) async fn of_console(app: &App, session: &str, call: &Call) -> Result<Caller, Denied> {
    Ok(by_token(app, session, call.source).await?.into_caller(call))
}

async fn bounded(app: &App, caller: Caller, on_behalf_of: Option<OnBehalfOf>) -> Result<Caller, Denied> {
    match on_behalf_of {
        None => Ok(caller),
        Some(user) => for_user(app, caller, user).await,
    }
}

/// As `authenticate`, for a client that shows a key or a token alone.
///
/// # Errors
/// `Denied::Key` when nobody holds it.
pub async fn bearer(app: &App, credential: &str, call: &Call) -> Result<Client, Denied> {
    Ok(identify(app, credential, call.source).await?.into_client(call))
}

/// As `authenticate`, for a client that names itself beside its key (RFC 6749 §2.3.1).
///
/// # Errors
/// `Denied::Key` when it does not hold the key, or is another.
pub async fn client(app: &App, id: String, key: &str, call: &Call) -> Result<Client, Denied> {
    Ok(by_key(app, key, call.source, Some(id)).await?.into_client(call))
}

async fn identify(app: &App, credential: &str, source: Source) -> Result<Identity, Denied> {
    if is_token(credential) {
        by_token(app, credential, source).await
    } else {
        by_key(app, credential, source, None).await
    }
}

/// Whether a credential has the shape of a token of ours: a JSON object in base64url, and two more parts. A key of another make may
/// have dots as well.
pub(super) fn is_token(credential: &str) -> bool {
    credential.starts_with("eyJ") && credential.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// The call as the user might make it, and nothing beyond what the caller might do itself.
async fn for_user(app: &App, caller: Caller, who: OnBehalfOf) -> Result<Caller, Denied> {
    if !caller.authority.may_act_for_users() {
        return Err(Denied::OnBehalfOf("only callers with keyswap:keys may call on behalf of a user"));
    }
    let OnBehalfOf { user, organization } = who.clone();
    let place = app.store.read(move |connection| places::of_user(connection, &user, organization.as_ref())).await?;
    let place = place.filter(|place| !place.blocked);
    let place = place.ok_or(Denied::OnBehalfOf("there is no such user there, or the user is blocked"))?;
    Ok(as_user(Origin { on_behalf_of: Some(who.user), ..caller.origin }, &caller.holdings, place))
}

/// What a user may do with their own roles, as far as `holdings` go.
pub(super) fn as_user(origin: Origin, holdings: &Holdings, place: PlaceNow) -> Caller {
    let inside = |name: &&PermissionName| ORGANIZATION_MANAGEMENT.contains(&name.as_str());
    let scope = place.permissions.iter().filter(inside).cloned().collect();
    // Who may speak for the user may do all that managing keys can do; handing a permission on takes holding it.
    let held = holdings.cut(&place.permissions);
    Caller {
        origin,
        authority: Authority { scope, place: Place::of(&place.home) },
        holdings: Holdings::Listed(held),
        limits: None,
        acts_as: Some(place.home),
    }
}

struct Identity {
    key: KeyId,
    client_id: String,
    home: Home,
    scope: PermissionSet,
    holdings: Holdings,
    limits: KeyLimits,
}

impl Identity {
    fn into_caller(self, call: &Call) -> Caller {
        Caller {
            origin: call.origin(Actor::Key(self.key), None),
            authority: Authority { scope: self.scope, place: Place::of(&self.home) },
            holdings: self.holdings,
            limits: matches!(self.home, Home::Organization { .. } | Home::User { .. }).then_some(self.limits),
            acts_as: self.home.user().is_some().then_some(self.home),
        }
    }

    fn into_client(self, call: &Call) -> Client {
        Client { id: self.client_id.clone(), audiences: self.limits.audiences.clone(), caller: self.into_caller(call) }
    }
}

pub(super) fn management_request(app: &App) -> Request {
    Request { targets: [app.settings.management_audience.clone()].into(), ..Request::default() }
}

async fn by_key(app: &App, key: &str, source: Source, client_id: Option<String>) -> Result<Identity, Denied> {
    let limits = &app.settings.limits;
    let request = Request { client_id, ..management_request(app) };
    let attempt = Attempt { key, source, form: Form::Management };
    let (identity, _) = judge(app, attempt, &request, |facts| {
        let scope = match grant::decide(facts, &request, limits) {
            Ok(grant) => grant.scope,
            Err(Refusal::Key(fault)) => return Err(Refusal::Key(fault)),
            // A right key that has no business here: known, and allowed nothing.
            Err(Refusal::Scope(_) | Refusal::Target(_)) => PermissionSet::default(),
        };
        Ok(Identity {
            key: facts.key.id.clone(),
            client_id: client_id_of(&facts.key),
            home: facts.key.ownership.home.clone(),
            scope,
            holdings: Holdings::of(grant::holdings(&facts.key, limits)),
            limits: facts.key.limits(),
        })
    })
    .await?;
    Ok(identity)
}

/// A token of ours for the management audience. Its key must still be in force: revoked means refused at once, here too.
async fn by_token(app: &App, token: &str, source: Source) -> Result<Identity, Denied> {
    require_trusted(app)?;
    app.guessing.admit_source(source).map_err(|throttled| Denied::Throttled(throttled.retry_after))?;
    let unaccepted = || {
        app.guessing.failed(source, None);
        Denied::Key
    };
    let audience = app.settings.management_audience.as_str();
    let claims = app.keys.view().verify(token, app.issuer(), audience).ok_or_else(unaccepted)?;
    let request = management_request(app);
    let found = tokens::found(app, &claims, &request.targets, FACTS_ALONE).await?;
    let (facts, ()) = found.map_err(|_| unaccepted())?;
    let now = match grant::decide(&facts, &request, &app.settings.limits) {
        Ok(grant) => grant.scope,
        Err(Refusal::Key(_)) => return Err(unaccepted()),
        Err(Refusal::Scope(_) | Refusal::Target(_)) => PermissionSet::default(),
    };
    let minted = claims.scope.as_deref().map(PermissionSet::from_stored).transpose().map_err(|_| Denied::Key)?;
    let scope = minted.unwrap_or_default().intersection(&now);
    // A token that was narrowed hands out no management permission it does not carry, whatever its key holds.
    let held = match Holdings::of(scope.clone()) {
        Holdings::WholeCatalog => Holdings::WholeCatalog,
        Holdings::Listed(_) => {
            let of_key = grant::holdings(&facts.key, &app.settings.limits);
            let handed_on = of_key.iter().filter(|name| !name.is_management() || scope.contains(name));
            Holdings::Listed(handed_on.cloned().collect())
        }
    };
    let (limits, client_id) = (facts.key.limits(), client_id_of(&facts.key));
    Ok(Identity { key: claims.key_id, client_id, home: facts.key.ownership.home, scope, holdings: held, limits })
}

fn client_id_of(key: &KeyFacts) -> String {
    grant::subject(key).client_id(&key.id).to_owned()
}
