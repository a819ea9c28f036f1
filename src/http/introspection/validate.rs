//! `POST /v1/api-keys/validate`.

use serde::{Deserialize, Serialize};
use utoipa::{
    ToSchema,
    openapi::schema::{Object, ObjectBuilder, SchemaType, Type},
};

use crate::{
    domain::{
        access::{
            access_record::AuthorizationDetail, audience::Identifier, owner::OwnerType, permission::PermissionSet,
            policy::ValidateCredentials, resource::Resource,
        },
        common::json::deserialize_present,
        exchange::validation::{CredentialRequirements, OwnerOrganization, OwnerUser},
    },
    http::{
        api_keys::bodies::ApiKeyBody,
        extract::{Caller, Json},
        introspection::PresentedValue,
        problem::Problem,
        response::Unversioned,
    },
    service::introspection::validate,
};

/// An API key or token that a service received, with the requirements of the service.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ValidationRequest)]
#[serde(deny_unknown_fields)]
pub struct ValidationRequest {
    /// An API key or Keyswap token, with or without `Bearer`.
    #[schema(value_type = String)]
    value: PresentedValue,
    /// Permissions that the request to the calling service requires. The response lists those that
    /// are missing.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    required_permissions: Option<PermissionSet>,
    /// The resource that the request to the calling service concerns. The required permissions must
    /// be granted on it by an access record.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    resource: Option<Resource>,
    /// Keys with any other type of owner are refused.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    owner_type: Option<OwnerType>,
    /// The calling service. A token must be issued for it, and a key must be allowed for it. If it
    /// is omitted, tokens for any audience except Keyswap's own are accepted.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    audience: Option<Identifier>,
}

/// The result of a validation.
#[derive(Serialize, ToSchema)]
#[schema(as = Validation)]
#[serde(untagged)]
pub enum ValidationBody {
    Accepted(Box<Accepted>),
    Refused(RefusedApiKey),
}

/// An accepted key, with the user and the organization it belongs to.
#[derive(Serialize, ToSchema)]
#[schema(as = AcceptedApiKey)]
pub struct Accepted {
    /// Its `permissions` are those assigned to the key. They are empty if the key or token is
    /// record-bound, because none of them holds for every resource.
    api_key: ApiKeyBody,
    /// The user who owns the key or its service client.
    user: Option<OwnerUser>,
    /// The organization that owns the key, or in which its user owns it.
    organization: Option<OwnerOrganization>,
    /// Required permissions that are not in effect now, because the key, its owner, the audience or
    /// the token lacks them. With `resource`, also those that no access record grants on it.
    /// Without, all of them if the key or token is record-bound.
    missing_permissions: PermissionSet,
    /// Whether the key or token may do only what access records grant.
    record_bound: bool,
    /// What access records grant, and on which resources. Absent if no access record applies and
    /// the key or token is not record-bound. With `resource`, what they grant on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    authorization_details: Option<Vec<AuthorizationDetail>>,
}

/// A key or token that is not accepted: malformed, unknown, wrong, suspended, expired, revoked,
/// with a blocked owner, or not valid for the calling service.
#[derive(Serialize, ToSchema)]
#[schema(as = RefusedApiKey)]
pub struct RefusedApiKey {
    #[schema(schema_with = null_schema)]
    api_key: (),
}

fn null_schema() -> Object {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::Null)).build()
}

/// Returns whether an API key or token is accepted, and to whom it belongs.
///
/// Responses must not be cached, because the next one may differ.
#[utoipa::path(post, path = "")]
pub async fn validate(
    caller: Caller<ValidateCredentials>,
    Json(body): Json<ValidationRequest>,
) -> Result<Unversioned<ValidationBody>, Problem> {
    let required = CredentialRequirements {
        required_permissions: body.required_permissions.unwrap_or_default(),
        resource: body.resource,
        owner_type: body.owner_type,
        audience: body.audience,
    };
    let found = validate::validate(&caller.services, &body.value.0, &required).await?;
    Ok(Unversioned(found.map_or(ValidationBody::Refused(RefusedApiKey { api_key: () }), |found| {
        ValidationBody::Accepted(Box::new(Accepted {
            api_key: found.key.into(),
            user: found.principals.user,
            organization: found.principals.organization,
            missing_permissions: found.validated.missing,
            record_bound: found.validated.access.record_bound,
            authorization_details: found.validated.access.authorization_details,
        }))
    })))
}
