//! Owners in request bodies.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::common::id::{OrganizationId, UserId},
    service::api_keys::RequestedOwner,
};

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
            Self::User { id, organization_id } => RequestedOwner::User { id, organization_id },
            Self::Organization { id } => RequestedOwner::Organization { id },
            Self::Account {} => RequestedOwner::Unowned {},
        }
    }
}
