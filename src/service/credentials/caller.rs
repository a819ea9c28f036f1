//! Authentication of `/v1` callers: an API key, a token for the management audience, or a portal
//! session. `domain::policy` decides what the caller may do.

use std::borrow::Cow;

use crate::{
    domain::{
        access::{
            permission::{PermissionName, TENANT_PERMISSIONS},
            policy::{CallerPermissions, GrantablePermissions, TenantScope},
        },
        common::{
            id::{OrganizationId, UserId},
            structured_field,
        },
        events::Origin,
        portal::session::PortalSessionKind,
    },
    service::{
        Services,
        access::owners::{self, DirectoryEntry},
        caller::Caller,
        credentials::{
            client::AuthenticatedClient,
            error::{AuthError, OnBehalfOfError},
            request_context::RequestContext,
            session::{parse_session_token, session_origin, verify_session},
        },
    },
};

/// The user that a back end acts on behalf of: `Keyswap-On-Behalf-Of: <user>[; organization=<id>]`.
/// An id with a space, a comma, a semicolon, a quote or a backslash is in quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnBehalfOf {
    pub user: UserId,
    pub organization: Option<OrganizationId>,
}

impl OnBehalfOf {
    /// Parses the header. Returns `None` if it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, rest) = parse_item(text.trim_ascii())?;
        let organization = match rest.trim_ascii() {
            "" => None,
            parameter => {
                let id = parameter.strip_prefix(';')?.trim_ascii_start().strip_prefix("organization=")?;
                let (id, rest) = parse_item(id)?;
                Some(rest.trim_ascii().is_empty().then_some(id.parse().ok()?)?)
            }
        };
        Some(Self { user: user.parse().ok()?, organization })
    }
}

/// Reads a string in quotes (RFC 9651 §3.3.3) or a bare id at the start of a text. Returns it with
/// the rest of the text.
fn parse_item(text: &str) -> Option<(Cow<'_, str>, &str)> {
    if text.starts_with('"') {
        return structured_field::parse_string(text).map(|(id, rest)| (id.into(), rest));
    }
    let (id, rest) = text.split_at(text.find(';').unwrap_or(text.len()));
    let id = id.trim_ascii_end();
    let is_bare = !id.contains([' ', ',', '"', '\\']);
    is_bare.then_some((id.into(), rest))
}

/// The credential of a `/v1` request. A portal session is valid only in the form that it was issued
/// for. A console session is an ordinary token and is also valid in a header.
#[derive(Debug, Clone, Copy)]
pub enum CallerCredential<'a> {
    /// An API key, a token, or the token of a portal session.
    Header(&'a str),
    /// The session of a hosted page, from its cookie.
    Portal(&'a str),
    /// The session of the console, from its cookie.
    Console(&'a str),
}

/// Authenticates the caller and restricts it to the user that it acts on behalf of.
///
/// Returns `AuthError::Credential` for an invalid credential. Returns `AuthError::OnBehalfOf` if
/// the caller may not act on behalf of users, or not on behalf of this user.
pub async fn authenticate(
    services: &Services,
    credential: CallerCredential<'_>,
    on_behalf_of: Option<OnBehalfOf>,
    call: &RequestContext,
) -> Result<Caller, AuthError> {
    let caller = match credential {
        CallerCredential::Console(token) => authenticate_console_session(services, token, call).await?,
        CallerCredential::Header(text) if parse_session_token(text).is_none() => {
            AuthenticatedClient::authenticate_key_or_token(services, text, call).await?.caller
        }
        CallerCredential::Header(session) | CallerCredential::Portal(session) => {
            let kind = match credential {
                CallerCredential::Portal(_) => PortalSessionKind::Page,
                CallerCredential::Header(_) | CallerCredential::Console(_) => PortalSessionKind::Token,
            };
            let session = verify_session(services, session, &[kind], call.source).await?;
            if on_behalf_of.is_some() {
                return Err(OnBehalfOfError::PortalSession.into());
            }
            let origin = session_origin(&session.session, call);
            // A session can do what the roles of its user permit: this is the right that
            // `keyswap:sessions` grants to its opener (invariant 12).
            return Ok(caller_for_user(origin, &GrantablePermissions::WholeCatalog, session.user));
        }
    };
    match on_behalf_of {
        None => Ok(caller),
        Some(user) => act_on_behalf_of(services, caller, user).await,
    }
}

/// Authenticates a console session. Its cookie carries a token; everything else is refused.
async fn authenticate_console_session(
    services: &Services,
    token: &str,
    call: &RequestContext,
) -> Result<Caller, AuthError> {
    Ok(AuthenticatedClient::authenticate_token(services, token, call).await?.caller)
}

/// Restricts the caller to the management permissions of the user, and to the permissions that both
/// the user and the caller can grant.
async fn act_on_behalf_of(services: &Services, caller: Caller, who: OnBehalfOf) -> Result<Caller, AuthError> {
    if !caller.authority.may_act_on_behalf_of_users() {
        return Err(OnBehalfOfError::NotPermitted.into());
    }
    let OnBehalfOf { user, organization } = who.clone();
    let user =
        services.store.read(move |connection| owners::find_user(connection, &user, organization.as_ref())).await?;
    let user = user.filter(|user| !user.blocked);
    let user = user.ok_or(OnBehalfOfError::UserNotActive)?;
    Ok(caller_for_user(Origin { on_behalf_of: Some(who.user), ..caller.origin }, &caller.holdings, user))
}

/// Returns a caller with the management permissions of the user's roles. It can grant the
/// permissions that are in both the user's roles and `holdings`.
pub(crate) fn caller_for_user(origin: Origin, holdings: &GrantablePermissions, user: DirectoryEntry) -> Caller {
    let is_tenant_permission = |name: &&PermissionName| TENANT_PERMISSIONS.contains(&name.as_str());
    // A caller that may act on behalf of users can already manage every key, so the scope needs no
    // further bound. Granting a permission requires holding it.
    let scope = user.permissions.iter().filter(is_tenant_permission).cloned().collect();
    let tenant_scope = TenantScope::of(&user.owner_scope);
    let holdings = tenant_scope.restrict(&holdings.restrict(&user.permissions));
    Caller {
        origin,
        authority: CallerPermissions { scope, tenant_scope },
        holdings: GrantablePermissions::Only(holdings),
        limits: None,
        key_access: None,
        user_scope: Some(user.owner_scope),
    }
}
