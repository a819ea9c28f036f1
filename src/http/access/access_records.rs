//! `/v1/access-records`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
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
            json::{Body, Json},
            query::{Query, id, parse_if_match},
        },
        openapi::{
            answers::{Deleted, Listing, Made, Object},
            params::{IfMatch, InPath, Once, Paging},
        },
        problem::Problem,
        response::{created_response, object, plain},
    },
    service::{
        Services,
        access::access_records::{
            self, AccessRecordPatch, InitialAccessRecord, NewAccessRecord, RequestedPrincipal, RequestedStatement,
        },
        common::idempotency::CreateOutcome,
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
    #[serde(default)]
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

impl StatementRequest {
    pub fn asked(self) -> RequestedStatement {
        RequestedStatement { roles: self.roles, resources: self.resources }
    }
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
    pub fn asked(self) -> InitialAccessRecord {
        InitialAccessRecord { name: self.name, statements: statements(self.statements) }
    }
}

fn statements(requests: Vec<StatementRequest>) -> Vec<RequestedStatement> {
    requests.into_iter().map(StatementRequest::asked).collect()
}

fn principals(requests: Vec<PrincipalRequest>) -> Vec<RequestedPrincipal> {
    requests.into_iter().map(|one| RequestedPrincipal { kind: one.kind, id: one.id }).collect()
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
#[utoipa::path(post, path = "", params(Once), responses(Made<AccessRecordBody>))]
pub async fn create(
    caller: Caller<ManageAccessRecords>,
    request: HttpRequest,
    body: Json<CreateBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let Body { value: body, once } = body.read().await?;
    Query::of(&request, &[])?;
    let new = NewAccessRecord {
        name: body.name,
        organization: body.organization_id,
        principals: principals(body.principals),
        admins: body.admins,
        statements: statements(body.statements),
    };
    let (record, replayed) = match access_records::create(&services, &caller.identity, new, once).await? {
        CreateOutcome::New(record) => (record, false),
        CreateOutcome::Existing(record) => (record, true),
    };
    let location = format!("{}/v1/access-records/{}", services.issuer(), record.id);
    Ok(created_response(record.version, location, replayed, &AccessRecordBody::from(record)))
}

/// Lists the access records that the caller may see, newest first.
#[utoipa::path(get, path = "", params(Paging), responses(Listing<AccessRecordBody>))]
pub async fn list(
    caller: Caller<ManageAccessRecords>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after"])?;
    Ok(plain(&access_records::list(&services, &caller.identity, query.page()?).await?.map(AccessRecordBody::from)))
}

/// Retrieves an access record.
#[utoipa::path(get, path = "", params(InPath<AccessRecordId>), responses(Object<AccessRecordBody>))]
pub async fn get(
    caller: Caller<ManageAccessRecords>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let record = access_records::get(&services, &caller.identity, id(&request, "id")?).await?;
    Ok(object(record.version, &AccessRecordBody::from(record)))
}

/// Updates an access record.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "", params(InPath<AccessRecordId>, IfMatch), responses(Object<AccessRecordBody>))]
pub async fn patch(
    caller: Caller<ManageAccessRecords>,
    request: HttpRequest,
    body: Json<PatchBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let patch = AccessRecordPatch {
        name: body.name,
        principals: body.principals.map(principals),
        admins: body.admins,
        statements: body.statements.map(statements),
    };
    let (id, if_version) = (id(&request, "id")?, parse_if_match(&request)?);
    let record = access_records::patch(&services, &caller.identity, id, patch, if_version).await?;
    Ok(object(record.version, &AccessRecordBody::from(record)))
}

/// Deletes an access record.
///
/// Tokens issued later do not include it.
#[utoipa::path(delete, path = "", params(InPath<AccessRecordId>, IfMatch), responses(Deleted))]
pub async fn delete(
    caller: Caller<ManageAccessRecords>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    access_records::delete(&services, &caller.identity, id(&request, "id")?, parse_if_match(&request)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
