//! Access records: roles on resources, for users, service clients or keys. They state to which
//! resources the permissions of a key apply, and never add permissions.

use serde::{Deserialize, Serialize};

use crate::domain::{
    access::{
        owner::OwnerScope,
        permission::{MANAGE, PermissionName, PermissionSet},
        policy::{CallerPermissions, TenantScope},
        resource::{Resource, ResourcePattern},
        role::{RoleName, RoleSet},
    },
    common::{
        encoding::{EncodedRow, RowEncoder},
        id::{AccessRecordId, GenerationId, KeyId, OrganizationId, ServiceClientId, UserId},
        name::DisplayName,
        text::text_enum,
        time::Timestamp,
    },
    events::{ActorRef, USER_KIND},
};

pub const MAX_PRINCIPALS: usize = 64;
pub const MAX_ADMINS: usize = 64;
pub const MAX_STATEMENTS: usize = 32;
/// Per statement.
pub const MAX_ROLES: usize = 16;
/// Per statement.
pub const MAX_RESOURCES: usize = 32;
/// Maximum length of the `authorization_details` of a token together with its mapped claims, in
/// bytes of JSON: a token must fit an HTTP header.
pub const MAX_BYTES: usize = 4096;

text_enum! {
    /// Kind of principal, as written in the API and in the database.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum PrincipalType {
        User = "user",
        ServiceClient = "service_client",
        ApiKey = "api_key",
    }
}

/// A principal to which an access record applies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Principal {
    /// A user, with the generation id in the tenant scope of the record. The record also applies to
    /// the user's personal keys in that scope.
    User(UserId, GenerationId),
    /// A service client, with all its keys.
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

    /// Returns the id that the API uses.
    pub fn id(&self) -> &str {
        match self {
            Self::User(id, _) => id.as_str(),
            Self::ServiceClient(id) => id.as_str(),
            Self::ApiKey(id) => id.as_str(),
        }
    }

    /// Returns an id that no other principal ever has: the generation id of a user, or the id that
    /// Keyswap generated.
    pub fn unique_id(&self) -> &str {
        match self {
            Self::User(_, generation_id) => generation_id.as_str(),
            Self::ServiceClient(id) => id.as_str(),
            Self::ApiKey(id) => id.as_str(),
        }
    }
}

/// A user who may change a record, with the generation id in the tenant scope of the record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct RecordAdmin {
    pub user: UserId,
    pub generation_id: GenerationId,
}

/// Roles and the resources to which they apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Statement {
    #[schema(value_type = Vec<RoleName>)]
    pub roles: RoleSet,
    pub resources: Vec<ResourcePattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRecord {
    pub id: AccessRecordId,
    pub name: DisplayName,
    /// Organization of the record and its generation id; `None` outside organizations. The record
    /// applies only to keys in the same tenant scope.
    pub organization: Option<(OrganizationId, GenerationId)>,
    pub principals: Vec<Principal>,
    pub admins: Vec<RecordAdmin>,
    pub statements: Vec<Statement>,
    pub created_at: Timestamp,
    pub created_by: ActorRef,
    /// Who granted what the record grants: its creator, or the operator who last changed its
    /// principals or statements.
    pub granted_by: ActorRef,
    pub version: i64,
}

impl AccessRecord {
    pub fn organization_id(&self) -> Option<&OrganizationId> {
        self.organization.as_ref().map(|(id, _)| id)
    }

    /// Everything that decides about what the record grants, limits and may be changed by. It is
    /// the associated data of the tag of the record (invariant 14).
    pub fn encode(&self) -> EncodedRow {
        RowEncoder::new("access_record", 1)
            .text(self.id.as_str())
            .optional(self.organization.as_ref(), |row, (id, generation_id)| {
                row.text(id.as_str()).text(generation_id.as_str())
            })
            .list(&self.principals, |row, principal| {
                row.text(principal.kind().as_str()).text(principal.id()).text(principal.unique_id())
            })
            .list(&self.admins, |row, admin| row.text(admin.user.as_str()).text(admin.generation_id.as_str()))
            .list(&self.statements, |row, Statement { roles, resources }| {
                row.list(roles.iter(), |row, role| row.text(role.as_str()))
                    .list(resources, |row, pattern| row.text(pattern.as_str()))
            })
            .text(&self.granted_by.to_stored())
            .integer(self.version)
            .finish()
    }

    /// Returns whether an operator granted the record: a caller that acts for no user. Users
    /// cannot lift what it limits.
    pub fn is_granted_by_operator(&self) -> bool {
        self.granted_by.kind != USER_KIND
    }

    /// Returns the principals that the record limits: service clients and keys. To a user it gives
    /// resources to grant.
    pub fn limited_principals(&self) -> impl Iterator<Item = &Principal> {
        self.principals.iter().filter(|principal| !matches!(principal, Principal::User(..)))
    }
}

/// The records that a caller may access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordVisibility<'a> {
    /// Every record.
    All,
    /// The records of the organization.
    Organization(&'a OrganizationId),
    /// The records in the tenant scope of the caller that name the user as an admin.
    AdministeredBy(Option<&'a OrganizationId>, &'a GenerationId),
    None,
}

impl<'a> RecordVisibility<'a> {
    /// Returns which records a caller may read and change. `user` is the calling user, or the user
    /// on whose behalf the caller acts.
    pub fn of(authority: &'a CallerPermissions, user: Option<&'a OwnerScope>) -> Self {
        match (&authority.tenant_scope, user.and_then(OwnerScope::generation_id)) {
            (TenantScope::Account, _) if authority.has_permission("keyswap:keys") => Self::All,
            (TenantScope::Tenant { organization: Some(id), .. }, _) if authority.has_permission(MANAGE) => {
                Self::Organization(id)
            }
            (TenantScope::Tenant { organization, .. }, Some(generation_id)) => {
                Self::AdministeredBy(organization.as_ref(), generation_id)
            }
            (TenantScope::Account | TenantScope::Tenant { .. }, _) => Self::None,
        }
    }

    /// Returns whether a record is included. The record must belong to the current generation of
    /// its organization.
    pub fn includes(self, record: &AccessRecord) -> bool {
        match self {
            Self::All => true,
            Self::Organization(id) => record.organization_id() == Some(id),
            Self::AdministeredBy(organization, generation_id) => {
                record.organization_id() == organization
                    && record.admins.iter().any(|admin| admin.generation_id == *generation_id)
            }
            Self::None => false,
        }
    }
}

/// A statement of an access record that applies to a key, with the current permissions of its
/// roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveStatement {
    pub permissions: PermissionSet,
    pub resources: Vec<ResourcePattern>,
}

impl EffectiveStatement {
    /// Returns whether the statement grants the permission on the resource.
    pub fn covers(&self, permission: &PermissionName, resource: &Resource) -> bool {
        self.permissions.contains(permission) && self.resources.iter().any(|pattern| pattern.matches(resource))
    }
}

/// Returns whether the statements grant all the permissions on every resource of the pattern: for
/// each permission, one statement with a pattern that contains it. Without permissions, one of the
/// statements must have such a pattern.
pub fn grants_on_pattern(
    statements: &[EffectiveStatement],
    permissions: &PermissionSet,
    pattern: &ResourcePattern,
) -> bool {
    let of_pattern = || statements.iter().filter(|one| one.resources.iter().any(|held| held.contains(pattern)));
    let is_granted = |permission| of_pattern().any(|statement| statement.permissions.contains(permission));
    of_pattern().next().is_some() && permissions.iter().all(is_granted)
}

/// The `type` of an object that Keyswap writes into `authorization_details` (RFC 9396 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthorizationDetailType {
    #[serde(rename = "urn:keyswap:params:oauth:authorization-details:access")]
    Access,
}

/// What a token authorizes, and on which resources (RFC 9396 §2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuthorizationDetail {
    #[serde(rename = "type")]
    pub kind: AuthorizationDetailType,
    pub actions: PermissionSet,
    pub locations: Vec<ResourcePattern>,
}

/// Reduces the statements that apply to a key to the scope of a token. Statements without a
/// remaining permission and duplicates are omitted.
pub fn build_authorization_details(rules: &[EffectiveStatement], scope: &PermissionSet) -> Vec<AuthorizationDetail> {
    let mut details = Vec::new();
    for rule in rules {
        let actions = rule.permissions.intersection(scope);
        let detail =
            AuthorizationDetail { kind: AuthorizationDetailType::Access, actions, locations: rule.resources.clone() };
        if !detail.actions.is_empty() && !details.contains(&detail) {
            details.push(detail);
        }
    }
    details
}
