//! What an exchange is decided from: the context of the key, the request and the limits.

use crate::domain::{
    access::{
        access_record::EffectiveStatement,
        audience::{Audience, Identifier},
        claim_map::ClaimSourceValues,
        owner::Owner,
        owner_status::{OwnerPermissions, OwnerStatus, Ownership},
        permission::{PermissionName, PermissionSet},
        resource::Resource,
    },
    common::{
        derived_id::CredentialId,
        id::KeyId,
        time::{Span, Timestamp},
    },
    credentials::{
        api_key::{KeyLifecycle, KeyState},
        authority::{CredentialAuthority, Entitlement},
        error::CredentialError,
        key_limits::KeyLimits,
    },
    exchange::claims::Subject,
    signing::Algorithm,
    status_lists::StatusListIndex,
};
use std::collections::BTreeSet;

/// Input of the rules, read in one lookup.
#[derive(Debug, Clone)]
pub struct KeyContext {
    /// Database clock at the time of the lookup.
    pub now: Timestamp,
    pub key: KeyProperties,
    /// The requested audiences that exist.
    pub audiences: Vec<Audience>,
    /// Values that mapped claims are taken from. The map is empty unless one of the audiences maps
    /// claims.
    pub sources: ClaimSourceValues,
}

/// Properties of the presented key, or of the key that a presented token was issued from.
#[derive(Debug, Clone)]
pub struct KeyProperties {
    pub id: KeyId,
    pub credential_id: CredentialId,
    pub credential_expires_at: Option<Timestamp>,
    /// Start of the rotation that set `credential_expires_at`.
    pub credential_replaced_at: Option<Timestamp>,
    pub ownership: Ownership,
    pub permissions: PermissionSet,
    pub audiences: Option<Vec<Identifier>>,
    pub max_token_ttl: Option<Span>,
    pub exchanges_per_minute: Option<u32>,
    pub record_bound: bool,
    pub lifecycle: KeyLifecycle,
    pub created_at: Timestamp,
    /// The version of the key's row.
    pub version: i64,
    /// Statements of the access records that apply to the key.
    pub access_statements: Vec<EffectiveStatement>,
    /// As stored: JSON.
    pub metadata: String,
    /// Status list index of the tokens issued from the credential.
    pub status: Option<StatusListIndex>,
}

/// When the presented credential stops working.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CredentialEnd {
    /// When a rotation replaced it.
    pub replaced_at: Option<Timestamp>,
    /// The end of the credential or of its key, whichever is first.
    pub expires_at: Option<Timestamp>,
}

impl KeyProperties {
    /// Returns what the credential is trusted for.
    pub fn credential_authority(&self) -> CredentialAuthority<'_> {
        CredentialAuthority {
            credential: &self.credential_id,
            credential_expires_at: self.credential_expires_at,
            status: self.status.as_ref().map(|status| (&status.list, status.index)),
            key: &self.id,
            version: self.version,
            lifecycle: self.lifecycle,
            exchanges_per_minute: self.exchanges_per_minute,
            record_bound: self.record_bound,
            owner: &self.ownership.owner,
            owner_scope: &self.ownership.owner_scope,
            creator_membership: self.ownership.creator_membership.as_ref().map(|(user, generation)| (user, generation)),
            metadata: &self.metadata,
            entitlement: Entitlement {
                permissions: &self.permissions,
                audiences: self.audiences.as_deref(),
                max_token_ttl: self.max_token_ttl,
            },
        }
    }

    pub fn limits(&self) -> KeyLimits {
        KeyLimits {
            expires_at: self.lifecycle.expires_at,
            max_token_ttl: self.max_token_ttl,
            exchanges_per_minute: self.exchanges_per_minute,
            audiences: self.audiences.clone(),
            record_bound: self.record_bound,
        }
    }

    /// Checks that the key is in force, and returns the permissions of its owner.
    pub fn check_in_force(&self, now: Timestamp, limits: &Limits) -> Result<OwnerPermissions, CredentialError> {
        match self.lifecycle.state(now) {
            KeyState::Revoked => return Err(CredentialError::Revoked),
            KeyState::Expired => return Err(CredentialError::Expired),
            KeyState::Suspended => return Err(CredentialError::Suspended),
            KeyState::Active => {}
        }
        if self.credential_expires_at.is_some_and(|end| end <= now) {
            return Err(CredentialError::Expired);
        }
        match self.ownership.owner_status(limits.end_with_creator) {
            OwnerStatus::Active(permissions) => Ok(permissions),
            OwnerStatus::Blocked => Err(CredentialError::OwnerBlocked),
            OwnerStatus::Deleted(_) => Err(CredentialError::OwnerDeleted),
        }
    }

    /// Returns the permissions that a caller with this key may grant: those of the key that its
    /// owner still has.
    pub fn grantable_permissions(&self, limits: &Limits) -> PermissionSet {
        match self.ownership.owner_status(limits.end_with_creator) {
            OwnerStatus::Active(permissions) => permissions.of(&self.permissions),
            OwnerStatus::Blocked | OwnerStatus::Deleted(_) => PermissionSet::default(),
        }
    }

    /// Returns whether the key currently permits an action on a resource: the key is in force, the
    /// permission is effective, and a statement of its access records covers the resource.
    pub fn permits_access(
        &self,
        now: Timestamp,
        limits: &Limits,
        permission: &PermissionName,
        resource: &Resource,
    ) -> bool {
        self.check_in_force(now, limits).is_ok_and(|owner| {
            self.permissions.contains(permission)
                && owner.contains(permission)
                && self.access_statements.iter().any(|rule| rule.covers(permission, resource))
        })
    }

    /// Accepts as `client_id` the id of the key, the id of its service client, or `<prefix>_<id>`
    /// of the credential. The last form is the masked key without the ellipsis. Only its id is
    /// compared, not its prefix.
    pub fn accepts_client_id(&self, client_id: &str) -> bool {
        client_id == self.id.as_str()
            || matches!(&self.ownership.owner, Owner::ServiceClient(id) if id.as_str() == client_id)
            || client_id
                .rsplit_once('_')
                .is_some_and(|(prefix, id)| !prefix.is_empty() && id == self.credential_id.as_str())
    }

    /// Returns the subject of the tokens that are issued from the key.
    pub fn subject(&self) -> Subject {
        match &self.ownership.owner {
            Owner::User(id) => Subject::User(id.clone()),
            Owner::Organization(id) => Subject::Organization(id.clone()),
            Owner::ServiceClient(id) => Subject::ServiceClient(id.clone()),
            Owner::Unowned => Subject::ApiKey(self.id.clone()),
        }
    }

    /// Returns when the presented credential ends, to be reported to the client.
    pub fn credential_end(&self) -> CredentialEnd {
        let ends = [self.lifecycle.expires_at, self.credential_expires_at];
        CredentialEnd {
            replaced_at: self.credential_replaced_at.filter(|_| self.credential_expires_at.is_some()),
            expires_at: ends.into_iter().flatten().min(),
        }
    }
}

/// Parameters of an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExchangeParameters {
    /// `None` requests all permissions of the key.
    pub scope: Option<PermissionSet>,
    /// If empty, the token is for the default audience.
    pub targets: BTreeSet<Identifier>,
    /// Requested token lifetime. A longer one than the limits allow is refused.
    pub requested_ttl: Option<Span>,
    /// The `client_id` sent with the key, if any.
    pub client_id: Option<String>,
}

/// Limits of the deployment.
#[derive(Debug, Clone)]
pub struct Limits {
    pub issuer: String,
    pub default_audience: Identifier,
    pub default_ttl: Span,
    pub max_ttl: Span,
    /// Whether the keys of an organization end when the member who created them leaves
    /// (`api_keys.end_with_creator`).
    pub end_with_creator: bool,
    /// Whether every token for a service is record-bound (`tokens.record_bound`).
    pub record_bound: bool,
    /// Signature algorithm for audiences that do not specify one.
    pub algorithm: Algorithm,
    /// Maximum size of a token in bytes (`tokens.max_size`).
    pub max_token_size: usize,
}
