//! A directory in memory, and what follows from it: written from the design alone (section 2,
//! section 3.3 and rules 1, 2 and 12), in plain texts and sets.

use std::collections::{BTreeMap, BTreeSet};

pub type Set = BTreeSet<String>;

/// What becomes of a thing that is deleted: another one under the same id is not the same thing,
/// and has another serial.
pub type Serial = String;

#[derive(Debug, Default)]
pub struct Model {
    /// The database's clock, in milliseconds since 1970; it stands still.
    pub now: i64,
    /// The catalog: whether organization keys may carry the permission.
    pub permissions: BTreeMap<String, bool>,
    pub roles: BTreeMap<String, Set>,
    pub organizations: BTreeMap<String, Serial>,
    pub users: BTreeMap<String, User>,
    /// By organization and user. Who leaves is not in it, nor who was a member of an organization
    /// that was deleted.
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

/// Who stands behind a key or a service client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    Account,
    Organization { id: String, serial: Serial },
    User { id: String, serial: Serial },
    Member { organization: String, user: String, serial: Serial },
}

impl Home {
    pub fn organization(&self) -> Option<&String> {
        match self {
            Self::Organization { id, .. } | Self::Member { organization: id, .. } => Some(id),
            Self::Account | Self::User { .. } => None,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Client {
    pub home: Home,
    pub permissions: Set,
    pub deleted: bool,
}

#[derive(Debug, Clone)]
pub struct Key {
    /// The service client that owns it, where one does.
    pub client: Option<String>,
    pub home: Home,
    /// The member who made an organization's key.
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
    /// Of an imported key.
    pub lookup: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Record {
    /// The organization it is within.
    pub organization: Option<(String, Serial)>,
    pub principals: Vec<Principal>,
    pub statements: Vec<(Set, Vec<String>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A user outside any organization, or a membership.
    User(String, Serial),
    Client(String),
    Key(String),
}

#[derive(Debug, Clone)]
pub struct Audience {
    /// All permissions of the product where there is no list.
    pub accepts: Option<Set>,
    pub ttl: Option<i64>,
}

/// What an owner can do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The key's own permissions are the only bound.
    Unbounded,
    Holds(Set),
    Blocked,
    Gone,
}

/// What is asked of an exchange.
#[derive(Debug, Clone)]
pub struct Asked {
    pub scope: Option<Set>,
    pub audiences: Vec<String>,
}

/// What an exchange answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Granted {
        scope: Set,
        access: BTreeSet<(Set, Vec<String>)>,
        expires_at: i64,
    },
    BadKey,
    BadTarget,
    /// Permissions that are not granted, each with the first rule that removes it.
    BadScope(BTreeMap<String, &'static str>),
}

pub const DEFAULT_AUDIENCE: &str = "http://keyswap.test";
/// Seconds.
pub const DEFAULT_TTL: i64 = 600;
pub const MAX_TTL: i64 = 3600;
