//! Why an exchange is refused, and the report of an explanation.

use crate::domain::{
    access::{
        access_record::Detail,
        permission::{PermissionName, PermissionSet},
    },
    credentials::error::KeyFault,
};

/// Reason why an exchange is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The key is not accepted. Clients receive the same response for every `KeyFault`.
    #[error("the key is not accepted: {0}")]
    Key(KeyFault),
    #[error("the scope is not granted")]
    Scope(ScopeFault),
    #[error("the target is not granted: {0}")]
    Target(TargetFault),
}

/// Reason why a scope is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeFault {
    /// The text violates the scope grammar, or a token in it is not a valid permission name.
    Malformed,
    /// Some of the requested permissions cannot be granted.
    Exceeds(Vec<Removed>),
    /// No scope was requested, and none of the permissions of the key can be granted.
    NothingLeft(Vec<Removed>),
}

/// Reason why an audience or resource is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    #[error("malformed")]
    Malformed,
    #[error("too many")]
    TooMany,
    #[error("unknown")]
    Unknown,
    #[error("not one of the key's")]
    NotAllowed,
    /// The requested audiences have different token profiles, so that one token cannot serve them.
    #[error("of different shapes")]
    Shape,
    /// The mapped claims exceed the size limit of a token.
    #[error("mapped claims too large")]
    Claims,
    /// The `authorization_details`, together with the mapped claims, exceed the size limit of a
    /// token.
    #[error("authorization details too large")]
    Access,
}

impl TargetFault {
    /// Returns the value in the response of explain. A nonexistent audience and one that the key
    /// may not use have the same value, so that the response does not disclose which audiences
    /// exist.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooMany => "too_many",
            Self::Unknown | Self::NotAllowed => "unknown",
            Self::Shape => "shape",
            Self::Claims => "claims",
            Self::Access => "access",
        }
    }
}

/// A permission that is not granted, with the first rule that removed it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Removed {
    pub permission: PermissionName,
    pub by: RemovedBy,
}

/// The limits of a scope besides the request itself (invariant 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovedBy {
    Key,
    Owner,
    Audience,
}

/// Evaluation of a requested scope: the permissions that are granted and those that are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeReport {
    pub granted: PermissionSet,
    pub removed: Vec<Removed>,
    /// The `authorization_details` for the granted permissions.
    pub access: Vec<Detail>,
}
