//! Advisory locks.

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
