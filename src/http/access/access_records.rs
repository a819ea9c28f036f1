//! `/v1/access-records`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{
            access_record::{AccessRecord, PrincipalType, Statement},
            policy::ManageAccessRecords,
        },
        common::{
            id::{AccessRecordId, OrganizationId, UserId},
            name::DisplayName,
            preconditions::Preconditions,
            time::Timestamp,
        },
        events::ActorRef,
    },
    http::{
        extract::{Caller, Idempotent, Json, Paging, Path, Query},
        problem::Problem,
        response::{Created, Deleted, Listing, Object, impl_resource},
    },
    service::access::access_records::{self, AccessRecordPatch, NewAccessRecord},
};

/// An access record: roles on resources, for users, service clients or API keys.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccessRecord)]
pub struct AccessRecordBody {
    id: AccessRecordId,
    name: DisplayName,
    /// The organization in which the record applies. Null if it applies outside any organization.
    organization_id: Option<OrganizationId>,
    principals: Vec<PrincipalBody>,
    /// Users who may change the record, in addition to those who manage the API keys there.
    admins: Vec<UserId>,
    statements: Vec<Statement>,
    created_at: Timestamp,
    created_by: ActorRef,
    /// Who granted what it grants: its creator, or the operator who last changed its principals or
    /// statements.
    granted_by: ActorRef,
    version: i64,
}

/// A principal of an access record.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Principal)]
struct PrincipalBody {
    #[serde(rename = "type")]
    kind: PrincipalType,
    id: String,
}

impl_resource!(AccessRecordBody, "/v1/access-records/{}", id);

impl From<AccessRecord> for AccessRecordBody {
    fn from(record: AccessRecord) -> Self {
        let principals = record.principals.iter();
        Self {
            principals: principals.map(|one| PrincipalBody { kind: one.kind(), id: one.id().to_owned() }).collect(),
            statements: record.statements,
            id: record.id,
            name: record.name,
            organization_id: record.organization.map(|(id, _)| id),
            admins: record.admins.into_iter().map(|admin| admin.user).collect(),
            created_at: record.created_at,
            created_by: record.created_by,
            granted_by: record.granted_by,
            version: record.version,
        }
    }
}

/// Creates an access record.
#[utoipa::path(post, path = "")]
pub async fn create(
    caller: Caller<ManageAccessRecords>,
    Idempotent { body: Json(body), idempotency }: Idempotent<Json<NewAccessRecord>>,
) -> Result<Created<AccessRecordBody>, Problem> {
    Ok(access_records::create(&caller.services, &caller, body, idempotency).await?.into())
}

/// Lists the access records that the caller may see, newest first.
#[utoipa::path(get, path = "")]
pub async fn list(
    caller: Caller<ManageAccessRecords>,
    Query(page): Query<Paging>,
) -> Result<Listing<AccessRecordBody>, Problem> {
    Ok(access_records::list(&caller.services, &caller, page.into()).await?.into())
}

/// Retrieves an access record.
#[utoipa::path(get, path = "")]
pub async fn get(
    caller: Caller<ManageAccessRecords>,
    Path(id): Path<AccessRecordId>,
) -> Result<Object<AccessRecordBody>, Problem> {
    Ok(Object(access_records::get(&caller.services, &caller, id).await?.into()))
}

/// Updates an access record.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "")]
pub async fn patch(
    caller: Caller<ManageAccessRecords>,
    Json(patch): Json<AccessRecordPatch>,
    Path(id): Path<AccessRecordId>,
    preconditions: Preconditions,
) -> Result<Object<AccessRecordBody>, Problem> {
    Ok(Object(access_records::patch(&caller.services, &caller, id, patch, preconditions).await?.into()))
}

/// Deletes an access record.
///
/// Tokens issued later do not include it.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManageAccessRecords>,
    Path(id): Path<AccessRecordId>,
    preconditions: Preconditions,
) -> Result<Deleted, Problem> {
    access_records::delete(&caller.services, &caller, id, preconditions).await?;
    Ok(Deleted)
}
