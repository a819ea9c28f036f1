//! `/v1/access-records`.

use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{
            access_record::{AccessRecord, PrincipalType},
            policy::ManageAccessRecords,
            resource::ResourcePattern,
            role::RoleName,
        },
        common::{
            id::{AccessRecordId, OrganizationId, UserId},
            name::DisplayName,
            time::Timestamp,
        },
        events::ActorRef,
    },
    http::{
        extract::{
            access::Caller,
            if_match::IfMatch,
            json::{IdempotentJson, Json},
            path::Path,
            query::{Paging, Query},
        },
        problem::Problem,
        response::{Created, Deleted, Listing, Object, impl_resource},
    },
    service::{
        Services,
        access::access_records::{
            self, AccessRecordPatch, InitialAccessRecord, NewAccessRecord, RequestedPrincipal, RequestedStatement,
        },
    },
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
    statements: Vec<StatementBody>,
    created_at: Timestamp,
    created_by: ActorRef,
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

/// Roles and the resources to which they apply.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Statement)]
struct StatementBody {
    roles: Vec<RoleName>,
    resources: Vec<ResourcePattern>,
}

impl_resource!(AccessRecordBody, "/v1/access-records/{}", id);

impl From<AccessRecord> for AccessRecordBody {
    fn from(record: AccessRecord) -> Self {
        let principals = record.principals.iter();
        let statements = record.statements.into_iter();
        Self {
            principals: principals.map(|one| PrincipalBody { kind: one.kind(), id: one.id().to_owned() }).collect(),
            statements: statements
                .map(|one| StatementBody { roles: one.roles.iter().cloned().collect(), resources: one.resources })
                .collect(),
            id: record.id,
            name: record.name,
            organization_id: record.organization.map(|(id, _)| id),
            admins: record.admins.into_iter().map(|admin| admin.user).collect(),
            created_at: record.created_at,
            created_by: record.created_by,
            version: record.version,
        }
    }
}

/// An access record to create. A user who creates a record becomes an admin of it.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewAccessRecord)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    pub(crate) name: DisplayName,
    /// Defaults to the organization of the caller.
    organization_id: Option<OrganizationId>,
    #[schema(min_items = 1, max_items = 64)]
    principals: Vec<PrincipalRequest>,
    #[serde(default)]
    #[schema(value_type = Vec<UserId>, max_items = 64)]
    admins: Vec<String>,
    #[schema(min_items = 1, max_items = 32)]
    statements: Vec<StatementRequest>,
}

/// A principal of an access record.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewPrincipal)]
#[serde(deny_unknown_fields)]
struct PrincipalRequest {
    #[serde(rename = "type")]
    kind: PrincipalType,
    #[schema(pattern = "^[A-Za-z0-9._:@|-]{1,128}$", example = "auth0|alice")]
    id: String,
}

/// Roles and the resources to which they apply.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewStatement)]
#[serde(deny_unknown_fields)]
pub struct StatementRequest {
    #[schema(value_type = Vec<RoleName>, min_items = 1, max_items = 16)]
    roles: Vec<String>,
    #[schema(value_type = Vec<ResourcePattern>, min_items = 1, max_items = 32)]
    resources: Vec<String>,
}

/// An access record whose only principal is the object created with it.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = FirstAccessRecord)]
#[serde(deny_unknown_fields)]
pub struct InitialAccessRecordBody {
    name: DisplayName,
    #[schema(min_items = 1, max_items = 32)]
    statements: Vec<StatementRequest>,
}

impl InitialAccessRecordBody {
    pub fn into_record(self) -> InitialAccessRecord {
        InitialAccessRecord { name: self.name, statements: statements(self.statements) }
    }
}

fn statements(requests: Vec<StatementRequest>) -> Vec<RequestedStatement> {
    let statement = |StatementRequest { roles, resources }| RequestedStatement { roles, resources };
    requests.into_iter().map(statement).collect()
}

fn principals(requests: Vec<PrincipalRequest>) -> Vec<RequestedPrincipal> {
    requests.into_iter().map(|PrincipalRequest { kind, id }| RequestedPrincipal { kind, id }).collect()
}

/// Changes to an access record.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AccessRecordPatch)]
#[serde(deny_unknown_fields)]
pub struct PatchBody {
    pub(crate) name: Option<DisplayName>,
    #[schema(min_items = 1, max_items = 64)]
    principals: Option<Vec<PrincipalRequest>>,
    #[schema(value_type = Option<Vec<UserId>>, max_items = 64)]
    admins: Option<Vec<String>>,
    #[schema(min_items = 1, max_items = 32)]
    statements: Option<Vec<StatementRequest>>,
}

/// Creates an access record.
#[utoipa::path(post, path = "")]
pub async fn create(
    caller: Caller<ManageAccessRecords>,
    IdempotentJson { body, idempotency }: IdempotentJson<CreateBody>,
    services: Data<Services>,
) -> Result<Created<AccessRecordBody>, Problem> {
    let new = NewAccessRecord {
        name: body.name,
        organization: body.organization_id,
        principals: principals(body.principals),
        admins: body.admins,
        statements: statements(body.statements),
    };
    Ok(access_records::create(&services, &caller, new, idempotency).await?.into())
}

/// Lists the access records that the caller may see, newest first.
#[utoipa::path(get, path = "")]
pub async fn list(
    caller: Caller<ManageAccessRecords>,
    Query(page): Query<Paging>,
    services: Data<Services>,
) -> Result<Listing<AccessRecordBody>, Problem> {
    Ok(access_records::list(&services, &caller, page.into()).await?.into())
}

/// Retrieves an access record.
#[utoipa::path(get, path = "")]
pub async fn get(
    caller: Caller<ManageAccessRecords>,
    Path(id): Path<AccessRecordId>,
    services: Data<Services>,
) -> Result<Object<AccessRecordBody>, Problem> {
    Ok(Object(access_records::get(&services, &caller, id).await?.into()))
}

/// Updates an access record.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "")]
pub async fn patch(
    caller: Caller<ManageAccessRecords>,
    Json(body): Json<PatchBody>,
    Path(id): Path<AccessRecordId>,
    IfMatch(version): IfMatch,
    services: Data<Services>,
) -> Result<Object<AccessRecordBody>, Problem> {
    let patch = AccessRecordPatch {
        name: body.name,
        principals: body.principals.map(principals),
        admins: body.admins,
        statements: body.statements.map(statements),
    };
    Ok(Object(access_records::patch(&services, &caller, id, patch, version).await?.into()))
}

/// Deletes an access record.
///
/// Tokens issued later do not include it.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManageAccessRecords>,
    Path(id): Path<AccessRecordId>,
    IfMatch(version): IfMatch,
    services: Data<Services>,
) -> Result<Deleted, Problem> {
    access_records::delete(&services, &caller, id, version).await?;
    Ok(Deleted)
}
