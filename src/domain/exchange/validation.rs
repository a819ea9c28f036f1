//! Validation: whether a key or token is in force now, and which permissions it lacks. The
//! functions are pure and apply the rules of the exchange.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{
    access::{audience::Identifier, owner::OwnerType, permission::PermissionSet, resource::Resource},
    common::{
        id::{OrganizationId, UserId},
        json::Metadata,
        name::DisplayName,
    },
    exchange::{
        effective_access::{CredentialBounds, EffectiveAccess, effective_access},
        key_context::{KeyContext, Limits},
        refusal::{DenyReason, TargetError},
    },
};

/// Requirements of a service for a key or token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialRequirements {
    /// Permissions that the request to the service requires.
    pub required_permissions: PermissionSet,
    /// The resource that the request concerns.
    pub resource: Option<Resource>,
    /// The only kind of owner that is accepted; `None` for any.
    pub owner_type: Option<OwnerType>,
    /// Audience of the service, if it names one.
    pub audience: Option<Identifier>,
}

/// What a key or token permits now, and what it lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedAccess {
    /// Reduced to the required resource, if there is one.
    pub access: EffectiveAccess,
    /// The required permissions that are not in effect.
    pub missing: PermissionSet,
}

/// Determines what is in effect and which of the required permissions are not. If the requirements
/// name a resource, an access record must grant them on it. If they name none, the permissions must
/// hold for every resource, so a record-bound credential lacks all of them.
///
/// Fails with `DenyReason::Target` if the key may not be used for one of the audiences, or if its
/// owner is of another kind than the required one.
pub fn validate(
    context: &KeyContext,
    required: &CredentialRequirements,
    bounds: &CredentialBounds,
    limits: &Limits,
) -> Result<ValidatedAccess, DenyReason> {
    let access = effective_access(context, bounds, limits)?;
    let kind = context.key.ownership.owner.kind();
    if required.owner_type.is_some_and(|wanted| wanted != kind) {
        return Err(DenyReason::Target(TargetError::NotAllowed));
    }
    let access = match &required.resource {
        Some(resource) => access.on_resource(resource),
        None => access,
    };
    let missing = required.required_permissions.difference(&access.scope).cloned().collect();
    Ok(ValidatedAccess { access, missing })
}

/// User and organization that own a key directly or through a service client, as recorded by the
/// product.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principals {
    pub user: Option<OwnerUser>,
    pub organization: Option<OwnerOrganization>,
}

/// A user, with the data that the product stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = UserOfApiKey)]
pub struct OwnerUser {
    pub id: UserId,
    pub blocked: bool,
    pub profile: Metadata,
    pub metadata: Metadata,
}

/// An organization, with the data that the product stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = OrganizationOfApiKey)]
pub struct OwnerOrganization {
    pub id: OrganizationId,
    pub name: Option<DisplayName>,
    pub metadata: Metadata,
}
