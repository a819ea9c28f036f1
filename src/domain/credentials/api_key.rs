//! API keys: permissions, limits and lifecycle of a key, its owner and its credentials.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::{
    access::{
        audience::Identifier,
        owner::OwnerType,
        owner_status::{DeletionCause, OwnerStatus, Ownership},
        permission::PermissionSet,
    },
    common::{
        derived_id::CredentialId,
        id::{KeyId, OrganizationId, ServiceClientId, UserId},
        json::{InvalidMetadata, Metadata, MetadataPatch, deserialize_nullable, deserialize_present},
        name::{Description, DisplayName},
        text::text_enum,
        time::{Span, Timestamp},
    },
    credentials::{
        creator::CreatorFilter,
        format::{Prefix, masked_value},
        imported::MaskedKey,
        key_limits::KeyLimits,
    },
    events::ActorRef,
};

/// Filters of the list of API keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct KeyFilter {
    /// Only keys with this type of owner.
    pub owner_type: Option<OwnerType>,
    /// Only keys of this service client.
    pub service_client: Option<ServiceClientId>,
    /// Only keys within this organization, including those of its members.
    pub organization: Option<OrganizationId>,
    /// Only keys of this user.
    pub user: Option<UserId>,
    /// Only keys in this state.
    pub state: Option<KeyState>,
    /// Only keys that this principal created: `user:<id>`, `cli`, `system`, or the id of the API
    /// key that they were created with, also on behalf of users and in portal sessions.
    #[param(value_type = Option<String>, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    pub created_by: Option<CreatorFilter>,
    /// Only keys neither created nor used since this time.
    pub unused_since: Option<Timestamp>,
    /// Whether to list deleted keys instead of existing ones.
    #[serde(rename = "archived", default)]
    pub only_archived: bool,
}

/// Stored lifecycle data of a key. Expiration is not stored as a state: it follows from
/// `expires_at` and the clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyLifecycle {
    pub suspended_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
}

impl KeyLifecycle {
    /// Returns the state at `now`, by the database clock. If several apply, the order is revoked,
    /// expired, suspended: a revoked key remains revoked after it expires.
    pub fn state(&self, now: Timestamp) -> KeyState {
        if self.revoked_at.is_some() {
            KeyState::Revoked
        } else if self.is_expired(now) {
            KeyState::Expired
        } else if self.suspended_at.is_some() {
            KeyState::Suspended
        } else {
            KeyState::Active
        }
    }

    /// Returns whether the expiration has passed, also of a revoked key.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// Returns the effective state of a key with the given owner status. The key of a blocked user is
/// suspended while the user is blocked, and the key of a deleted owner is revoked. The second value
/// is the reason if the state does not follow from the stored data of the key.
pub fn state(lifecycle: &KeyLifecycle, owner_status: &OwnerStatus, now: Timestamp) -> (KeyState, Option<StateReason>) {
    match (lifecycle.state(now), owner_status) {
        (own @ KeyState::Revoked, _)
        | (own @ (KeyState::Expired | KeyState::Suspended | KeyState::Active), OwnerStatus::Active(_)) => (own, None),
        (_, OwnerStatus::Deleted(cause)) => (KeyState::Revoked, Some(StateReason::Deleted(*cause))),
        (own @ (KeyState::Expired | KeyState::Suspended), OwnerStatus::Blocked) => (own, None),
        (KeyState::Active, OwnerStatus::Blocked) => (KeyState::Suspended, Some(StateReason::UserBlocked)),
    }
}

/// Reason why a key does not work that follows from its owner, not from its stored data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateReason {
    UserBlocked,
    Deleted(DeletionCause),
}

impl StateReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserBlocked => "user_blocked",
            Self::Deleted(cause) => cause.as_str(),
        }
    }
}

text_enum! {
    /// Effective state of a key.
    #[derive(Serialize, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum KeyState {
        Active = "active",
        Suspended = "suspended",
        Revoked = "revoked",
        Expired = "expired",
    }

    #[error("the state must be active, suspended, revoked or expired")]
    pub struct InvalidKeyState;
}

/// A credential of a key, without its secret. A key has one, or two during the grace of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub id: CredentialId,
    pub prefix: Prefix,
    /// Masked form of an imported key; `None` for a key generated by Keyswap.
    pub masked_value: Option<MaskedKey>,
    pub created_at: Timestamp,
    /// End of its grace; `None` for the current credential.
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
}

/// The first API key of a new service client.
// What a client chooses for any key: given when it is created, and changed by a patch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = FirstApiKey)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyAttributes {
    pub name: DisplayName,
    pub description: Option<Description>,
    #[serde(default)]
    pub permissions: PermissionSet,
    // `None` allows any audience.
    pub audiences: Option<Vec<Identifier>>,
    #[serde(default)]
    pub metadata: Metadata,
    pub max_token_ttl: Option<Span>,
    // Maximum number of exchanges per minute; `None` for no limit.
    #[schema(minimum = 1, maximum = 1000000)]
    pub exchanges_per_minute: Option<u32>,
    // Whether its tokens for services have `authorization_details` instead of a scope.
    #[serde(default)]
    pub record_bound: bool,
    pub expires_at: Option<Timestamp>,
}

/// Changes to an API key.
// `None` leaves an attribute unchanged, `Some(None)` removes it.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyPatch {
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub name: Option<DisplayName>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    pub description: Option<Option<Description>>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub permissions: Option<PermissionSet>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    pub audiences: Option<Option<Vec<Identifier>>>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false, value_type = Option<Metadata>)]
    pub metadata: Option<MetadataPatch>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    pub max_token_ttl: Option<Option<Span>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000000)]
    pub exchanges_per_minute: Option<Option<u32>>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub record_bound: Option<bool>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    pub expires_at: Option<Option<Timestamp>>,
}

impl ApiKeyAttributes {
    pub fn new(name: DisplayName) -> Self {
        Self {
            name,
            description: None,
            permissions: PermissionSet::default(),
            audiences: None,
            metadata: Metadata::default(),
            max_token_ttl: None,
            exchanges_per_minute: None,
            record_bound: false,
            expires_at: None,
        }
    }

    pub fn apply(&mut self, patch: ApiKeyPatch) -> Result<(), InvalidMetadata> {
        fn set<T>(attribute: &mut T, patch: Option<T>) {
            if let Some(value) = patch {
                *attribute = value;
            }
        }
        set(&mut self.name, patch.name);
        set(&mut self.description, patch.description);
        set(&mut self.permissions, patch.permissions);
        set(&mut self.audiences, patch.audiences);
        if let Some(metadata) = patch.metadata {
            self.metadata = metadata.apply(&self.metadata)?;
        }
        set(&mut self.max_token_ttl, patch.max_token_ttl);
        set(&mut self.exchanges_per_minute, patch.exchanges_per_minute);
        set(&mut self.record_bound, patch.record_bound);
        set(&mut self.expires_at, patch.expires_at);
        Ok(())
    }

    /// Returns the names of the attributes that differ, for the event of a change.
    pub fn changed_member_names(&self, before: &Self) -> Vec<&'static str> {
        let attributes = [
            ("name", self.name != before.name),
            ("description", self.description != before.description),
            ("permissions", self.permissions != before.permissions),
            ("audiences", self.audiences != before.audiences),
            ("metadata", self.metadata != before.metadata),
            ("max_token_ttl", self.max_token_ttl != before.max_token_ttl),
            ("exchanges_per_minute", self.exchanges_per_minute != before.exchanges_per_minute),
            ("record_bound", self.record_bound != before.record_bound),
            ("expires_at", self.expires_at != before.expires_at),
        ];
        attributes.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }

    pub fn limits(&self) -> KeyLimits {
        KeyLimits {
            expires_at: self.expires_at,
            max_token_ttl: self.max_token_ttl,
            exchanges_per_minute: self.exchanges_per_minute,
            audiences: self.audiences.clone(),
            record_bound: self.record_bound,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: KeyId,
    pub attributes: ApiKeyAttributes,
    pub ownership: Ownership,
    pub suspended_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// When the key was deleted. It is hidden, but remains in the list of archived keys.
    pub archived_at: Option<Timestamp>,
    /// Credentials that are still accepted, newest first.
    pub credentials: Vec<Credential>,
    pub created_at: Timestamp,
    pub created_by: ActorRef,
    pub version: i64,
}

impl ApiKey {
    pub fn lifecycle(&self) -> KeyLifecycle {
        let (suspended_at, revoked_at) = (self.suspended_at, self.revoked_at);
        KeyLifecycle { suspended_at, revoked_at, expires_at: self.attributes.expires_at }
    }

    /// Returns the masked form of the current credential.
    pub fn masked_value(&self) -> Option<String> {
        self.credentials.first().map(|newest| match &newest.masked_value {
            Some(masked) => masked.to_string(),
            None => masked_value(&newest.prefix, &newest.id),
        })
    }

    pub fn last_used_at(&self) -> Option<Timestamp> {
        self.credentials.iter().filter_map(|credential| credential.last_used_at).max()
    }
}
