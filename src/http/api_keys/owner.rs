//! Owners in request bodies.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::common::id::{OrganizationId, ServiceClientId, UserId},
    service::api_keys::RequestedOwner,
};

/// The owner of a new API key. Omitted ids default to those of the caller.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewApiKeyOwner)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ApiKeyOwnerRequest {
    User { id: Option<UserId>, organization_id: Option<OrganizationId> },
    Organization { id: Option<OrganizationId> },
    ServiceClient { id: ServiceClientId },
    // With braces, because serde ignores unknown members of a unit variant.
    None {},
}

impl ApiKeyOwnerRequest {
    pub fn into_owner(self) -> RequestedOwner {
        match self {
            Self::User { id, organization_id } => RequestedOwner::User { id, organization: organization_id },
            Self::Organization { id } => RequestedOwner::Organization { id },
            Self::ServiceClient { id } => RequestedOwner::ServiceClient(id),
            Self::None {} => RequestedOwner::Unowned,
        }
    }
}

/// The owner of a new service client. Omitted ids default to those of the caller.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewServiceClientOwner)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ServiceClientOwnerRequest {
    User { id: Option<UserId>, organization_id: Option<OrganizationId> },
    Organization { id: Option<OrganizationId> },
    // With braces, because serde ignores unknown members of a unit variant.
    Account {},
}

impl ServiceClientOwnerRequest {
    pub fn into_owner(self) -> RequestedOwner {
        match self {
            Self::User { id, organization_id } => RequestedOwner::User { id, organization: organization_id },
            Self::Organization { id } => RequestedOwner::Organization { id },
            Self::Account {} => RequestedOwner::Unowned,
        }
    }
}
