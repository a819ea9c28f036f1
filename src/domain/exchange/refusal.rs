//! Why an exchange is refused, and the report of an explanation.

use crate::domain::{
    access::{
        access_record::AuthorizationDetail,
        permission::{PermissionName, PermissionSet},
    },
    common::{text::text_enum, time::Span},
    credentials::error::CredentialError,
};

/// Reason why an exchange is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DenyReason {
    /// The key is not accepted. Clients receive the same response for every `CredentialError`.
    #[error("the key is not accepted: {0}")]
    Credential(CredentialError),
    #[error("the scope is not granted")]
    Scope(ScopeError),
    #[error("the target is not granted: {0}")]
    Target(TargetError),
    /// The requested lifetime exceeds this one, the longest that may be requested.
    #[error("the lifetime is not granted")]
    Lifetime(Span),
}

/// Reason why a scope is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeError {
    /// The text violates the scope grammar, or a token in it is not a valid permission name.
    Malformed,
    /// Some of the requested permissions cannot be granted.
    ExceedsGrantable(Vec<RemovedPermission>),
    /// No scope was requested, and none of the permissions of the key can be granted.
    Empty(Vec<RemovedPermission>),
    /// The token would be larger than this maximum, in bytes.
    TokenTooLarge(usize),
}

/// Reason why an audience or resource is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("too many")]
    TooMany,
    #[error("unknown")]
    Unknown,
    #[error("not allowed for the key")]
    NotAllowed,
    /// The requested audiences have different token profiles, so that one token cannot serve them.
    #[error("token profiles differ")]
    ProfileMismatch,
    /// The mapped claims exceed the size limit of a token.
    #[error("mapped claims too large")]
    Claims,
    /// The `authorization_details`, together with the mapped claims, exceed the size limit of a
    /// token.
    #[error("authorization details too large")]
    AuthorizationDetailsTooLarge,
}

impl TargetError {
    /// Returns the value in the response of explain. A nonexistent audience and one that the key
    /// may not use have the same value, so that the response does not disclose which audiences
    /// exist.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooMany => "too_many",
            Self::Unknown | Self::NotAllowed => "unknown",
            Self::ProfileMismatch => "token_profile",
            Self::Claims => "claims",
            Self::AuthorizationDetailsTooLarge => "access",
        }
    }
}

/// A permission that is not granted, with the first rule that removed it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = Removed)]
pub struct RemovedPermission {
    pub permission: PermissionName,
    pub by: PermissionLimit,
}

text_enum! {
    /// The limits of a scope besides the request itself (invariant 1).
    #[derive(serde::Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum PermissionLimit {
        Key = "key",
        Owner = "owner",
        Audience = "audience",
        /// No access record grants the permission on any resource, and the token is record-bound.
        AccessRecords = "access_records",
    }
}

/// Evaluation of a requested scope: the permissions that are granted and those that are removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeEvaluation {
    pub granted: PermissionSet,
    pub removed: Vec<RemovedPermission>,
    /// Whether the token has `authorization_details` instead of a scope.
    pub record_bound: bool,
    /// The `authorization_details` for the granted permissions; `None` if the token has none.
    pub authorization_details: Option<Vec<AuthorizationDetail>>,
}

impl ScopeEvaluation {
    /// Returns whether there are permissions that only the access records removed. A record-bound
    /// token states what is granted, also if that is nothing.
    pub fn is_emptied_by_records(&self) -> bool {
        self.removed.iter().any(|removed| removed.by == PermissionLimit::AccessRecords)
    }
}
