//! `POST /v1/api-keys/validate`.

use serde::{Deserialize, Serialize};
use utoipa::{
    ToSchema,
    openapi::schema::{Object, ObjectBuilder, SchemaType, Type},
};

use crate::{
    domain::{
        access::{audience::Identifier, owner::OwnerType, permission::PermissionSet, policy::ValidateCredentials},
        exchange::validation::{CredentialRequirements, OwnerOrganization, OwnerUser},
    },
    http::{
        api_keys::bodies::ApiKeyBody,
        extract::{Caller, Json},
        introspection::PresentedValue,
        problem::Problem,
        response::Plain,
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
    #[serde(default)]
    required_permissions: Option<PermissionSet>,
    /// Keys with any other type of owner are refused.
    #[serde(default)]
    owner_type: Option<OwnerType>,
    /// The calling service. A token must be issued for it, and a key must be allowed for it. If it
    /// is omitted, tokens for any audience except Keyswap's own are accepted.
    #[serde(default)]
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
    /// Its `permissions` are those assigned to the key.
    api_key: ApiKeyBody,
    /// The user who owns the key or its service client.
    user: Option<OwnerUser>,
    /// The organization that owns the key, or in which its user owns it.
    organization: Option<OwnerOrganization>,
    /// Required permissions that are not in effect now, because the key, its owner, the audience or
    /// the token lacks them.
    missing_permissions: PermissionSet,
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
) -> Result<Plain<ValidationBody>, Problem> {
    let required = CredentialRequirements {
        required_permissions: body.required_permissions.unwrap_or_default(),
        owner_type: body.owner_type,
        audience: body.audience,
    };
    let found = validate::validate(&caller.services, &body.value.0, &required).await?;
    Ok(Plain(found.map_or(ValidationBody::Refused(RefusedApiKey { api_key: () }), |validated| {
        ValidationBody::Accepted(Box::new(Accepted {
            api_key: validated.key.into(),
            user: validated.principals.user,
            organization: validated.principals.organization,
            missing_permissions: validated.missing,
        }))
    })))
}
