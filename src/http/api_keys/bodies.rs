//! Bodies of API keys.

use crate::{
    domain::{
        access::{audience::Identifier, owner::OwnerType, owner_status::Ownership, permission::PermissionSet},
        common::{
            derived_id::CredentialId,
            id::{KeyId, OrganizationId},
            json::{Metadata, deserialize_present},
            name::{Description, DisplayName},
            time::{Span, Timestamp},
        },
        credentials::api_key::{ApiKey, ApiKeyAttributes, Credential, KeyState, StateReason},
        events::ActorRef,
    },
    http::response::impl_resource,
    service::{
        access::access_records::InitialAccessRecord,
        api_keys::{
            DEFAULT_GRACE, RequestedOwner,
            revoke::{Descendants, RevokedKey},
            types::{ApiKeyView, Import, IssuedApiKey, NewApiKey},
        },
    },
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An API key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub struct ApiKeyBody {
    id: KeyId,
    name: DisplayName,
    description: Option<Description>,
    masked: Option<String>,
    owner: OwnerBody,
    permissions: PermissionSet,
    audiences: Option<Vec<Identifier>>,
    metadata: Metadata,
    max_token_ttl: Option<Span>,
    #[schema(minimum = 1, maximum = 1000000)]
    exchanges_per_minute: Option<u32>,
    /// Whether its tokens for services have `authorization_details` instead of a scope.
    record_bound: bool,
    state: KeyState,
    /// Why the key does not work, if the cause is its owner, who is blocked or deleted. Null if the
    /// key works or the cause is recorded on the key itself.
    state_reason: Option<&'static str>,
    credentials: Vec<CredentialBody>,
    created_at: Timestamp,
    created_by: ActorRef,
    expires_at: Option<Timestamp>,
    archived_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
    version: i64,
    /// The complete key. Present only in the responses to create and rotate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    value: Option<String>,
    /// The keys that were revoked with this key, or would be. Present only in the responses to a
    /// revocation with `descendants`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    descendants: Option<DescendantsBody>,
}

/// Keys that were created with an API key, or with such keys.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Descendants)]
pub(crate) struct DescendantsBody {
    #[schema(max_items = 500)]
    keys: Vec<DescendantBody>,
    /// Keys whose rows were altered outside of Keyswap. They are refused everywhere and were not
    /// revoked: an operator decides about them on the server.
    altered: Vec<KeyId>,
    /// Whether there are more. Repeat the request to revoke them.
    more: bool,
}

/// A key that was created with another key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Descendant)]
struct DescendantBody {
    id: KeyId,
    name: DisplayName,
    owner: OwnerBody,
}

/// The owner of an API key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKeyOwner)]
pub(crate) struct OwnerBody {
    #[serde(rename = "type")]
    kind: OwnerType,
    id: Option<String>,
    organization_id: Option<OrganizationId>,
}

/// A credential of an API key. A key has one credential, or two during a rotation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Credential)]
pub(crate) struct CredentialBody {
    id: CredentialId,
    /// During a rotation, the older credential was replaced when the newer one was created.
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
}

impl_resource!(ApiKeyBody, "/v1/api-keys/{}", id; shown_once "value", "descendants");

impl From<IssuedApiKey> for ApiKeyBody {
    fn from(IssuedApiKey { api_key, value }: IssuedApiKey) -> Self {
        Self::new(api_key, Some(value.expose()))
    }
}

impl From<ApiKeyView> for ApiKeyBody {
    fn from(api_key: ApiKeyView) -> Self {
        Self::new(api_key, None)
    }
}

impl ApiKeyBody {
    pub fn new(api_key: ApiKeyView, value: Option<&str>) -> Self {
        let (masked, last_used_at) = (api_key.key.masked_value(), api_key.key.last_used_at());
        let key = api_key.key;
        let attributes = key.attributes;
        Self {
            id: key.id,
            name: attributes.name,
            description: attributes.description,
            masked,
            owner: OwnerBody::of(&key.ownership),
            permissions: attributes.permissions,
            audiences: attributes.audiences,
            metadata: attributes.metadata,
            max_token_ttl: attributes.max_token_ttl,
            exchanges_per_minute: attributes.exchanges_per_minute,
            record_bound: attributes.record_bound,
            state: api_key.state,
            state_reason: api_key.reason.map(StateReason::as_str),
            credentials: key.credentials.into_iter().map(CredentialBody::from).collect(),
            created_at: key.created_at,
            created_by: key.created_by,
            expires_at: attributes.expires_at,
            archived_at: key.archived_at,
            last_used_at,
            version: key.version,
            value: value.map(str::to_owned),
            descendants: None,
        }
    }
}

impl From<RevokedKey> for ApiKeyBody {
    fn from(RevokedKey { view, descendants }: RevokedKey) -> Self {
        let descendants = descendants.map(|Descendants { keys, altered, more }| DescendantsBody {
            keys: keys.into_iter().map(DescendantBody::from).collect(),
            altered,
            more,
        });
        Self { descendants, ..view.into() }
    }
}

impl From<ApiKey> for DescendantBody {
    fn from(ApiKey { id, attributes, ownership, .. }: ApiKey) -> Self {
        Self { id, name: attributes.name, owner: OwnerBody::of(&ownership) }
    }
}

impl OwnerBody {
    fn of(ownership: &Ownership) -> Self {
        Self {
            kind: ownership.owner.kind(),
            id: ownership.owner.id().map(str::to_owned),
            organization_id: ownership.owner_scope.organization().cloned(),
        }
    }
}

impl From<Credential> for CredentialBody {
    fn from(Credential { id, created_at, expires_at, last_used_at, .. }: Credential) -> Self {
        Self { id, created_at, expires_at, last_used_at }
    }
}

/// An API key to create.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewApiKey)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    pub(crate) name: DisplayName,
    pub(crate) description: Option<Description>,
    /// Defaults to the organization or the user that calls.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub(crate) owner: Option<RequestedOwner>,
    #[serde(default)]
    pub(crate) permissions: PermissionSet,
    pub(crate) audiences: Option<Vec<Identifier>>,
    #[serde(default)]
    pub(crate) metadata: Metadata,
    pub(crate) max_token_ttl: Option<Span>,
    #[schema(minimum = 1, maximum = 1000000)]
    pub(crate) exchanges_per_minute: Option<u32>,
    /// Whether its tokens for services have `authorization_details` instead of a scope.
    #[serde(default)]
    pub(crate) record_bound: bool,
    pub(crate) expires_at: Option<Timestamp>,
    /// An imported key, which keeps its value. The response then contains no value.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub(crate) import: Option<Import>,
    /// An access record for the key. Either both are created or neither is.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub(crate) access_record: Option<InitialAccessRecord>,
}

impl CreateBody {
    pub(crate) fn into_key(self) -> NewApiKey {
        let attributes = ApiKeyAttributes {
            name: self.name,
            description: self.description,
            permissions: self.permissions,
            audiences: self.audiences,
            metadata: self.metadata,
            max_token_ttl: self.max_token_ttl,
            exchanges_per_minute: self.exchanges_per_minute,
            record_bound: self.record_bound,
            expires_at: self.expires_at,
        };
        NewApiKey { owner: self.owner, attributes, access_record: self.access_record }
    }
}

/// How long the old credential keeps working after a rotation.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Rotation)]
#[serde(deny_unknown_fields)]
pub struct RotateBody {
    #[serde(default = "RotateBody::default_grace")]
    pub(crate) grace: Span,
}

impl RotateBody {
    const fn default_grace() -> Span {
        DEFAULT_GRACE
    }
}

impl Default for RotateBody {
    fn default() -> Self {
        Self { grace: Self::default_grace() }
    }
}
