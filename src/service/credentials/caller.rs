//! Authentication of `/v1` callers: an API key, a token for the management audience, or a portal
//! session. `domain::policy` decides what the caller may do.

use std::{net::IpAddr, str::FromStr};

use crate::{
    domain::{
        access::{
            audience::Identifier,
            owner::Home,
            permission::{ORGANIZATION_MANAGEMENT, PermissionName, PermissionSet},
            policy::{Authority, Holdings, Place},
        },
        common::id::{InvalidId, KeyId, OrganizationId, UserId},
        credentials::api_key::KeyLimits,
        events::{Actor, Origin},
        exchange::{
            facts::{KeyFacts, Request},
            grant,
            refusal::Refusal,
        },
        portal::session::SessionKind,
    },
    service::{
        App,
        access::owners::{self, PlaceNow},
        caller::Caller,
        credentials::{
            brute_force::Source,
            error::Denied,
            token,
            verify::{Attempt, FACTS_ALONE, judge, require_trusted},
        },
        portal::{self, Proved},
    },
    telemetry::labels::Form,
};

/// A caller that authenticates as an OAuth client or resource server.
#[derive(Debug, Clone)]
pub struct Client {
    pub caller: Caller,
    /// The `client_id` claim of tokens that are issued for its key.
    pub id: String,
    /// The audiences of its key. `None` means any audience.
    pub audiences: Option<Vec<Identifier>>,
}

/// The context of a request: its source, its id and the client address.
#[derive(Debug, Clone)]
pub struct Call {
    pub source: Source,
    pub request_id: String,
    pub address: IpAddr,
}

impl Call {
    pub(crate) fn origin(&self, actor: Actor, on_behalf_of: Option<UserId>) -> Origin {
        Origin {
            actor,
            on_behalf_of,
            request_id: Some(self.request_id.clone()),
            address: Some(self.address.to_string()),
        }
    }
}

/// The user that a back end acts on behalf of: `Keyswap-On-Behalf-Of: <user>[; organization=<id>]`.
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
                // A parameter other than `organization=` yields an empty id, which fails to parse.
                (user, Some(rest.trim().strip_prefix("organization=").unwrap_or_default().trim().parse()?))
            }
        };
        Ok(Self { user: user.trim().parse()?, organization })
    }
}

/// The credential of a `/v1` request. A portal session is valid only in the form that it was issued
/// for. A console session is an ordinary token and is also valid in a header.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// An API key, a token, or the token of a portal session.
    Header(&'a str),
    /// The session of a hosted page, from its cookie.
    Portal(&'a str),
    /// The session of the console, from its cookie.
    Console(&'a str),
}

/// Authenticates the caller and restricts it to the user that it acts on behalf of.
///
/// Returns `Denied::Key` for an invalid credential. Returns `Denied::OnBehalfOf` if the caller may
/// not act on behalf of users, or not on behalf of this user.
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
    if let Some(token) = portal::token(credential) {
        let Proved { session, place, held } = portal::prove(app, &token, kind, call.source).await?;
        if on_behalf_of.is_some() {
            return Err(Denied::OnBehalfOf("a portal session speaks for its own user, and for no other"));
        }
        let user = place.home.user().cloned();
        // The opener of the session could have used the token itself. The session therefore grants
        // no more than the opener can grant.
        return Ok(as_user(origin(Actor::PortalSession(session), user), &held, place));
    }
    if kind == SessionKind::Page {
        // This cookie carries a portal session and nothing else.
        return Err(Denied::Key);
    }
    let caller = identify(app, credential, call.source).await?.into_caller(call);
    bounded(app, caller, on_behalf_of).await
}

/// Authenticates a console session. Its cookie carries a token; everything else is `Denied::Key`.
pub(crate) async fn of_console(app: &App, session: &str, call: &Call) -> Result<Caller, Denied> {
    Ok(by_token(app, session, call.source).await?.into_caller(call))
}

async fn bounded(app: &App, caller: Caller, on_behalf_of: Option<OnBehalfOf>) -> Result<Caller, Denied> {
    match on_behalf_of {
        None => Ok(caller),
        Some(user) => for_user(app, caller, user).await,
    }
}

/// Like `authenticate`, for an OAuth client that presents only a key or a token.
pub async fn bearer(app: &App, credential: &str, call: &Call) -> Result<Client, Denied> {
    Ok(identify(app, credential, call.source).await?.into_client(call))
}

/// Like `authenticate`, for an OAuth client that sends a `client_id` with its key (RFC 6749
/// §2.3.1). Returns `Denied::Key` if the key is invalid or does not match the `client_id`.
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

/// Returns whether a credential has the form of a Keyswap token: three parts separated by dots, the
/// first of which is a JSON object in base64url. An imported key may contain dots as well.
pub(crate) fn is_token(credential: &str) -> bool {
    credential.starts_with("eyJ") && credential.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Restricts the caller to the management permissions of the user, and to the permissions that both
/// the user and the caller can grant.
async fn for_user(app: &App, caller: Caller, who: OnBehalfOf) -> Result<Caller, Denied> {
    if !caller.authority.may_act_for_users() {
        return Err(Denied::OnBehalfOf("only callers with keyswap:keys may call on behalf of a user"));
    }
    let OnBehalfOf { user, organization } = who.clone();
    let place = app.store.read(move |connection| owners::of_user(connection, &user, organization.as_ref())).await?;
    let place = place.filter(|place| !place.blocked);
    let place = place.ok_or(Denied::OnBehalfOf("there is no such user there, or the user is blocked"))?;
    Ok(as_user(Origin { on_behalf_of: Some(who.user), ..caller.origin }, &caller.holdings, place))
}

/// Returns a caller with the management permissions of the user's roles. It can grant the
/// permissions that are in both the user's roles and `holdings`.
pub(crate) fn as_user(origin: Origin, holdings: &Holdings, place: PlaceNow) -> Caller {
    let inside = |name: &&PermissionName| ORGANIZATION_MANAGEMENT.contains(&name.as_str());
    let scope = place.permissions.iter().filter(inside).cloned().collect();
    // A caller that may act on behalf of users can already manage every key, so the scope needs no
    // further bound. Granting a permission requires holding it.
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

pub(crate) fn management_request(app: &App) -> Request {
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
            // The key is valid but has no permission here: the caller is authenticated with an
            // empty scope.
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

/// Authenticates a token for the management audience. Its key must still be in force, so a revoked
/// key or token is refused immediately.
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
    let found = token::found(app, &claims, &request.targets, FACTS_ALONE).await?;
    let (facts, ()) = found.map_err(|_| unaccepted())?;
    let now = match grant::decide(&facts, &request, &app.settings.limits) {
        Ok(grant) => grant.scope,
        Err(Refusal::Key(_)) => return Err(unaccepted()),
        Err(Refusal::Scope(_) | Refusal::Target(_)) => PermissionSet::default(),
    };
    let minted = claims.scope.as_deref().map(PermissionSet::from_stored).transpose().map_err(|_| Denied::Key)?;
    let scope = minted.unwrap_or_default().intersection(&now);
    // A token with a reduced scope grants no management permission outside of that scope, even if
    // its key holds the permission.
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
