//! API keys: permissions, limits and lifecycle of a key, its owner and its credentials.

use serde::Serialize;

use crate::domain::{
    access::{
        audience::Identifier,
        owner::OwnerType,
        owner_status::{Deleted, OwnerStatus, Ownership},
        permission::PermissionSet,
    },
    common::{
        derived_id::CredentialId,
        id::{KeyId, OrganizationId, ServiceClientId, UserId},
        json::Metadata,
        name::DisplayName,
        time::{Span, Timestamp},
    },
    credentials::{
        format::{Prefix, masked_value},
        imported::MaskedKey,
    },
    events::ActorRef,
};

/// Filter for a list of keys, applied to the keys that the caller may see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFilter {
    pub owner_type: Option<OwnerType>,
    pub service_client: Option<ServiceClientId>,
    /// All keys within the organization, including the personal keys of its members.
    pub organization: Option<OrganizationId>,
    pub user: Option<UserId>,
    pub state: Option<KeyState>,
    /// Keys neither created nor used since this time: candidates for revocation.
    pub unused_since: Option<Timestamp>,
    /// Whether the list contains only deleted keys, or only keys that are not deleted.
    pub only_archived: bool,
}

/// Stored lifecycle data of a key. Expiration is not stored as a state: it follows from
/// `expires_at` and the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        } else if self.expires_at.is_some_and(|end| end <= now) {
            KeyState::Expired
        } else if self.suspended_at.is_some() {
            KeyState::Suspended
        } else {
            KeyState::Active
        }
    }
}

/// Number of keys by state, without deleted keys. The owner status is not considered, because that
/// would require reading every key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyCounts {
    pub active: i64,
    pub suspended: i64,
    pub expired: i64,
    pub revoked: i64,
    /// Active keys that expire soon, within the period given to the query.
    pub expiring_soon: i64,
}

/// Returns the effective state of a key with the given owner status. The key of a blocked user is
/// suspended while the user is blocked, and the key of a deleted owner is revoked. The second value
/// is the reason if the state does not follow from the stored data of the key.
pub fn state(lifecycle: &KeyLifecycle, standing: &OwnerStatus, now: Timestamp) -> (KeyState, Option<StateReason>) {
    match (lifecycle.state(now), standing) {
        (own @ KeyState::Revoked, _)
        | (own @ (KeyState::Expired | KeyState::Suspended | KeyState::Active), OwnerStatus::Good(_)) => (own, None),
        (_, OwnerStatus::Deleted(gone)) => (KeyState::Revoked, Some(StateReason::Deleted(*gone))),
        (own @ (KeyState::Expired | KeyState::Suspended), OwnerStatus::Blocked) => (own, None),
        (KeyState::Active, OwnerStatus::Blocked) => (KeyState::Suspended, Some(StateReason::UserBlocked)),
    }
}

/// Reason why a key does not work that follows from its owner, not from its stored data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateReason {
    UserBlocked,
    Deleted(Deleted),
}

impl StateReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserBlocked => "user_blocked",
            Self::Deleted(gone) => gone.as_str(),
        }
    }
}

/// Effective state of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    Active,
    Suspended,
    Revoked,
    Expired,
}

impl KeyState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

impl std::str::FromStr for KeyState {
    type Err = InvalidKeyState;
    fn from_str(text: &str) -> Result<Self, InvalidKeyState> {
        match text {
            "active" => Ok(Self::Active),
            "suspended" => Ok(Self::Suspended),
            "revoked" => Ok(Self::Revoked),
            "expired" => Ok(Self::Expired),
            _ => Err(InvalidKeyState),
        }
    }
}

/// Returned for a text that is not a state of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state must be active, suspended, revoked or expired")]
pub struct InvalidKeyState;

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

/// Limits of a key besides its permissions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyLimits {
    pub expires_at: Option<Timestamp>,
    pub max_token_ttl: Option<Span>,
    pub exchanges_per_minute: Option<u32>,
    pub audiences: Option<Vec<Identifier>>,
}

impl KeyLimits {
    /// Returns the fields in which `other` exceeds these limits: a later expiration, a longer token
    /// lifetime, more exchanges per minute, or additional audiences.
    pub fn fields_exceeded_by(&self, other: &Self) -> Vec<&'static str> {
        fn longer<T: PartialOrd>(own: Option<T>, other: Option<T>) -> bool {
            own.is_some_and(|own| other.is_none_or(|other| other > own))
        }
        let further = match (&self.audiences, &other.audiences) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(own), Some(other)) => other.iter().any(|audience| !own.contains(audience)),
        };
        let members = [
            ("expires_at", longer(self.expires_at, other.expires_at)),
            ("max_token_ttl", longer(self.max_token_ttl, other.max_token_ttl)),
            ("exchanges_per_minute", longer(self.exchanges_per_minute, other.exchanges_per_minute)),
            ("audiences", further),
        ];
        members.into_iter().filter_map(|(name, exceeds)| exceeds.then_some(name)).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: KeyId,
    pub name: DisplayName,
    pub ownership: Ownership,
    pub permissions: PermissionSet,
    /// `None` allows any audience.
    pub audiences: Option<Vec<Identifier>>,
    pub metadata: Metadata,
    pub max_token_ttl: Option<Span>,
    /// Maximum number of exchanges per minute; `None` for no limit.
    pub exchanges_per_minute: Option<u32>,
    pub lifecycle: KeyLifecycle,
    /// When the key was deleted. A deleted key is hidden, but remains in the list of archived keys.
    pub archived_at: Option<Timestamp>,
    /// Credentials that are still accepted, newest first.
    pub credentials: Vec<Credential>,
    pub created_at: Timestamp,
    pub created_by: ActorRef,
    pub version: i64,
}

impl ApiKey {
    pub fn limits(&self) -> KeyLimits {
        KeyLimits {
            expires_at: self.lifecycle.expires_at,
            max_token_ttl: self.max_token_ttl,
            exchanges_per_minute: self.exchanges_per_minute,
            audiences: self.audiences.clone(),
        }
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
