//! API keys: permissions, limits and a life, held by an owner, proved by a credential.

use serde::Serialize;

use super::{
    api_key_value::{Prefix, masked},
    audience::Identifier,
    event::ActorRef,
    foreign::Masked,
    id::{CredentialId, KeyId, OrganizationId, ServiceClientId, UserId},
    json::Metadata,
    name::DisplayName,
    permission::PermissionSet,
    standing::{Gone, Ownership, Standing},
    time::{Span, Timestamp},
};

/// Who holds a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Within an organization or not: the key's home says which.
    User(UserId),
    Organization(OrganizationId),
    ServiceClient(ServiceClientId),
    /// A generic key: it stands for itself.
    Nobody,
}

/// The kinds of owners, as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerType {
    User,
    Organization,
    ServiceClient,
    None,
}

impl OwnerType {
    pub const ALL: [Self; 4] = [Self::User, Self::Organization, Self::ServiceClient, Self::None];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Organization => "organization",
            Self::ServiceClient => "service_client",
            Self::None => "none",
        }
    }
}

impl std::str::FromStr for OwnerType {
    type Err = InvalidOwnerType;
    fn from_str(text: &str) -> Result<Self, InvalidOwnerType> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(InvalidOwnerType)
    }
}

/// A text that is no kind of owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an owner is a user, organization, service_client or none")]
pub struct InvalidOwnerType;

impl Owner {
    pub const fn kind(&self) -> OwnerType {
        match self {
            Self::User(_) => OwnerType::User,
            Self::Organization(_) => OwnerType::Organization,
            Self::ServiceClient(_) => OwnerType::ServiceClient,
            Self::Nobody => OwnerType::None,
        }
    }

    pub fn id(&self) -> Option<&str> {
        match self {
            Self::User(id) => Some(id.as_str()),
            Self::Organization(id) => Some(id.as_str()),
            Self::ServiceClient(id) => Some(id.as_str()),
            Self::Nobody => None,
        }
    }
}

/// Which keys a list shows, of those its reader may see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFilter {
    pub owner_type: Option<OwnerType>,
    pub service_client: Option<ServiceClientId>,
    /// Everything within an organization, its members' own keys included.
    pub organization: Option<OrganizationId>,
    pub user: Option<UserId>,
    pub state: Option<State>,
    /// Neither made nor used since then: candidates for revocation.
    pub unused_since: Option<Timestamp>,
    /// Deleted keys, and no other.
    pub archived: bool,
}

/// What is written on a key about its life. Expiry is not: it follows from the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    pub suspended_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
}

impl Life {
    /// The state at `now`, by the database's clock. The gravest word wins: a revoked key stays revoked when it expires.
    pub fn state(&self, now: Timestamp) -> State {
        if self.revoked_at.is_some() {
            State::Revoked
        } else if self.expires_at.is_some_and(|end| end <= now) {
            State::Expired
        } else if self.suspended_at.is_some() {
            State::Suspended
        } else {
            State::Active
        }
    }
}

/// Keys by their state, those of deleted ones left out. What became of an owner is not looked at: that would read every key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyCounts {
    pub active: i64,
    pub suspended: i64,
    pub expired: i64,
    pub revoked: i64,
    /// Active ones that expire soon.
    pub expiring: i64,
}

/// What a key is now, with its owner's standing: the key of a blocked user is suspended for as long as the user is blocked, and that of
/// an owner who is gone is revoked. The second is why, where it is not what is written on the key.
pub fn state(life: &Life, standing: &Standing, now: Timestamp) -> (State, Option<Reason>) {
    match (life.state(now), standing) {
        (own @ State::Revoked, _) | (own @ (State::Expired | State::Suspended | State::Active), Standing::Good(_)) => {
            (own, None)
        }
        (_, Standing::Gone(gone)) => (State::Revoked, Some(Reason::Gone(*gone))),
        (own @ (State::Expired | State::Suspended), Standing::Blocked) => (own, None),
        (State::Active, Standing::Blocked) => (State::Suspended, Some(Reason::UserBlocked)),
    }
}

/// Why a key does not work though nothing is written on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    UserBlocked,
    Gone(Gone),
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserBlocked => "user_blocked",
            Self::Gone(gone) => gone.as_str(),
        }
    }
}

/// What a key is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Active,
    Suspended,
    Revoked,
    Expired,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

impl std::str::FromStr for State {
    type Err = InvalidState;
    fn from_str(text: &str) -> Result<Self, InvalidState> {
        match text {
            "active" => Ok(Self::Active),
            "suspended" => Ok(Self::Suspended),
            "revoked" => Ok(Self::Revoked),
            "expired" => Ok(Self::Expired),
            _ => Err(InvalidState),
        }
    }
}

/// A text that is no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a state is active, suspended, revoked or expired")]
pub struct InvalidState;

/// What proves a key: one, or two while it rotates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub id: CredentialId,
    pub prefix: Prefix,
    /// What is shown of a key of another make; absent for our own.
    pub masked: Option<Masked>,
    pub created_at: Timestamp,
    /// When its grace ends; absent on the credential in use.
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
}

/// The limits that are set on a key, beside its permissions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyLimits {
    pub expires_at: Option<Timestamp>,
    pub max_token_ttl: Option<Span>,
    pub exchanges_per_minute: Option<u32>,
    pub audiences: Option<Vec<Identifier>>,
}

impl KeyLimits {
    /// The members in which `other` goes further: a later end, longer tokens, more exchanges, or further audiences.
    pub fn exceeded_by(&self, other: &Self) -> Vec<&'static str> {
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

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: KeyId,
    pub name: DisplayName,
    pub ownership: Ownership,
    pub permissions: PermissionSet,
    /// Absent: any audience.
    pub audiences: Option<Vec<Identifier>>,
    pub metadata: Metadata,
    pub max_token_ttl: Option<Span>,
    /// The most exchanges in a minute; absent: no limit.
    pub exchanges_per_minute: Option<u32>,
    pub life: Life,
    /// Set once it was deleted: out of sight, and still on the list of archived keys.
    pub archived_at: Option<Timestamp>,
    /// Newest first; only those that still prove the key.
    pub credentials: Vec<Credential>,
    pub created_at: Timestamp,
    pub created_by: ActorRef,
    pub version: i64,
}

impl ApiKey {
    pub fn limits(&self) -> KeyLimits {
        KeyLimits {
            expires_at: self.life.expires_at,
            max_token_ttl: self.max_token_ttl,
            exchanges_per_minute: self.exchanges_per_minute,
            audiences: self.audiences.clone(),
        }
    }

    /// What may be shown of the credential in use.
    pub fn masked(&self) -> Option<String> {
        self.credentials.first().map(|newest| match &newest.masked {
            Some(foreign) => foreign.to_string(),
            None => masked(&newest.prefix, &newest.id),
        })
    }

    pub fn last_used_at(&self) -> Option<Timestamp> {
        self.credentials.iter().filter_map(|credential| credential.last_used_at).max()
    }
}
