//! Owners in the bodies of requests.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::id::{OrganizationId, ServiceClientId, UserId},
    service::api_keys::OwnerAsked,
};

/// Who is to hold a key. What is left out follows from where the caller stands. The braces matter: without them serde would pass over
/// unknown members.
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

/// Who is to own a service client.
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
