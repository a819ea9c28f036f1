//! Authentication of `/v1` callers: an API key, a token for the management audience, or a portal
//! session. `domain::policy` decides what the caller may do.

use std::{net::IpAddr, str::FromStr};

use crate::{
    domain::{
        access::{
            audience::Identifier,
            owner::OwnerScope,
            permission::{PermissionName, PermissionSet, TENANT_PERMISSIONS},
            policy::{CallerPermissions, GrantablePermissions, TenantScope},
        },
        common::id::{InvalidId, KeyId, OrganizationId, UserId},
        credentials::api_key::KeyLimits,
        events::{Actor, Origin},
        exchange::{
            facts::{KeyFacts, Request},
            grant,
            refusal::DenyReason,
        },
        portal::session::PortalSessionKind,
    },
    service::{
        Services,
        access::owners::{self, DirectoryEntry},
        caller::Caller,
        credentials::{
            brute_force::Source,
            error::AuthError,
            token,
            verify::{FACTS_ALONE, PresentedCredential, judge, require_trusted},
        },
        portal::{self, AuthenticatedSession},
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
pub struct RequestContext {
    pub source: Source,
    pub request_id: String,
    pub address: IpAddr,
}

impl RequestContext {
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
/// Returns `AuthError::Key` for an invalid credential. Returns `AuthError::OnBehalfOf` if the caller may
/// not act on behalf of users, or not on behalf of this user.
pub async fn authenticate(
    services: &Services,
    shown: Shown<'_>,
    on_behalf_of: Option<OnBehalfOf>,
    call: &RequestContext,
) -> Result<Caller, AuthError> {
    let origin = |actor, on_behalf_of| call.origin(actor, on_behalf_of);
    let (credential, kind) = match shown {
        Shown::Header(credential) => (credential, PortalSessionKind::Token),
        Shown::Portal(credential) => (credential, PortalSessionKind::Page),
        Shown::Console(session) => {
            return restrict_to_user(
                services,
                authenticate_console_session(services, session, call).await?,
                on_behalf_of,
            )
            .await;
        }
    };
    if let Some(token) = portal::token(credential) {
        let AuthenticatedSession { session, place, held } =
            portal::authenticate_session(services, &token, kind, call.source).await?;
        if on_behalf_of.is_some() {
            return Err(AuthError::OnBehalfOf("a portal session speaks for its own user, and for no other"));
        }
        let user = place.home.user().cloned();
        // The opener of the session could have used the token itself. The session therefore grants
        // no more than the opener can grant.
        return Ok(caller_for_user(origin(Actor::PortalSession(session), user), &held, place));
    }
    if kind == PortalSessionKind::Page {
        // This cookie carries a portal session and nothing else.
        return Err(AuthError::Key);
    }
    let caller = authenticate_key_or_token(services, credential, call.source).await?.into_caller(call);
    restrict_to_user(services, caller, on_behalf_of).await
}

/// Authenticates a console session. Its cookie carries a token; everything else is `AuthError::Key`.
pub(crate) async fn authenticate_console_session(
    services: &Services,
    session: &str,
    call: &RequestContext,
) -> Result<Caller, AuthError> {
    Ok(authenticate_token(services, session, call.source).await?.into_caller(call))
}

async fn restrict_to_user(
    services: &Services,
    caller: Caller,
    on_behalf_of: Option<OnBehalfOf>,
) -> Result<Caller, AuthError> {
    match on_behalf_of {
        None => Ok(caller),
        Some(user) => act_on_behalf_of(services, caller, user).await,
    }
}

/// Like `authenticate`, for an OAuth client that presents only a key or a token.
pub async fn bearer(services: &Services, credential: &str, call: &RequestContext) -> Result<Client, AuthError> {
    Ok(authenticate_key_or_token(services, credential, call.source).await?.into_client(call))
}

/// Like `authenticate`, for an OAuth client that sends a `client_id` with its key (RFC 6749
/// §2.3.1). Returns `AuthError::Key` if the key is invalid or does not match the `client_id`.
pub async fn client(services: &Services, id: String, key: &str, call: &RequestContext) -> Result<Client, AuthError> {
    Ok(authenticate_key(services, key, call.source, Some(id)).await?.into_client(call))
}

async fn authenticate_key_or_token(
    services: &Services,
    credential: &str,
    source: Source,
) -> Result<KeyIdentity, AuthError> {
    if has_token_format(credential) {
        authenticate_token(services, credential, source).await
    } else {
        authenticate_key(services, credential, source, None).await
    }
}

/// Returns whether a credential has the form of a Keyswap token: three parts separated by dots, the
/// first of which is a JSON object in base64url. An imported key may contain dots as well.
pub(crate) fn has_token_format(credential: &str) -> bool {
    credential.starts_with("eyJ") && credential.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Restricts the caller to the management permissions of the user, and to the permissions that both
/// the user and the caller can grant.
async fn act_on_behalf_of(services: &Services, caller: Caller, who: OnBehalfOf) -> Result<Caller, AuthError> {
    if !caller.authority.may_act_on_behalf_of_users() {
        return Err(AuthError::OnBehalfOf("only callers with keyswap:keys may call on behalf of a user"));
    }
    let OnBehalfOf { user, organization } = who.clone();
    let place =
        services.store.read(move |connection| owners::of_user(connection, &user, organization.as_ref())).await?;
    let place = place.filter(|place| !place.blocked);
    let place = place.ok_or(AuthError::OnBehalfOf("there is no such user there, or the user is blocked"))?;
    Ok(caller_for_user(Origin { on_behalf_of: Some(who.user), ..caller.origin }, &caller.holdings, place))
}

/// Returns a caller with the management permissions of the user's roles. It can grant the
/// permissions that are in both the user's roles and `holdings`.
pub(crate) fn caller_for_user(origin: Origin, holdings: &GrantablePermissions, place: DirectoryEntry) -> Caller {
    let inside = |name: &&PermissionName| TENANT_PERMISSIONS.contains(&name.as_str());
    let scope = place.permissions.iter().filter(inside).cloned().collect();
    // A caller that may act on behalf of users can already manage every key, so the scope needs no
    // further bound. Granting a permission requires holding it.
    let held = holdings.restrict(&place.permissions);
    Caller {
        origin,
        authority: CallerPermissions { scope, tenant_scope: TenantScope::of(&place.home) },
        holdings: GrantablePermissions::Listed(held),
        limits: None,
        on_behalf_of: Some(place.home),
    }
}

struct KeyIdentity {
    key: KeyId,
    client_id: String,
    home: OwnerScope,
    scope: PermissionSet,
    holdings: GrantablePermissions,
    limits: KeyLimits,
}

impl KeyIdentity {
    fn into_caller(self, call: &RequestContext) -> Caller {
        Caller {
            origin: call.origin(Actor::Key(self.key), None),
            authority: CallerPermissions { scope: self.scope, tenant_scope: TenantScope::of(&self.home) },
            holdings: self.holdings,
            limits: matches!(self.home, OwnerScope::Organization { .. } | OwnerScope::User { .. })
                .then_some(self.limits),
            on_behalf_of: self.home.user().is_some().then_some(self.home),
        }
    }

    fn into_client(self, call: &RequestContext) -> Client {
        Client { id: self.client_id.clone(), audiences: self.limits.audiences.clone(), caller: self.into_caller(call) }
    }
}

pub(crate) fn management_exchange_request(services: &Services) -> Request {
    Request { targets: [services.settings.management_audience.clone()].into(), ..Request::default() }
}

async fn authenticate_key(
    services: &Services,
    key: &str,
    source: Source,
    client_id: Option<String>,
) -> Result<KeyIdentity, AuthError> {
    let limits = &services.settings.limits;
    let request = Request { client_id, ..management_exchange_request(services) };
    let attempt = PresentedCredential { key, source, form: Form::Management };
    let (identity, _) = judge(services, attempt, &request, |facts| {
        let scope = match grant::decide(facts, &request, limits) {
            Ok(grant) => grant.scope,
            Err(DenyReason::Key(fault)) => return Err(DenyReason::Key(fault)),
            // The key is valid but has no permission here: the caller is authenticated with an
            // empty scope.
            Err(DenyReason::Scope(_) | DenyReason::Target(_)) => PermissionSet::default(),
        };
        Ok(KeyIdentity {
            key: facts.key.id.clone(),
            client_id: client_id_of(&facts.key),
            home: facts.key.ownership.home.clone(),
            scope,
            holdings: GrantablePermissions::of(grant::grantable(&facts.key, limits)),
            limits: facts.key.limits(),
        })
    })
    .await?;
    Ok(identity)
}

/// Authenticates a token for the management audience. Its key must still be in force, so a revoked
/// key or token is refused immediately.
async fn authenticate_token(services: &Services, token: &str, source: Source) -> Result<KeyIdentity, AuthError> {
    require_trusted(services)?;
    services.brute_force.admit_source(source).map_err(|throttled| AuthError::Throttled(throttled.retry_after))?;
    let unaccepted = || {
        services.brute_force.failed(source, None);
        AuthError::Key
    };
    let audience = services.settings.management_audience.as_str();
    let claims = services.keys.view().verify(token, services.issuer(), audience).ok_or_else(unaccepted)?;
    let request = management_exchange_request(services);
    let found = token::found(services, &claims, &request.targets, FACTS_ALONE).await?;
    let (facts, ()) = found.map_err(|_| unaccepted())?;
    let now = match grant::decide(&facts, &request, &services.settings.limits) {
        Ok(grant) => grant.scope,
        Err(DenyReason::Key(_)) => return Err(unaccepted()),
        Err(DenyReason::Scope(_) | DenyReason::Target(_)) => PermissionSet::default(),
    };
    let minted = claims.scope.as_deref().map(PermissionSet::from_stored).transpose().map_err(|_| AuthError::Key)?;
    let scope = minted.unwrap_or_default().intersection(&now);
    // A token with a reduced scope grants no management permission outside of that scope, even if
    // its key holds the permission.
    let held = match GrantablePermissions::of(scope.clone()) {
        GrantablePermissions::WholeCatalog => GrantablePermissions::WholeCatalog,
        GrantablePermissions::Listed(_) => {
            let of_key = grant::grantable(&facts.key, &services.settings.limits);
            let handed_on = of_key.iter().filter(|name| !name.is_management() || scope.contains(name));
            GrantablePermissions::Listed(handed_on.cloned().collect())
        }
    };
    let (limits, client_id) = (facts.key.limits(), client_id_of(&facts.key));
    Ok(KeyIdentity { key: claims.key_id, client_id, home: facts.key.ownership.home, scope, holdings: held, limits })
}

fn client_id_of(key: &KeyFacts) -> String {
    grant::subject(key).client_id(&key.id).to_owned()
}
