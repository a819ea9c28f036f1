//! `/v1/portal-sessions`.

use actix_web::{HttpResponse, http::header::CACHE_CONTROL};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::policy::{ManageKeys, ManagePortalSessions},
        common::{
            derived_id::PortalSessionId,
            id::{KeyId, OrganizationId, UserId},
            preconditions::Preconditions,
            time::Timestamp,
        },
        portal::session::{PortalSession, PortalSessionFilter, PortalSessionKind},
    },
    http::{
        extract::{Caller, Idempotent, Json, Paging, Path, Query},
        openapi::responses::OneTimeValueResponse,
        problem::Problem,
        response::{Deleted, IDEMPOTENCY_REPLAYED, Listing, Unversioned},
    },
    service::{
        common::idempotency::IdempotentOutcome,
        credentials::session_end::{self, EndedSessions},
        portal::{
            self, OpenedSession,
            current::{self, CurrentUser},
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

/// A portal session that was opened, with its secrets. The response to a replay of the request
/// omits them.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenedPortalSession)]
pub struct OpenedBody<'a> {
    id: PortalSessionId,
    /// Token for `Authorization: Bearer` in the user's own browser. It permits what the roles of
    /// the user permit.
    #[schema(pattern = "^kps_[0-9A-Za-z]{16}_[0-9A-Za-z]{38}$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token: Option<&'a str>,
    /// URL of the hosted page, for the user's browser. It is valid once, within one minute.
    #[schema(pattern = "^https?://.+/portal/[a-z]+-keys#code=kps_[0-9A-Za-z_]+$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    url: Option<&'a str>,
    expires_at: Timestamp,
}

/// A portal session, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PortalSession)]
pub struct SessionBody {
    id: PortalSessionId,
    kind: PortalSessionKind,
    user_id: Option<UserId>,
    organization_id: Option<OrganizationId>,
    /// The API key that opened the session. The session ends with this key.
    opened_by: KeyId,
    created_at: Timestamp,
    expires_at: Timestamp,
}

impl From<PortalSession> for SessionBody {
    fn from(session: PortalSession) -> Self {
        Self {
            id: session.id,
            kind: session.kind,
            user_id: session.owner_scope.user().cloned(),
            organization_id: session.owner_scope.organization().cloned(),
            opened_by: session.opened_by,
            created_at: session.created_at,
            expires_at: session.expires_at,
        }
    }
}

/// How many portal sessions a request ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndedPortalSessions)]
pub struct EndedBody {
    ended: usize,
}

/// Retrieves the user of the current session, and what they can do in it.
#[utoipa::path(get, path = "")]
pub async fn current(caller: Caller<ManageKeys>) -> Result<Unversioned<CurrentUser>, Problem> {
    let no_user = "the caller is not a user: open a portal session, or name a user in Keyswap-On-Behalf-Of";
    Ok(Unversioned(current::current(&caller.services, &caller).await?.ok_or_else(|| Problem::bad_request(no_user))?))
}

/// Opens a portal session, in which a user's browser manages the user's keys for a short time.
///
/// The session permits what the roles of the user permit. It ends with the key that opened it, and
/// with the permission of that key to open sessions. Rotating the key does not end it.
#[utoipa::path(post, path = "", responses(OneTimeValueResponse<OpenedBody<'static>>))]
pub async fn open(
    caller: Caller<ManagePortalSessions>,
    Idempotent { body: Json(CreateBody { user_id, organization_id }), idempotency }: Idempotent<Json<CreateBody>>,
) -> Result<HttpResponse, Problem> {
    let opened = portal::open(&caller.services, &caller, user_id, organization_id, idempotency).await?;
    let mut response = HttpResponse::Created();
    response.insert_header((CACHE_CONTROL, "no-store"));
    Ok(match opened {
        IdempotentOutcome::New(OpenedSession { id, token, expires_at, url }) => {
            response.json(OpenedBody { id, token: Some(token.expose()), url: Some(&url), expires_at })
        }
        IdempotentOutcome::Existing(PortalSession { id, expires_at, .. }) => {
            response.insert_header((IDEMPOTENCY_REPLAYED, "true"));
            response.json(OpenedBody { id, token: None, url: None, expires_at })
        }
    })
}

/// Lists portal sessions that have not expired, and unspent codes, in no particular order.
#[utoipa::path(get, path = "")]
pub async fn list(
    caller: Caller<ManagePortalSessions>,
    Query(page): Query<Paging>,
    Query(filter): Query<PortalSessionFilter>,
) -> Result<Listing<SessionBody>, Problem> {
    Ok(portal::list(&caller.services, &caller, filter, page.into()).await?.into())
}

/// Ends a portal session.
///
/// Its code, and the page session that the code opened, end with it. No call that begins after the
/// response succeeds in one of them.
#[utoipa::path(delete, path = "")]
pub async fn end(
    caller: Caller<ManagePortalSessions>,
    Path(id): Path<PortalSessionId>,
    preconditions: Preconditions,
) -> Result<Deleted, Problem> {
    session_end::end(&caller.services, &caller, EndedSessions::One(id), preconditions).await?;
    Ok(Deleted)
}

/// Ends the portal sessions that match all given filters, of which at least one is required.
///
/// Unspent codes end as well. One request ends at most 10,000 sessions.
#[utoipa::path(delete, path = "")]
pub async fn end_matching(
    caller: Caller<ManagePortalSessions>,
    Query(filter): Query<PortalSessionFilter>,
    preconditions: Preconditions,
) -> Result<Unversioned<EndedBody>, Problem> {
    let ended = session_end::end(&caller.services, &caller, EndedSessions::Matching(filter), preconditions).await?;
    Ok(Unversioned(EndedBody { ended }))
}
