//! Labels of metrics.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};

/// The type of request that presented an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Form {
    ClientCredentials,
    TokenExchange,
    IbmApiKey,
    Exchange,
    Explain,
    Management,
    Validation,
}

impl Form {
    pub(crate) const ALL: [Self; 7] = [
        Self::ClientCredentials,
        Self::TokenExchange,
        Self::IbmApiKey,
        Self::Exchange,
        Self::Explain,
        Self::Management,
        Self::Validation,
    ];

    /// Returns whether the request counts as a use of the key. Explain and management requests do
    /// not.
    pub const fn counts_as_use(self) -> bool {
        match self {
            Self::ClientCredentials | Self::TokenExchange | Self::IbmApiKey | Self::Exchange | Self::Validation => true,
            Self::Explain | Self::Management => false,
        }
    }
}

/// The outcome of a request that presented an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Result {
    Granted,
    Malformed,
    Unknown,
    Wrong,
    Revoked,
    Expired,
    Suspended,
    OwnerBlocked,
    OwnerDeleted,
    ClientMismatch,
    Scope,
    Target,
    Throttled,
    Limited,
    Unavailable,
    Internal,
}

impl Result {
    pub(crate) const ALL: [Self; 16] = [
        Self::Granted,
        Self::Malformed,
        Self::Unknown,
        Self::Wrong,
        Self::Revoked,
        Self::Expired,
        Self::Suspended,
        Self::OwnerBlocked,
        Self::OwnerDeleted,
        Self::ClientMismatch,
        Self::Scope,
        Self::Target,
        Self::Throttled,
        Self::Limited,
        Self::Unavailable,
        Self::Internal,
    ];

    /// Returns the name used in the database and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Wrong => "wrong",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Suspended => "suspended",
            Self::OwnerBlocked => "owner_blocked",
            Self::OwnerDeleted => "owner_deleted",
            Self::ClientMismatch => "client_mismatch",
            Self::Scope => "scope",
            Self::Target => "target",
            Self::Throttled => "throttled",
            Self::Limited => "limited",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ExchangeLabels {
    pub(super) form: Form,
    pub(super) result: Result,
}

/// The outcome of an attempt to deliver a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Delivered {
    Delivered,
    Again,
    Gone,
    RetriesExhausted,
}
