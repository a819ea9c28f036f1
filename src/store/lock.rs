//! The order of locks: of advisory locks, and of rows.

/// The tables whose rows changes lock, in the order in which a change may lock them. Several rows
/// of one table are locked in ascending order of their keys. Owners precede what belongs to them,
/// and what has roles or permissions precedes roles and permissions. Two changes that lock the same
/// rows in different orders can wait for each other, and PostgreSQL aborts one of them.
pub(super) const ROW_LOCK_ORDER: [&str; 12] = [
    "organizations",
    "users",
    "members",
    "service_clients",
    "api_keys",
    "access_records",
    "audiences",
    "roles",
    "permissions",
    "webhooks",
    "branding",
    "portal_sessions",
];

/// The advisory locks of changes, in the order in which a change may take them. Several locks with
/// a hash are taken in ascending order of the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lock {
    /// One idempotency key, by a hash of the key and its scope.
    IdempotencyKey(i64),
    /// An application of a configuration file.
    Provisioning,
    /// The first start, and the rotation of the master key.
    Setup,
    /// State transitions of signing keys.
    SigningKeys,
    /// One imported key, by a hash of its digest.
    ImportedKey(i64),
    /// The check that an administrator remains.
    Administrators,
    /// The creation of webhook deliveries.
    DeliveryFanOut,
    /// Events for keys that end without a request.
    ExpiryNotifications,
    /// The creation of a status list. A change assigns its indexes last.
    StatusListCreation,
}

impl Lock {
    /// Returns the id of the lock in the database. Named locks begin with "keysw" in ASCII.
    pub(super) const fn id(self) -> i64 {
        match self {
            Self::IdempotencyKey(hash) | Self::ImportedKey(hash) => hash,
            Self::SigningKeys => 0x006b_6579_7377_0001,
            Self::Setup => 0x006b_6579_7377_0002,
            Self::Administrators => 0x006b_6579_7377_0003,
            Self::DeliveryFanOut => 0x006b_6579_7377_0004,
            Self::Provisioning => 0x006b_6579_7377_0005,
            Self::ExpiryNotifications => 0x006b_6579_7377_0010,
            Self::StatusListCreation => 0x006b_6579_7377_0020,
        }
    }
}
