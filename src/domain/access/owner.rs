//! Owners of keys and service clients: who the owner is, and the user or organization to which it
//! belongs.

use serde::Serialize;

use crate::domain::common::{
    id::{GenerationId, OrganizationId, ServiceClientId, UserId},
    text::text_enum,
};

/// Root owner of a key or a service client, with the generation id under which the key or service
/// client was created. The root owner of a service client's key is that of the service client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerScope {
    /// The whole deployment.
    Account,
    Organization {
        id: OrganizationId,
        generation_id: GenerationId,
    },
    User {
        id: UserId,
        organization: Option<OrganizationId>,
        /// Generation id of the membership, or of the user if there is no organization.
        generation_id: GenerationId,
    },
}

impl OwnerScope {
    pub const fn organization(&self) -> Option<&OrganizationId> {
        match self {
            Self::Account => None,
            Self::Organization { id, .. } => Some(id),
            Self::User { organization, .. } => organization.as_ref(),
        }
    }

    pub const fn user(&self) -> Option<&UserId> {
        match self {
            Self::Account | Self::Organization { .. } => None,
            Self::User { id, .. } => Some(id),
        }
    }

    pub const fn generation_id(&self) -> Option<&GenerationId> {
        match self {
            Self::Account => None,
            Self::Organization { generation_id, .. } | Self::User { generation_id, .. } => Some(generation_id),
        }
    }
}

/// Owner of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A user. The organization in which the user owns the key, if any, is in
    /// `Ownership::owner_scope`.
    User(UserId),
    Organization(OrganizationId),
    ServiceClient(ServiceClientId),
    /// No owner: the key itself is the subject of its tokens.
    Unowned,
}

text_enum! {
    /// Kind of owner, as written in the API and in the database.
    #[derive(Serialize, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum OwnerType {
        User = "user",
        Organization = "organization",
        ServiceClient = "service_client",
        None = "none",
    }

    #[error("an owner is a user, organization, service_client or none")]
    pub struct InvalidOwnerType;
}

impl Owner {
    pub const fn kind(&self) -> OwnerType {
        match self {
            Self::User(_) => OwnerType::User,
            Self::Organization(_) => OwnerType::Organization,
            Self::ServiceClient(_) => OwnerType::ServiceClient,
            Self::Unowned => OwnerType::None,
        }
    }

    pub fn id(&self) -> Option<&str> {
        match self {
            Self::User(id) => Some(id.as_str()),
            Self::Organization(id) => Some(id.as_str()),
            Self::ServiceClient(id) => Some(id.as_str()),
            Self::Unowned => None,
        }
    }
}
