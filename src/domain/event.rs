//! The audit trail: one event for each resource a change touched, linked by hashes, so that no line can be taken out unseen.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    id::{EventId, KeyId, OrganizationId, PortalSessionId, UserId},
    time::Timestamp,
};

/// Who does a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// An API key, or a token made from it.
    Key(KeyId),
    /// A session in which a user manages their own keys.
    PortalSession(PortalSessionId),
    /// Someone with a shell on the server.
    Cli,
    /// Keyswap itself, by the clock or at start.
    System,
}

impl Actor {
    pub fn to_ref(&self) -> ActorRef {
        match self {
            Self::Key(id) => ActorRef { kind: "api_key".to_owned(), id: Some(id.to_string()) },
            Self::PortalSession(id) => ActorRef { kind: "portal_session".to_owned(), id: Some(id.to_string()) },
            Self::Cli => ActorRef { kind: "cli".to_owned(), id: None },
            Self::System => ActorRef { kind: "system".to_owned(), id: None },
        }
    }
}

/// An actor as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorRef {
    #[serde(rename = "type")]
    pub kind: String,
    pub id: Option<String>,
}

impl ActorRef {
    /// The stored form: `type` or `type:id`.
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

/// Where a change came from: an actor, and the request that carried it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub actor: Actor,
    /// The user for whom it is done, where it is not the actor's own business.
    pub on_behalf_of: Option<UserId>,
    pub request_id: Option<String>,
    pub address: Option<String>,
}

impl Origin {
    pub const fn of(actor: Actor) -> Self {
        Self { actor, on_behalf_of: None, request_id: None, address: None }
    }

    /// Who is named as the maker of what the change makes: the user it is done for, or the actor.
    pub fn author(&self) -> ActorRef {
        match &self.on_behalf_of {
            Some(user) => ActorRef { kind: "user".to_owned(), id: Some(user.to_string()) },
            None => self.actor.to_ref(),
        }
    }
}

/// What a change did to a resource, before it has its place in the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    pub kind: EventKind,
    pub subject_id: String,
    /// The organization it happened in.
    pub organization: Option<OrganizationId>,
    /// Because of what, where nobody did it to this very subject.
    pub cause: Option<&'static str>,
    /// Ids, numbers and states; never secrets, never profile fields.
    pub data: Map<String, Value>,
}

impl NewEvent {
    pub fn new(kind: EventKind, subject_id: impl ToString) -> Self {
        Self { kind, subject_id: subject_id.to_string(), organization: None, cause: None, data: Map::new() }
    }

    #[must_use]
    pub fn within(mut self, organization: Option<&OrganizationId>) -> Self {
        self.organization = organization.cloned();
        self
    }

    #[must_use]
    pub const fn because(mut self, cause: &'static str) -> Self {
        self.cause = Some(cause);
        self
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }
}

macro_rules! event_kinds {
    ($($variant:ident = $name:literal on $subject:literal),* $(,)?) => {
        /// What can happen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum EventKind { $($variant),* }

        impl EventKind {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The `type` of the event.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What kind of thing it happened to.
            pub const fn subject_kind(self) -> &'static str {
                match self { $(Self::$variant => $subject),* }
            }
        }
    };
}

event_kinds! {
    ApiKeyCreated = "api_key.created" on "api_key",
    ApiKeyUpdated = "api_key.updated" on "api_key",
    ApiKeyRotated = "api_key.rotated" on "api_key",
    ApiKeySuspended = "api_key.suspended" on "api_key",
    ApiKeyResumed = "api_key.resumed" on "api_key",
    ApiKeyRevoked = "api_key.revoked" on "api_key",
    ApiKeyDeleted = "api_key.deleted" on "api_key",
    ServiceClientCreated = "service_client.created" on "service_client",
    ServiceClientUpdated = "service_client.updated" on "service_client",
    ServiceClientDeleted = "service_client.deleted" on "service_client",
    PermissionCreated = "permission.created" on "permission",
    PermissionUpdated = "permission.updated" on "permission",
    PermissionDeleted = "permission.deleted" on "permission",
    AudienceCreated = "audience.created" on "audience",
    AudienceUpdated = "audience.updated" on "audience",
    AudienceDeleted = "audience.deleted" on "audience",
    SigningKeyPublished = "signing_key.published" on "signing_key",
    SigningKeyActivated = "signing_key.activated" on "signing_key",
    SigningKeyRetired = "signing_key.retired" on "signing_key",
    SigningKeyRemoved = "signing_key.removed" on "signing_key",
    ApiKeyRotationCancelled = "api_key.rotation_cancelled" on "api_key",
    ApiKeyExpiring = "api_key.expiring" on "api_key",
    ApiKeyExpired = "api_key.expired" on "api_key",
    OrganizationCreated = "organization.created" on "organization",
    OrganizationUpdated = "organization.updated" on "organization",
    OrganizationDeleted = "organization.deleted" on "organization",
    UserCreated = "user.created" on "user",
    UserUpdated = "user.updated" on "user",
    UserBlocked = "user.blocked" on "user",
    UserUnblocked = "user.unblocked" on "user",
    UserDeleted = "user.deleted" on "user",
    MemberCreated = "member.created" on "member",
    MemberUpdated = "member.updated" on "member",
    MemberDeleted = "member.deleted" on "member",
    RoleCreated = "role.created" on "role",
    RoleUpdated = "role.updated" on "role",
    RoleDeleted = "role.deleted" on "role",
    PortalSessionCreated = "portal_session.created" on "portal_session",
    PortalSessionEnded = "portal_session.ended" on "portal_session",
    MasterKeyRegistered = "master_key.registered" on "master_key",
    WebhookCreated = "webhook.created" on "webhook",
    WebhookUpdated = "webhook.updated" on "webhook",
    WebhookDeleted = "webhook.deleted" on "webhook",
    WebhookDisabled = "webhook.disabled" on "webhook",
    WebhookEnabled = "webhook.enabled" on "webhook",
    WebhookSecretRotated = "webhook.secret_rotated" on "webhook",
    AccessRecordCreated = "access_record.created" on "access_record",
    AccessRecordUpdated = "access_record.updated" on "access_record",
    AccessRecordDeleted = "access_record.deleted" on "access_record",
    SigningKeyDestroyed = "signing_key.destroyed" on "signing_key",
    SigningKeyRevoked = "signing_key.revoked" on "signing_key",
    ClockJumped = "clock.jumped" on "clock",
    TokenRevoked = "token.revoked" on "api_key",
    MasterKeyActivated = "master_key.activated" on "master_key",
    MasterKeyRetired = "master_key.retired" on "master_key",
    MasterKeyRemoved = "master_key.removed" on "master_key",
    ConsoleSessionCreated = "console_session.created" on "console_session",
    BrandingUpdated = "branding.updated" on "branding",
    RestoreAccepted = "restore.accepted" on "database",
}

/// A line of the audit trail. Its fields stand in the order in which they are hashed: do not reorder them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub id: EventId,
    /// The place in the trail: the order of commit, without gaps.
    pub seq: i64,
    #[serde(rename = "type")]
    pub kind: String,
    pub at: Timestamp,
    pub actor: ActorRef,
    pub on_behalf_of: Option<String>,
    pub subject: ActorRef,
    pub organization_id: Option<String>,
    pub cause: Option<String>,
    pub request_id: Option<String>,
    pub address: Option<String>,
    pub data: Map<String, Value>,
    /// SHA-256 in hex of the event before this one, as `Event::hash` has it; 64 zeros on the first.
    pub prev_hash: String,
}

/// SHA-256, handed in by the composition root: this room names no cryptography.
pub type Digest = fn(&[u8]) -> [u8; 32];

impl Event {
    /// The `prev_hash` of the first event.
    pub fn genesis() -> String {
        "0".repeat(64)
    }

    /// The hash that the next event carries: SHA-256, in hex, over this event as compact JSON, members in the order above and
    /// those of `data` by name. It covers `prev_hash`, and so the whole trail before it.
    ///
    /// # Errors
    /// The event cannot be written as JSON, which no event that was read can be.
    pub fn hash(&self, digest: Digest) -> Result<String, serde_json::Error> {
        let text = serde_json::to_vec(self)?;
        Ok(digest(&text).iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Which way a reader goes through the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// From the beginning, and on to what is added.
    #[default]
    Oldest,
    /// From the end, back to the beginning.
    Newest,
}

impl std::str::FromStr for Order {
    type Err = UnknownOrder;
    fn from_str(text: &str) -> Result<Self, UnknownOrder> {
        match text {
            "oldest" => Ok(Self::Oldest),
            "newest" => Ok(Self::Newest),
            _ => Err(UnknownOrder),
        }
    }
}

/// A text that is no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give oldest or newest")]
pub struct UnknownOrder;

/// What a reader of the trail asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    pub order: Order,
    pub kinds: Vec<String>,
    /// An id, `type:id`, or the type of who has no id: `cli`, `system`.
    pub actor: Option<String>,
    pub subject: Option<String>,
    pub organization: Option<String>,
}
