//! Validation: whether a key or token is in force now, and which permissions it lacks. The
//! functions are pure and apply the rules of the exchange.

use std::collections::BTreeSet;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{
    access::{audience::Identifier, owner::OwnerType, permission::PermissionSet},
    common::{
        id::{OrganizationId, UserId},
        json::Metadata,
        name::DisplayName,
    },
    exchange::{
        key_context::{KeyContext, Limits},
        refusal::{DenyReason, TargetError},
    },
};

/// Requirements of a service for a key or token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialRequirements {
    /// Permissions that the request to the service requires.
    pub required_permissions: PermissionSet,
    /// The only kind of owner that is accepted; `None` for any.
    pub owner_type: Option<OwnerType>,
    /// Audience of the service, if it names one.
    pub audience: Option<Identifier>,
}

/// Bounds of the presented credential: for a token its claims, for a key only the audiences of the
/// service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialBounds {
    /// Scope of a token; `None` for a key.
    pub scope: Option<PermissionSet>,
    /// Audiences that must accept the credential. For a key, the set is empty if the service names
    /// no audience.
    pub audiences: BTreeSet<Identifier>,
}

/// Returns the required permissions that are not in effect. A permission is in effect if the key
/// has it, its owner has it now, the scope of a token contains it, and all audiences accept it.
///
/// Fails with `DenyReason::Target` if the key may not be used for one of the audiences, or if its
/// owner is of another kind than the required one.
pub fn find_missing_permissions(
    context: &KeyContext,
    required: &CredentialRequirements,
    bounds: &CredentialBounds,
    limits: &Limits,
) -> Result<PermissionSet, DenyReason> {
    let key = &context.key;
    let owner = key.check_in_force(context.now, limits).map_err(DenyReason::Credential)?;
    let kind = key.ownership.owner.kind();
    if required.owner_type.is_some_and(|wanted| wanted != kind) {
        return Err(DenyReason::Target(TargetError::NotAllowed));
    }
    let mut audiences = Vec::with_capacity(bounds.audiences.len());
    for identifier in &bounds.audiences {
        if key.audiences.as_ref().is_some_and(|allowed| !allowed.contains(identifier)) {
            return Err(DenyReason::Target(TargetError::NotAllowed));
        }
        let found = context.audiences.iter().find(|audience| audience.identifier == *identifier);
        audiences.push(found.ok_or(DenyReason::Target(TargetError::Unknown))?);
    }
    let is_missing = |name: &&_| {
        !key.permissions.contains(name)
            || !owner.contains(name)
            || bounds.scope.as_ref().is_some_and(|scope| !scope.contains(name))
            || !audiences.iter().all(|audience| audience.accepts.accepts(name))
    };
    Ok(required.required_permissions.iter().filter(is_missing).cloned().collect())
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
