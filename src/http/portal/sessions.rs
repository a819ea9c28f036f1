//! `/v1/portal-sessions`.

use std::collections::BTreeSet;

use actix_web::{HttpResponse, http::header::CACHE_CONTROL, web::Data};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{
            permission::{Permission, PermissionName, PermissionSet},
            policy::{CreatePortalSessions, ManageKeys},
            role::{Role, RoleName},
        },
        common::{
            id::{OrganizationId, UserId},
            name::DisplayName,
            time::{Span, Timestamp},
        },
        portal::session::KeyFormOption,
    },
    http::{
        extract::{access::Caller, json::Json},
        openapi::responses::Opened,
        problem::Problem,
        response::Plain,
    },
    service::{
        Services,
        portal::{
            self,
            current::{self, Kind},
        },
    },
};

/// A portal session to open.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewPortalSession)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    user_id: UserId,
    /// The organization in which the user acts. If omitted, the user acts outside any organization.
    organization_id: Option<OrganizationId>,
}

/// The user of the current session, and what they can do there.
#[derive(Serialize, ToSchema)]
#[schema(as = CurrentPortalSession)]
pub struct CurrentSessionBody {
    user_id: UserId,
    organization_id: Option<OrganizationId>,
    /// What the user can do with their own keys.
    user: KeyAccessBody,
    /// What the user can do with the keys of the organization. Null outside any organization.
    #[serde(rename = "organization")]
    of_organization: Option<KeyAccessBody>,
    /// Whether the user can see, suspend and revoke the keys of every member.
    sees_everyone: bool,
    /// Maximum lifetime of a key in seconds.
    max_lifetime: Option<u64>,
    /// What the user selects for a new key: any of `permissions`, `roles` and `resources`.
    #[schema(value_type = Vec<String>)]
    choices: BTreeSet<KeyFormOption>,
}

/// Keys with one type of owner, and what the user can do with them.
#[derive(Serialize, ToSchema)]
#[schema(as = KeysAtHand)]
struct KeyAccessBody {
    see: bool,
    /// Whether the user can create, change, rotate and resume keys.
    change: bool,
    /// Whether the user can suspend, revoke and delete keys.
    end: bool,
    /// Permissions that the user can grant to a new key.
    permissions: Vec<GrantablePermissionBody>,
    /// Roles of the user that a new key can get. Empty unless `choices` contains `roles`.
    roles: Vec<GrantableRoleBody>,
}

/// A role of the user, with those of its permissions that the user can grant to a key.
#[derive(Serialize, ToSchema)]
#[schema(as = GrantableRole)]
struct GrantableRoleBody {
    name: RoleName,
    description: Option<DisplayName>,
    permissions: PermissionSet,
}

/// A permission that the user can grant to a key.
#[derive(Serialize, ToSchema)]
#[schema(as = GrantablePermission)]
struct GrantablePermissionBody {
    name: PermissionName,
    description: Option<DisplayName>,
}

impl From<Kind> for KeyAccessBody {
    fn from(Kind { rights, permissions, roles }: Kind) -> Self {
        let of_role =
            |Role { name, description, permissions, .. }| GrantableRoleBody { name, description, permissions };
        let body = |Permission { name, description, .. }| GrantablePermissionBody { name, description };
        Self {
            see: rights.read,
            change: rights.change,
            end: rights.end,
            permissions: permissions.into_iter().map(body).collect(),
            roles: roles.into_iter().map(of_role).collect(),
        }
    }
}

/// A portal session of a user.
#[derive(Serialize, ToSchema)]
#[schema(as = PortalSession)]
pub struct SessionBody<'a> {
    /// Token for `Authorization: Bearer` in the user's own browser. It permits what the roles of
    /// the user permit.
    #[schema(pattern = "^kps_[0-9A-Za-z]{16}_[0-9A-Za-z]{38}$")]
    token: &'a str,
    /// URL of the hosted page, for the user's browser. It is valid once, within one minute.
    #[schema(pattern = "^https?://.+/portal/[a-z]+-keys#code=kps_[0-9A-Za-z_]+$")]
    url: &'a str,
    expires_at: Timestamp,
}

/// Retrieves the user of the current session, and what they can do in it.
#[utoipa::path(get, path = "")]
pub async fn current(
    caller: Caller<ManageKeys>,
    services: Data<Services>,
) -> Result<Plain<CurrentSessionBody>, Problem> {
    let no_user = "the caller is not a user: open a portal session, or name a user in Keyswap-On-Behalf-Of";
    let current = current::current(&services, &caller).await?.ok_or_else(|| Problem::bad_request(no_user))?;
    Ok(Plain(CurrentSessionBody {
        user_id: current.user,
        organization_id: current.organization,
        user: current.of_user.into(),
        of_organization: current.of_organization.map(Into::into),
        sees_everyone: current.sees_everyone,
        max_lifetime: current.max_lifetime.map(Span::as_secs),
        choices: current.choices,
    }))
}

/// Opens a portal session, in which a user's browser manages the user's keys for a short time.
#[utoipa::path(post, path = "", responses(Opened<SessionBody<'static>>))]
pub async fn open(
    caller: Caller<CreatePortalSessions>,
    Json(CreateBody { user_id, organization_id }): Json<CreateBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let opened = portal::open(&services, &caller, user_id, organization_id).await?;
    let body = SessionBody { token: opened.token.expose(), url: &opened.url, expires_at: opened.expires_at };
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(body))
}
