//! Why an exchange is refused, and the report of an explanation.

use crate::domain::{
    access::{
        access_record::AuthorizationDetail,
        permission::{PermissionName, PermissionSet},
    },
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
            Self::ProfileMismatch => "shape",
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

/// The limits of a scope besides the request itself (invariant 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PermissionLimit {
    Key,
    Owner,
    Audience,
}

/// Evaluation of a requested scope: the permissions that are granted and those that are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeEvaluation {
    pub granted: PermissionSet,
    pub removed: Vec<RemovedPermission>,
    /// The `authorization_details` for the granted permissions.
    pub authorization_details: Vec<AuthorizationDetail>,
}
