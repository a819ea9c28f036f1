//! Who calls `/v1`: an API key, a token for the management audience, or a portal session. What it may do is for `domain::policy`.

use std::str::FromStr;

use crate::{
    domain::{
        api_key::KeyLimits,
        event::{Actor, Origin},
        grant::{self, Refusal, Request},
        id::{InvalidId, KeyId, OrganizationId, UserId},
        permission::{PermissionName, PermissionSet},
        policy::{ADMIN, Authority, Holdings, ORGANIZATION_MANAGEMENT, Place},
        standing::Home,
    },
    store::facts::{self, Wanted},
    telemetry::metrics::Form,
};

use super::{
    App,
    guessing::Source,
    places::{self, PlaceNow},
    portal_sessions::{self, Proved},
    proof::{Attempt, Denied, judge},
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

/// Where a call comes from.
#[derive(Debug, Clone)]
pub struct Call {
    pub source: Source,
    pub request_id: String,
    pub address: String,
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

/// Finds out who holds `credential`, and bounds them by the user they call for.
///
/// # Errors
/// `Denied::Key` when nobody does; `Denied::OnBehalfOf` when they may not speak for users, or not for this one.
pub async fn authenticate(
    app: &App,
    credential: &str,
    on_behalf_of: Option<OnBehalfOf>,
    call: &Call,
) -> Result<Caller, Denied> {
    let origin = |actor, on_behalf_of| Origin {
        actor,
        on_behalf_of,
        request_id: Some(call.request_id.clone()),
        address: Some(call.address.clone()),
    };
    if let Some(token) = portal_sessions::token(credential) {
        let Proved { session, place, held } = portal_sessions::prove(app, &token, call.source).await?;
        if on_behalf_of.is_some() {
            return Err(Denied::OnBehalfOf("a portal session speaks for its own user, and for no other"));
        }
        let user = place.home.user().cloned();
        // The token came to the user through whoever opened the session, and could have stayed there.
        return Ok(as_user(origin(Actor::PortalSession(session), user), &held, place));
    }
    let identity = if is_token(credential) {
        by_token(app, credential, call.source).await?
    } else {
        by_key(app, credential, call.source).await?
    };
    let caller = Caller {
        origin: origin(Actor::Key(identity.key), None),
        authority: Authority { scope: identity.scope, place: Place::of(&identity.home) },
        holdings: identity.holdings,
        limits: matches!(identity.home, Home::Organization { .. } | Home::User { .. }).then_some(identity.limits),
        acts_as: identity.home.user().is_some().then_some(identity.home),
    };
    match on_behalf_of {
        None => Ok(caller),
        Some(user) => for_user(app, caller, user).await,
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
    home: Home,
    scope: PermissionSet,
    holdings: Holdings,
    limits: KeyLimits,
}

fn management_request(app: &App) -> Request {
    Request { targets: [app.settings.management_audience.clone()].into(), ..Request::default() }
}

async fn by_key(app: &App, key: &str, source: Source) -> Result<Identity, Denied> {
    let limits = &app.settings.limits;
    let request = management_request(app);
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
    app.guessing.admit_source(source).map_err(|throttled| Denied::Throttled(throttled.retry_after))?;
    let unaccepted = || {
        app.guessing.failed(source, None);
        Denied::Key
    };
    let audience = app.settings.management_audience.as_str();
    let claims = app.keys.view().verify(token, app.issuer(), audience).ok_or_else(unaccepted)?;
    let request = management_request(app);
    let (wanted, targets) = (Wanted::Key(claims.key_id.clone()), request.targets.clone());
    let loaded = app.store.read(move |connection| facts::load(connection, &wanted, &targets)).await?;
    let facts = loaded.ok_or_else(unaccepted)?.facts;
    if claims.exp <= facts.now.seconds() {
        return Err(unaccepted());
    }
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
    let limits = facts.key.limits();
    Ok(Identity { key: claims.key_id, home: facts.key.ownership.home, scope, holdings: held, limits })
}
