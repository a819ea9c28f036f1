//! `/v1/portal-sessions`.

use actix_web::{HttpRequest, HttpResponse, http::header::CACHE_CONTROL, web::Data};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        id::{OrganizationId, UserId},
        policy::OpenPortalSessions,
        time::Timestamp,
    },
    http::{access::Caller, openapi::answers::Opened, problem::Problem},
    service::{App, portal_sessions},
};

use super::{json::Json, params::Query};

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

/// A session of a user.
#[derive(Serialize, ToSchema)]
#[schema(as = PortalSession)]
pub struct SessionBody<'a> {
    /// For `Authorization: Bearer`, in the user's own browser: it does what their roles let them do.
    #[schema(pattern = "^kps_[0-9A-Za-z]{16}_[0-9A-Za-z]{38}$")]
    token: &'a str,
    /// Where the user's browser goes; null for as long as there is no page.
    url: Option<&'a str>,
    expires_at: Timestamp,
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
    let body = SessionBody { token: opened.token.expose(), url: None, expires_at: opened.expires_at };
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(body))
}
