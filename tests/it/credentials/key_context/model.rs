//! An in-memory directory and the decisions that follow from it, written from the design alone
//! (section 2, section 3.3 and invariants 1, 2 and 12) with plain strings and sets.

use std::collections::{BTreeMap, BTreeSet};

pub type Set = BTreeSet<String>;

/// Identifies an object beyond its id: an object that is deleted and recreated under the same id
/// has a different serial.
pub type Serial = String;

#[derive(Debug, Default)]
pub struct Model {
    /// The database clock, in milliseconds since 1970. It does not advance.
    pub now: i64,
    /// The permissions. The value states whether organization keys may carry the permission.
    pub permissions: BTreeMap<String, bool>,
    pub roles: BTreeMap<String, Set>,
    pub organizations: BTreeMap<String, Serial>,
    pub users: BTreeMap<String, User>,
    /// By organization and user. Former members and members of deleted organizations are removed.
    pub members: BTreeMap<(String, String), Member>,
    pub clients: BTreeMap<String, Client>,
    pub keys: BTreeMap<String, Key>,
    pub records: BTreeMap<String, Record>,
    pub audiences: BTreeMap<String, Audience>,
}

#[derive(Debug, Clone)]
pub struct User {
    pub serial: Serial,
    pub blocked: bool,
    pub roles: Set,
}

#[derive(Debug, Clone)]
pub struct Member {
    pub serial: Serial,
    pub roles: Set,
}

/// The owner of a key or of a service client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Account,
    Organization { id: String, serial: Serial },
    User { id: String, serial: Serial },
    Member { organization: String, user: String, serial: Serial },
}

impl Scope {
    pub fn organization(&self) -> Option<&String> {
        match self {
            Self::Organization { id, .. } | Self::Member { organization: id, .. } => Some(id),
            Self::Account | Self::User { .. } => None,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Client {
    pub owner_scope: Scope,
    pub permissions: Set,
    pub deleted: bool,
}

#[derive(Debug, Clone)]
pub struct Key {
    /// The service client that owns the key, if any.
    pub client: Option<String>,
    pub owner_scope: Scope,
    /// The member who created an organization's key.
    pub maker: Option<(String, Serial)>,
    pub permissions: Set,
    pub audiences: Option<Vec<String>>,
    pub max_token_ttl: Option<i64>,
    pub exchanges_per_minute: Option<u32>,
    pub suspended: bool,
    pub revoked: bool,
    pub archived: bool,
    pub expires_at: Option<i64>,
    /// Oldest first.
    pub credentials: Vec<Credential>,
}

#[derive(Debug, Clone)]
pub struct Credential {
    pub id: String,
    pub ends_at: Option<i64>,
    /// The lookup value of an imported key.
    pub lookup: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Record {
    /// The organization that contains the record, if any.
    pub organization: Option<(String, Serial)>,
    pub principals: Vec<Principal>,
    pub statements: Vec<(Set, Vec<String>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A user outside organizations, or a membership.
    User(String, Serial),
    Client(String),
    Key(String),
}

#[derive(Debug, Clone)]
pub struct Audience {
    /// `None` accepts all permissions of the host application.
    pub accepts: Option<Set>,
    pub ttl: Option<i64>,
}

/// The current status and permissions of an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Only the key's own permissions apply.
    Unbounded,
    Holds(Set),
    Blocked,
    Gone,
}

/// The parameters of an exchange request.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    pub scope: Option<Set>,
    pub audiences: Vec<String>,
}

/// The result of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Granted {
        scope: Set,
        access: BTreeSet<(Set, Vec<String>)>,
        expires_at: i64,
    },
    BadKey,
    BadTarget,
    /// The permissions not granted, each with the first rule that removes it.
    BadScope(BTreeMap<String, &'static str>),
}

pub const DEFAULT_AUDIENCE: &str = "http://keyswap.test";
/// In seconds.
pub const DEFAULT_TTL: i64 = 600;
pub const MAX_TTL: i64 = 3600;
