//! Owners in request bodies.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::common::id::{OrganizationId, ServiceClientId, UserId},
    service::api_keys::OwnerAsked,
};

/// The owner of a new API key. Omitted ids default to those of the caller.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewApiKeyOwner)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum OwnerRequest {
    User {
        #[serde(default)]
        id: Option<UserId>,
        #[serde(default)]
        organization_id: Option<OrganizationId>,
    },
    Organization {
        #[serde(default)]
        id: Option<OrganizationId>,
    },
    ServiceClient {
        id: ServiceClientId,
    },
    // With braces, because serde ignores unknown members of a unit variant.
    None {},
}

impl OwnerRequest {
    pub fn for_key(self) -> OwnerAsked {
        match self {
            Self::User { id, organization_id } => OwnerAsked::User { id, organization: organization_id },
            Self::Organization { id } => OwnerAsked::Organization { id },
            Self::ServiceClient { id } => OwnerAsked::ServiceClient(id),
            Self::None {} => OwnerAsked::Nobody,
        }
    }
}

/// The owner of a new service client. Omitted ids default to those of the caller.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewServiceClientOwner)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientOwnerRequest {
    User {
        #[serde(default)]
        id: Option<UserId>,
        #[serde(default)]
        organization_id: Option<OrganizationId>,
    },
    Organization {
        #[serde(default)]
        id: Option<OrganizationId>,
    },
    // With braces, because serde ignores unknown members of a unit variant.
    Account {},
}

impl ClientOwnerRequest {
    pub fn asked(self) -> OwnerAsked {
        match self {
            Self::User { id, organization_id } => OwnerAsked::User { id, organization: organization_id },
            Self::Organization { id } => OwnerAsked::Organization { id },
            Self::Account {} => OwnerAsked::Nobody,
        }
    }
}
