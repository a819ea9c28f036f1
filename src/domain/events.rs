//! The audit log: one event for each resource that a change affected. Events are linked by hashes,
//! so that the removal of an event can be detected.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::domain::common::{
    derived_id::PortalSessionId,
    id::{EventId, KeyId, OrganizationId, UserId},
    json::Metadata,
    time::Timestamp,
};

/// The identity that performs an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// An API key, or a token issued from it.
    Key(KeyId),
    /// A session in which a user manages their own keys, and the API key that opened it.
    PortalSession { id: PortalSessionId, opened_by: KeyId },
    /// An operator with shell access to the server.
    Operator,
    /// Keyswap itself, in a scheduled job or at startup.
    System,
}

impl Actor {
    pub fn to_ref(&self) -> ActorRef {
        match self {
            Self::Key(id) => ActorRef { kind: "api_key".to_owned(), id: Some(id.to_string()) },
            Self::PortalSession { id, .. } => ActorRef { kind: "portal_session".to_owned(), id: Some(id.to_string()) },
            Self::Operator => ActorRef { kind: "cli".to_owned(), id: None },
            Self::System => ActorRef { kind: "system".to_owned(), id: None },
        }
    }

    /// Returns the API key that the actor depends on: the key itself, or the opener of the session.
    pub const fn source_key(&self) -> Option<&KeyId> {
        if let Self::Key(id) | Self::PortalSession { opened_by: id, .. } = self { Some(id) } else { None }
    }
}

/// The kind of `ActorRef` that names a user.
pub const USER_KIND: &str = "user";

/// The actor that performed an action, or the object it was performed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Actor)]
pub struct ActorRef {
    #[serde(rename = "type")]
    pub kind: String,
    pub id: Option<String>,
}

impl ActorRef {
    pub fn of_user(user: &UserId) -> Self {
        Self { kind: USER_KIND.to_owned(), id: Some(user.to_string()) }
    }

    /// Returns the stored form: `type` or `type:id`.
    pub fn to_stored(&self) -> String {
        match &self.id {
            Some(id) => format!("{}:{id}", self.kind),
            None => self.kind.clone(),
        }
    }

    pub fn from_stored(text: &str) -> Self {
        match text.split_once(':') {
            Some((kind, id)) => Self { kind: kind.to_owned(), id: Some(id.to_owned()) },
            None => Self { kind: text.to_owned(), id: None },
        }
    }
}

/// Origin of a change: the actor, and the request that contained the change, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub actor: Actor,
    /// The user on whose behalf the actor acts, if any.
    pub on_behalf_of: Option<UserId>,
    pub request_id: Option<String>,
    pub address: Option<String>,
}

impl Origin {
    /// A change that Keyswap makes itself.
    pub const SYSTEM: Self = Self::of(Actor::System);

    pub const fn of(actor: Actor) -> Self {
        Self { actor, on_behalf_of: None, request_id: None, address: None }
    }

    /// Returns the creator to record for what the change creates: the user on whose behalf it is
    /// made, or the actor.
    pub fn creator(&self) -> ActorRef {
        match &self.on_behalf_of {
            Some(user) => ActorRef::of_user(user),
            None => self.actor.to_ref(),
        }
    }
}

/// An event before its position in the audit log is assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    pub kind: EventType,
    pub subject_id: String,
    /// Organization in which the event occurred.
    pub organization: Option<OrganizationId>,
    /// Cause of an event that is only a consequence of another change.
    pub cause: Option<&'static str>,
    /// Ids, numbers and states; never secrets, never profile fields.
    pub data: Map<String, Value>,
}

impl NewEvent {
    pub fn new(kind: EventType, subject_id: impl ToString) -> Self {
        Self { kind, subject_id: subject_id.to_string(), organization: None, cause: None, data: Map::new() }
    }

    #[must_use]
    pub fn with_organization(mut self, organization: Option<&OrganizationId>) -> Self {
        self.organization = organization.cloned();
        self
    }

    #[must_use]
    pub const fn with_cause(mut self, cause: &'static str) -> Self {
        self.cause = Some(cause);
        self
    }

    #[must_use]
    pub fn with_data(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }
}

/// What servers remember from one exchange to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    /// The change is read at each exchange, or does not affect any.
    Nothing,
    /// What many keys share: permissions of roles and service clients, and audiences.
    SharedFacts,
}

macro_rules! define_event_types {
    ($($variant:ident = $name:literal on $subject:literal invalidates $remembered:ident),* $(,)?) => {
        /// Type of an event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum EventType { $($variant),* }

        impl EventType {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the `type` member of the event.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Returns the type of the resource that the event concerns.
            pub const fn subject_type(self) -> &'static str {
                match self { $(Self::$variant => $subject),* }
            }

            /// Returns what servers must no longer remember after such a change.
            pub const fn invalidates(self) -> Remembered {
                match self { $(Self::$variant => Remembered::$remembered),* }
            }
        }
    };
}

define_event_types! {
    ApiKeyCreated = "api_key.created" on "api_key" invalidates Nothing,
    ApiKeyUpdated = "api_key.updated" on "api_key" invalidates Nothing,
    ApiKeyRotated = "api_key.rotated" on "api_key" invalidates Nothing,
    ApiKeySuspended = "api_key.suspended" on "api_key" invalidates Nothing,
    ApiKeyResumed = "api_key.resumed" on "api_key" invalidates Nothing,
    ApiKeyRevoked = "api_key.revoked" on "api_key" invalidates Nothing,
    ApiKeyDeleted = "api_key.deleted" on "api_key" invalidates Nothing,
    ServiceClientCreated = "service_client.created" on "service_client" invalidates SharedFacts,
    ServiceClientUpdated = "service_client.updated" on "service_client" invalidates SharedFacts,
    ServiceClientDeleted = "service_client.deleted" on "service_client" invalidates SharedFacts,
    PermissionCreated = "permission.created" on "permission" invalidates SharedFacts,
    PermissionUpdated = "permission.updated" on "permission" invalidates SharedFacts,
    PermissionDeleted = "permission.deleted" on "permission" invalidates SharedFacts,
    AudienceCreated = "audience.created" on "audience" invalidates SharedFacts,
    AudienceUpdated = "audience.updated" on "audience" invalidates SharedFacts,
    AudienceDeleted = "audience.deleted" on "audience" invalidates SharedFacts,
    SigningKeyPublished = "signing_key.published" on "signing_key" invalidates Nothing,
    SigningKeyActivated = "signing_key.activated" on "signing_key" invalidates Nothing,
    SigningKeyRetired = "signing_key.retired" on "signing_key" invalidates Nothing,
    SigningKeyRemoved = "signing_key.removed" on "signing_key" invalidates Nothing,
    ApiKeyRotationCancelled = "api_key.rotation_cancelled" on "api_key" invalidates Nothing,
    ApiKeyExpiring = "api_key.expiring" on "api_key" invalidates Nothing,
    ApiKeyExpired = "api_key.expired" on "api_key" invalidates Nothing,
    OrganizationCreated = "organization.created" on "organization" invalidates Nothing,
    OrganizationUpdated = "organization.updated" on "organization" invalidates Nothing,
    OrganizationDeleted = "organization.deleted" on "organization" invalidates Nothing,
    UserCreated = "user.created" on "user" invalidates Nothing,
    UserUpdated = "user.updated" on "user" invalidates Nothing,
    UserBlocked = "user.blocked" on "user" invalidates Nothing,
    UserUnblocked = "user.unblocked" on "user" invalidates Nothing,
    UserLocked = "user.locked" on "user" invalidates Nothing,
    UserUnlocked = "user.unlocked" on "user" invalidates Nothing,
    UserDeleted = "user.deleted" on "user" invalidates Nothing,
    MemberCreated = "member.created" on "member" invalidates Nothing,
    MemberUpdated = "member.updated" on "member" invalidates Nothing,
    MemberDeleted = "member.deleted" on "member" invalidates Nothing,
    RoleCreated = "role.created" on "role" invalidates SharedFacts,
    RoleUpdated = "role.updated" on "role" invalidates SharedFacts,
    RoleDeleted = "role.deleted" on "role" invalidates SharedFacts,
    PortalSessionCreated = "portal_session.created" on "portal_session" invalidates Nothing,
    PortalSessionEnded = "portal_session.ended" on "portal_session" invalidates Nothing,
    MasterKeyRegistered = "master_key.registered" on "master_key" invalidates Nothing,
    WebhookCreated = "webhook.created" on "webhook" invalidates Nothing,
    WebhookUpdated = "webhook.updated" on "webhook" invalidates Nothing,
    WebhookDeleted = "webhook.deleted" on "webhook" invalidates Nothing,
    WebhookDisabled = "webhook.disabled" on "webhook" invalidates Nothing,
    WebhookEnabled = "webhook.enabled" on "webhook" invalidates Nothing,
    WebhookSecretRotated = "webhook.secret_rotated" on "webhook" invalidates Nothing,
    AccessRecordCreated = "access_record.created" on "access_record" invalidates Nothing,
    AccessRecordUpdated = "access_record.updated" on "access_record" invalidates Nothing,
    AccessRecordDeleted = "access_record.deleted" on "access_record" invalidates Nothing,
    SigningKeyDestroyed = "signing_key.destroyed" on "signing_key" invalidates Nothing,
    SigningKeyRevoked = "signing_key.revoked" on "signing_key" invalidates Nothing,
    ClockJumped = "clock.jumped" on "clock" invalidates Nothing,
    TokenRevoked = "token.revoked" on "api_key" invalidates Nothing,
    MasterKeyActivated = "master_key.activated" on "master_key" invalidates Nothing,
    MasterKeyRetired = "master_key.retired" on "master_key" invalidates Nothing,
    MasterKeyRemoved = "master_key.removed" on "master_key" invalidates Nothing,
    ConsoleSessionCreated = "console_session.created" on "console_session" invalidates Nothing,
    BrandingUpdated = "branding.updated" on "branding" invalidates Nothing,
    RestoreAccepted = "restore.accepted" on "database" invalidates SharedFacts,
    IntegrityAccepted = "integrity.accepted" on "row" invalidates SharedFacts,
}

impl FromStr for EventType {
    type Err = UnknownEventType;
    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or(UnknownEventType)
    }
}

/// Returned for a text that is not the type of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an event type: use {}", EventType::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", "))]
pub struct UnknownEventType;

/// An event of the audit log.
// The order of the fields is the order in which they are hashed: do not change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    pub id: EventId,
    /// Position in the audit log, in commit order and without gaps.
    pub seq: i64,
    #[serde(rename = "type")]
    #[schema(example = "api_key.created")]
    pub kind: String,
    pub at: Timestamp,
    pub actor: ActorRef,
    pub on_behalf_of: Option<String>,
    pub subject: ActorRef,
    pub organization_id: Option<String>,
    pub cause: Option<String>,
    pub request_id: Option<String>,
    pub address: Option<String>,
    /// Ids, numbers and states. Never contains secrets or profile fields.
    #[schema(value_type = Metadata)]
    pub data: Map<String, Value>,
    /// SHA-256 hash of the previous event in hexadecimal. 64 zeros for the first event.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub prev_hash: String,
}

/// SHA-256. The composition root supplies it, because this layer contains no cryptography.
pub type Digest = fn(&[u8]) -> [u8; 32];

impl Event {
    /// Returns the `prev_hash` of the first event.
    pub fn genesis_hash() -> String {
        "0".repeat(64)
    }

    /// Returns the hash that the next event contains: SHA-256, in hexadecimal, of this event as
    /// compact JSON, with its members in the order of declaration and those of `data` sorted by
    /// name. It covers `prev_hash`, and with it all previous events.
    pub fn hash(&self, digest: Digest) -> Result<String, serde_json::Error> {
        let text = serde_json::to_vec(self)?;
        Ok(digest(&text).iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
