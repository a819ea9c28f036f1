//! `POST /v1/access/check`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{audience::Identifier, permission::PermissionName, policy::ValidateCredentials, resource::Resource},
        common::json::deserialize_present,
    },
    http::{
        extract::{Caller, Json},
        introspection::PresentedValue,
        problem::Problem,
        response::Unversioned,
    },
    service::introspection::check_access::{self, AccessSubject, PrincipalReference},
};

/// A check whether a key, token or principal has a permission on a resource. Requires either
/// `value` or `principal`.
#[derive(Deserialize, ToSchema)]
#[schema(as = AccessQuestion)]
#[serde(deny_unknown_fields)]
pub struct AccessCheckBody {
    /// The API key or token that the service received, with or without `Bearer`.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false, value_type = Option<String>, max_length = 16384)]
    value: Option<PresentedValue>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    principal: Option<PrincipalReference>,
    /// With `value`: the calling service. The key or token must be valid for it.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    audience: Option<Identifier>,
    permission: PermissionName,
    resource: Resource,
}

/// The result of an access check.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccessAnswer)]
pub struct AccessCheckResultBody {
    allowed: bool,
}

/// Returns whether a key, token or principal has a permission on a resource now.
#[utoipa::path(post, path = "")]
pub async fn check(
    caller: Caller<ValidateCredentials>,
    Json(body): Json<AccessCheckBody>,
) -> Result<Unversioned<AccessCheckResultBody>, Problem> {
    if body.audience.is_some() && body.value.is_none() {
        return Err(Problem::invalid_field("audience", "is allowed with `value` only"));
    }
    let subject = match (body.value, body.principal) {
        (Some(value), None) => AccessSubject::Value(value.0, body.audience),
        (None, Some(principal)) => AccessSubject::Principal(principal),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::invalid_field("value", "send either `value` or `principal`"));
        }
    };
    let allowed = check_access::check(&caller.services, subject, body.permission, body.resource).await?;
    Ok(Unversioned(AccessCheckResultBody { allowed }))
}
