//! Access records as the service takes them.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::common::{
        id::{OrganizationId, UserId},
        json::deserialize_present,
        name::DisplayName,
    },
    service::access::access_records::requested::{RequestedPrincipal, RequestedStatement},
};

/// An access record to create. A user who creates a record becomes an admin of it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccessRecord {
    pub name: DisplayName,
    /// Defaults to the organization of the caller.
    pub organization_id: Option<OrganizationId>,
    #[schema(min_items = 1, max_items = 64)]
    pub principals: Vec<RequestedPrincipal>,
    #[serde(default)]
    #[schema(value_type = Vec<UserId>, max_items = 64)]
    pub admins: Vec<String>,
    #[schema(min_items = 1, max_items = 32)]
    pub statements: Vec<RequestedStatement>,
}

/// Changes to an access record.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessRecordPatch {
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub name: Option<DisplayName>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false, min_items = 1, max_items = 64)]
    pub principals: Option<Vec<RequestedPrincipal>>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false, value_type = Option<Vec<UserId>>, max_items = 64)]
    pub admins: Option<Vec<String>>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false, min_items = 1, max_items = 32)]
    pub statements: Option<Vec<RequestedStatement>>,
}

/// An access record whose only principal is the object created with it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = FirstAccessRecord)]
#[serde(deny_unknown_fields)]
pub struct InitialAccessRecord {
    pub name: DisplayName,
    #[schema(min_items = 1, max_items = 32)]
    pub statements: Vec<RequestedStatement>,
}
