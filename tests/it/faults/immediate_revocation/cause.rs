//! The changes that end a grant, and the keys that each of them affects.

/// The identifier of the audience that the test creates.
pub const API: &str = "api";
/// The identifier of the default audience: the public URL of `Deployment`.
pub const DEFAULT: &str = "http://keyswap.test";

/// The owner of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    User,
    /// A user as a member of an organization.
    Member,
    Organization,
    Client,
    /// No owner. The key is record-bound, so an access record grants its permission.
    RecordBound,
}

impl Owner {
    pub const ALL: [Self; 5] = [Self::User, Self::Member, Self::Organization, Self::Client, Self::RecordBound];
    /// The owners whose keys have narrow rows.
    pub const WITH_NARROW_ROWS: &[Self] = &[Self::User, Self::Member, Self::Organization, Self::Client];
}

/// A change that ends a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Revoked,
    Suspended,
    Rotated,
    GraceOver,
    Expired,
    Patched,
    Deleted,
    Blocked,
    Locked,
    UserRoles,
    UserDeleted,
    MemberRoles,
    MemberLeft,
    OrganizationDeleted,
    ClientCut,
    ClientDeleted,
    AccessRecord,
    Audience,
    DefaultAudience,
    Permission,
    Role,
}

impl Cause {
    pub const ALL: [Self; 21] = [
        Self::Revoked,
        Self::Suspended,
        Self::Rotated,
        Self::GraceOver,
        Self::Expired,
        Self::Patched,
        Self::Deleted,
        Self::Blocked,
        Self::Locked,
        Self::UserRoles,
        Self::UserDeleted,
        Self::MemberRoles,
        Self::MemberLeft,
        Self::OrganizationDeleted,
        Self::ClientCut,
        Self::ClientDeleted,
        Self::AccessRecord,
        Self::Audience,
        Self::DefaultAudience,
        Self::Permission,
        Self::Role,
    ];

    /// The causes that occur most often in operation.
    pub const FREQUENT: [Self; 6] =
        [Self::Revoked, Self::Suspended, Self::Rotated, Self::Blocked, Self::DefaultAudience, Self::Role];

    /// The owners whose keys lose the permission.
    pub const fn owners(self) -> &'static [Owner] {
        match self {
            Self::Revoked
            | Self::Suspended
            | Self::Rotated
            | Self::GraceOver
            | Self::Expired
            | Self::Patched
            | Self::Deleted
            | Self::Audience
            | Self::DefaultAudience => Owner::WITH_NARROW_ROWS,
            Self::Blocked | Self::Locked | Self::UserDeleted | Self::Role => &[Owner::User, Owner::Member],
            Self::UserRoles => &[Owner::User],
            Self::MemberRoles | Self::MemberLeft => &[Owner::Member],
            Self::OrganizationDeleted => &[Owner::Member, Owner::Organization],
            Self::ClientCut | Self::ClientDeleted => &[Owner::Client],
            Self::AccessRecord => &[Owner::RecordBound],
            Self::Permission => &[Owner::Organization],
        }
    }

    /// The audience that the cause restricts: every request of such a round is for it. In the other
    /// rounds, some requests are for the default audience and some for another one.
    pub const fn audience(self) -> Option<&'static str> {
        match self {
            Self::Audience => Some(API),
            Self::DefaultAudience => Some(DEFAULT),
            _ => None,
        }
    }

    /// Introspection of a key is independent of any audience, so it does not show that an audience
    /// has lost a permission. A token carries its audience.
    pub const fn shows_in_tokens_alone(self) -> bool {
        self.audience().is_some()
    }
}
