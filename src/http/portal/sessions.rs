//! `/v1/portal-sessions`.

use actix_web::{HttpResponse, http::header::CACHE_CONTROL};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::policy::{CreatePortalSessions, ManageKeys},
        common::{
            id::{OrganizationId, UserId},
            time::Timestamp,
        },
    },
    http::{
        extract::{Caller, Json},
        openapi::responses::OneTimeValueResponse,
        problem::Problem,
        response::Plain,
    },
    service::portal::{
        self,
        current::{self, CurrentUser},
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
pub async fn current(caller: Caller<ManageKeys>) -> Result<Plain<CurrentUser>, Problem> {
    let no_user = "the caller is not a user: open a portal session, or name a user in Keyswap-On-Behalf-Of";
    Ok(Plain(current::current(&caller.services, &caller).await?.ok_or_else(|| Problem::bad_request(no_user))?))
}

/// Opens a portal session, in which a user's browser manages the user's keys for a short time.
#[utoipa::path(post, path = "", responses(OneTimeValueResponse<SessionBody<'static>>))]
pub async fn open(
    caller: Caller<CreatePortalSessions>,
    Json(CreateBody { user_id, organization_id }): Json<CreateBody>,
) -> Result<HttpResponse, Problem> {
    let opened = portal::open(&caller.services, &caller, user_id, organization_id).await?;
    let body = SessionBody { token: opened.token.expose(), url: &opened.url, expires_at: opened.expires_at };
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(body))
}
