//! `/v1/portal-sessions`.

use std::collections::BTreeSet;

use actix_web::{HttpRequest, HttpResponse, http::header::CACHE_CONTROL, web::Data};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        id::{OrganizationId, UserId},
        name::DisplayName,
        permission::{Permission, PermissionName, PermissionSet},
        policy::{ManageKeys, OpenPortalSessions},
        portal_session::Choice,
        role::{Role, RoleName},
        time::{Span, Timestamp},
    },
    http::{
        access::Caller,
        openapi::answers::{Opened, Plain},
        problem::Problem,
    },
    service::{
        App,
        portal_sessions::{
            self,
            current::{self, Kind},
        },
    },
};

use super::{json::Json, params::Query, plain};

/// For whom a session is opened.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewPortalSession)]
#[serde(deny_unknown_fields)]
pub struct OpenBody {
    user_id: UserId,
    /// The organization in which they act; absent: outside any.
    #[serde(default)]
    organization_id: Option<OrganizationId>,
}

/// Who is at the page, and what they can do there.
#[derive(Serialize, ToSchema)]
#[schema(as = CurrentPortalSession)]
pub struct CurrentBody {
    user_id: UserId,
    organization_id: Option<OrganizationId>,
    /// With the own keys.
    user: KindBody,
    /// With the keys of the organization; null outside any.
    #[serde(rename = "organization")]
    of_organization: Option<KindBody>,
    /// Whether they see the keys of every member, and may end them.
    sees_everyone: bool,
    /// The longest life of a key, in seconds.
    max_lifetime: Option<u64>,
    /// What they choose for a new key: `permissions`, `roles`, `resources`.
    #[schema(value_type = Vec<String>)]
    choices: BTreeSet<Choice>,
}

/// Keys of one kind of owner, and what the user can do with them.
#[derive(Serialize, ToSchema)]
#[schema(as = KeysAtHand)]
struct KindBody {
    see: bool,
    /// Make, change, rotate and resume them.
    change: bool,
    /// Suspend and revoke them.
    end: bool,
    /// What the user may give to a new one.
    permissions: Vec<GrantableBody>,
    /// The roles that the user has, where roles are chosen.
    roles: Vec<GrantableRoleBody>,
}

/// A role that the user has, and what of it they may give to a key.
#[derive(Serialize, ToSchema)]
#[schema(as = GrantableRole)]
struct GrantableRoleBody {
    name: RoleName,
    description: Option<DisplayName>,
    permissions: PermissionSet,
}

/// A permission that the user may give to a key.
#[derive(Serialize, ToSchema)]
#[schema(as = GrantablePermission)]
struct GrantableBody {
    name: PermissionName,
    description: Option<DisplayName>,
}

impl From<Kind> for KindBody {
    fn from(Kind { rights, permissions, roles }: Kind) -> Self {
        let of_role =
            |Role { name, description, permissions, .. }| GrantableRoleBody { name, description, permissions };
        let body = |Permission { name, description, .. }| GrantableBody { name, description };
        Self {
            see: rights.see,
            change: rights.change,
            end: rights.end,
            permissions: permissions.into_iter().map(body).collect(),
            roles: roles.into_iter().map(of_role).collect(),
        }
    }
}

/// A session of a user.
#[derive(Serialize, ToSchema)]
#[schema(as = PortalSession)]
pub struct SessionBody<'a> {
    /// For `Authorization: Bearer`, in the user's own browser: it does what their roles let them do.
    #[schema(pattern = "^kps_[0-9A-Za-z]{16}_[0-9A-Za-z]{38}$")]
    token: &'a str,
    /// Where the user's browser goes, within a minute and once: the hosted page.
    #[schema(pattern = "^https?://.+/portal/[a-z]+-keys#code=kps_[0-9A-Za-z_]+$")]
    url: &'a str,
    expires_at: Timestamp,
}

/// What the session's own page needs to know of it.
#[utoipa::path(get, path = "", responses(Plain<CurrentBody>))]
pub async fn current(
    caller: Caller<ManageKeys>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    Query::of(&request, &[])?;
    let nobody = "it is no user's: open a portal session, or name a user in Keyswap-On-Behalf-Of";
    let current = current::current(&app, &caller.identity).await?.ok_or_else(|| Problem::bad_request(nobody))?;
    Ok(plain(&CurrentBody {
        user_id: current.user,
        organization_id: current.organization,
        user: current.of_user.into(),
        of_organization: current.of_organization.map(Into::into),
        sees_everyone: current.sees_everyone,
        max_lifetime: current.max_lifetime.map(Span::as_secs),
        choices: current.choices,
    }))
}

/// Lets a user's own browser manage their keys for a short while.
#[utoipa::path(post, path = "", responses(Opened<SessionBody<'static>>))]
pub async fn open(
    caller: Caller<OpenPortalSessions>,
    request: HttpRequest,
    body: Json<OpenBody>,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    Query::of(&request, &[])?;
    let opened = portal_sessions::open(&app, &caller.identity, body.user_id, body.organization_id).await?;
    let body = SessionBody { token: opened.token.expose(), url: &opened.url, expires_at: opened.expires_at };
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(body))
}
