//! Conflicts: changes that the current state does not permit, whatever permissions the caller has.

use std::collections::BTreeMap;

use crate::{
    crypto::master_key_file::MasterKeyError,
    domain::{
        access::{audience::Identifier, permission::PermissionName, role::RoleName},
        common::{
            derived_id::SigningKeyId,
            id::{ServiceClientId, UserId},
            time::Timestamp,
        },
        signing::{Algorithm, rotation::ClockJump},
    },
    store::{encryption::columns::EncryptedColumn, signing::replicas::Replica},
};

/// The reason of `Error::Conflict`. Its text states what is in the way and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Conflict {
    /// A concurrent transaction changed or created the object, such as "role editor".
    #[error("the {0} was changed by a concurrent request: read it again and repeat the request")]
    ChangedConcurrently(String),

    #[error(
        "this would leave no administrator: create another key of a service client with keyswap:admin first, or use the command line on the server"
    )]
    LastAdministrator,
    /// The key that would administrate the longest expires too soon.
    #[error(
        "the last remaining key with keyswap:admin would expire at {end}: first create a key of a service client with keyswap:admin that \
         is valid until {required} or later, or use the command line on the server"
    )]
    LastAdministratorExpires { end: Timestamp, required: Timestamp },
    #[error("{0} is built in and cannot be changed")]
    BuiltInChanged(String),
    #[error("{0} is signed in in this browser: sign out first, or set replace to true to sign in another user")]
    AnotherUserSignedIn(UserId),
    #[error("the user {0} is locked: only a caller with keyswap:admin can unlock or delete the user")]
    UserLocked(UserId),
    #[error("{0} is built in and cannot be deleted")]
    BuiltInDeleted(String),
    #[error("the permissions and the token profile of the management audience are fixed")]
    ManagementAudienceFixed,
    #[error("an audience with the identifier {0} exists already: choose another identifier")]
    IdentifierTaken(Identifier),
    #[error(
        "the audience {0} differs only in case, a default port, dot segments or slashes at the end: use that one, or choose an identifier \
         that is not easily confused with it"
    )]
    IdentifierSimilar(Identifier),
    #[error("{permission} is in use by {}: remove it there first", users.join(", "))]
    PermissionInUse { permission: PermissionName, users: Vec<String> },
    #[error("{role} is in use by {}: remove it there first", users.join(", "))]
    RoleInUse { role: RoleName, users: Vec<String> },

    #[error(
        "the row {id} of {table} was altered outside of Keyswap and is refused: see `keyswap integrity list` on the server"
    )]
    RowAltered { table: &'static str, id: String },
    #[error(
        "an older version of the row {id} of {table} was put back outside of Keyswap: run `keyswap integrity list` on the server, then \
         restore the newest version or accept the listed row"
    )]
    RowOlder { table: &'static str, id: String },
    #[error("the row is unaltered: there is nothing to accept")]
    RowNotAltered,

    #[error("the key is revoked permanently: create a new key")]
    KeyRevoked,
    #[error(
        "the grace period of the previous rotation ends at {0}: if the new value was lost, undo the rotation with cancel-rotation and rotate \
         again; otherwise wait for its end, or rotate with a grace of \"0s\", which ends every older value at once"
    )]
    RotationInProgress(Timestamp),
    #[error("the key is not rotating: there was no rotation, or its grace period has ended")]
    NotRotating,
    #[error(
        "several older values of the key are still valid: wait until all but one have ended, or rotate with a grace of \"0s\", which ends \
         every older value at once"
    )]
    SeveralOldValues,
    #[error(
        "a key with this digest was imported before: a digest cannot be imported twice, even if its key was revoked"
    )]
    DigestImported,

    #[error("the signing key {0} is no longer published and signs nothing")]
    SigningKeyNotPublished(SigningKeyId),
    #[error("the signing key {0} exists or existed already: a kid is never used again")]
    SigningKeyExists(SigningKeyId),
    #[error("the next signing key is now {0}: read the plan again")]
    NextSigningKeyChanged(SigningKeyId),
    #[error("no next signing key for {0} is published: start the server, which publishes one")]
    NoNextSigningKey(Algorithm),
    #[error(
        "the next signing key {0} cannot be decrypted on this server: see /readyz, or revoke it, and another one is published"
    )]
    NextSigningKeyUnusable(SigningKeyId),
    #[error(
        "the database's clock is {} the clock of this machine and the last reading of a server: no signing key is changed; set the clocks \
         right, or let a running server do it",
        describe_jump(.0)
    )]
    ClockJumped(ClockJump),

    #[error("the database agrees with the rollback guard: there is nothing to accept")]
    NothingToAccept,
    #[error("master.{0} contains a key that is or was in use already")]
    MasterKeyReused(i32),
    #[error("master.{version}: {fault}")]
    MasterKeyFileUnusable {
        version: i32,
        #[source]
        fault: MasterKeyFileError,
    },
    #[error(
        "these running replicas do not have master.{version}: {}. Copy the file to keys.dir there; or continue with --force: they \
         answer 503 for rows that are encrypted with it",
        format_list(replicas)
    )]
    ReplicasWithoutMasterKey { version: i32, replicas: Vec<Replica> },
    #[error("master.{0} encrypts new rows: rotate first, `keyswap master-key rotate`")]
    MasterKeyCurrent(i32),
    #[error(
        "master.{version} is still needed by {}: run `keyswap master-key rotate --continue`",
        format_row_counts(rows)
    )]
    MasterKeyInUse { version: i32, rows: RowCounts },
    #[error("master.{0} is not retired yet: run `keyswap master-key rotate --continue`")]
    MasterKeyNotRetired(i32),

    #[error(
        "several service clients have this name: {}; rename all but one first",
        format_list(.0)
    )]
    SeveralServiceClients(Vec<ServiceClientId>),
    #[error("there are {0} webhooks already, which is the maximum: delete one first")]
    TooManyWebhooks(i64),
    #[error("the webhook is disabled: enable it first")]
    WebhookDisabled,
    #[error("the delivery is being sent now: try again in a moment")]
    DeliveryInProgress,
}

/// Why the file of a master key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyFileError {
    #[error("missing")]
    Missing,
    #[error("contains another key")]
    AnotherKey,
    #[error(transparent)]
    Unusable(#[from] MasterKeyError),
}

/// Row counts by encrypted column. Columns without rows are omitted.
pub type RowCounts = BTreeMap<EncryptedColumn, i64>;

/// Formats the counts: "3 credentials, 1 webhooks".
pub fn format_row_counts(counts: &RowCounts) -> String {
    format_list(counts.iter().map(|(column, count)| format!("{count} {}", column.as_str())))
}

/// Formats a list: "one, two".
pub fn format_list(items: impl IntoIterator<Item: ToString>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn describe_jump(jump: &ClockJump) -> String {
    match jump {
        ClockJump::Forward(by) => format!("{by} ahead of"),
        ClockJump::Backward(by) => format!("{by} behind"),
    }
}
