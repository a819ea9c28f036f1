//! Access records: roles over resources, for users, service clients or keys. They say where what a key can do applies, and never add to
//! what it can do.

use serde::{Deserialize, Serialize};

use super::{
    event::ActorRef,
    id::{AccessRecordId, Incarnation, KeyId, OrganizationId, ServiceClientId, UserId},
    name::DisplayName,
    permission::{PermissionName, PermissionSet},
    policy::{Authority, MANAGE, Place},
    resource::{Resource, ResourcePattern},
    role::RoleSet,
    standing::Home,
    time::Timestamp,
};

pub const MAX_PRINCIPALS: usize = 64;
pub const MAX_ADMINS: usize = 64;
pub const MAX_STATEMENTS: usize = 32;
/// In one statement.
pub const MAX_ROLES: usize = 16;
/// In one statement.
pub const MAX_RESOURCES: usize = 32;
/// The longest `authorization_details` of a token, and the claims that are mapped from metadata with them, as JSON: a token must fit a header.
pub const MAX_BYTES: usize = 4096;

/// The kinds of principals, as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalType {
    User,
    ServiceClient,
    ApiKey,
}

impl PrincipalType {
    pub const ALL: [Self; 3] = [Self::User, Self::ServiceClient, Self::ApiKey];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ServiceClient => "service_client",
            Self::ApiKey => "api_key",
        }
    }
}

/// For whom a record is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Principal {
    /// In the incarnation they had where the record is; with their personal keys there.
    User(UserId, Incarnation),
    /// With all its keys.
    ServiceClient(ServiceClientId),
    ApiKey(KeyId),
}

impl Principal {
    pub const fn kind(&self) -> PrincipalType {
        match self {
            Self::User(..) => PrincipalType::User,
            Self::ServiceClient(_) => PrincipalType::ServiceClient,
            Self::ApiKey(_) => PrincipalType::ApiKey,
        }
    }

    /// As the product calls it.
    pub fn id(&self) -> &str {
        match self {
            Self::User(id, _) => id.as_str(),
            Self::ServiceClient(id) => id.as_str(),
            Self::ApiKey(id) => id.as_str(),
        }
    }

    /// What no other principal ever has, now or later: the incarnation of a user, and the ids that Keyswap makes.
    pub fn mark(&self) -> &str {
        match self {
            Self::User(_, incarnation) => incarnation.as_str(),
            Self::ServiceClient(id) => id.as_str(),
            Self::ApiKey(id) => id.as_str(),
        }
    }
}

/// A user who may change a record, in the incarnation they had where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Admin {
    pub user: UserId,
    pub incarnation: Incarnation,
}

/// Roles, and the resources they are over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub roles: RoleSet,
    pub resources: Vec<ResourcePattern>,
}

/// An access record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRecord {
    pub id: AccessRecordId,
    pub name: DisplayName,
    /// Where it is, in the incarnation the organization had; outside any organization where there is none. It counts for keys there alone.
    pub organization: Option<(OrganizationId, Incarnation)>,
    pub principals: Vec<Principal>,
    pub admins: Vec<Admin>,
    pub statements: Vec<Statement>,
    pub created_at: Timestamp,
    pub created_by: ActorRef,
    pub version: i64,
}

impl AccessRecord {
    pub fn organization_id(&self) -> Option<&OrganizationId> {
        self.organization.as_ref().map(|(id, _)| id)
    }
}

/// How far a caller reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach<'a> {
    /// Every record.
    All,
    /// Those within the organization.
    Organization(&'a OrganizationId),
    /// Those where the caller stands that name the user as an admin.
    Administered(Option<&'a OrganizationId>, &'a Incarnation),
    Nothing,
}

impl<'a> Reach<'a> {
    /// Which records someone may see and change; `user` is the one they are or act for.
    pub fn of(authority: &'a Authority, user: Option<&'a Home>) -> Self {
        match (&authority.place, user.and_then(Home::incarnation)) {
            (Place::Everywhere, _) if authority.holds("keyswap:keys") => Self::All,
            (Place::Inside { organization: Some(id), .. }, _) if authority.holds(MANAGE) => Self::Organization(id),
            (Place::Inside { organization, .. }, Some(incarnation)) => {
                Self::Administered(organization.as_ref(), incarnation)
            }
            (Place::Everywhere | Place::Inside { .. }, _) => Self::Nothing,
        }
    }

    /// Whether it goes to this record, where the record is in an organization as it is now.
    pub fn includes(self, record: &AccessRecord) -> bool {
        match self {
            Self::All => true,
            Self::Organization(id) => record.organization_id() == Some(id),
            Self::Administered(organization, incarnation) => {
                record.organization_id() == organization
                    && record.admins.iter().any(|admin| admin.incarnation == *incarnation)
            }
            Self::Nothing => false,
        }
    }
}

/// A statement of some record of a key, with what its roles hold now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub permissions: PermissionSet,
    pub resources: Vec<ResourcePattern>,
}

impl Rule {
    /// Whether it gives the permission over the resource.
    pub fn covers(&self, permission: &PermissionName, resource: &Resource) -> bool {
        self.permissions.contains(permission) && self.resources.iter().any(|pattern| pattern.matches(resource))
    }
}

/// The `type` of what Keyswap writes into `authorization_details` (RFC 9396 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DetailType {
    #[serde(rename = "urn:keyswap:params:oauth:authorization-details:access")]
    Access,
}

/// What a token may do, and where (RFC 9396 §2.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    #[serde(rename = "type")]
    pub kind: DetailType,
    pub actions: PermissionSet,
    pub locations: Vec<ResourcePattern>,
}

/// What is left of the rules of a key under the scope of a token: one for each rule with something left, none of them twice.
pub fn details(rules: &[Rule], scope: &PermissionSet) -> Vec<Detail> {
    let mut details = Vec::new();
    for rule in rules {
        let actions = rule.permissions.intersection(scope);
        let detail = Detail { kind: DetailType::Access, actions, locations: rule.resources.clone() };
        if !detail.actions.is_empty() && !details.contains(&detail) {
            details.push(detail);
        }
    }
    details
}
