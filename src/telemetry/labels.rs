//! Labels of metrics.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// The type of request that presented an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestForm {
    ClientCredentials,
    TokenExchange,
    IbmApiKey,
    Exchange,
    Explain,
    Management,
    Validation,
}

impl RequestForm {
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

    const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::TokenExchange => "token_exchange",
            Self::IbmApiKey => "ibm_api_key",
            Self::Exchange => "exchange",
            Self::Explain => "explain",
            Self::Management => "management",
            Self::Validation => "validation",
        }
    }
}

impl EncodeLabelValue for RequestForm {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

/// The outcome of a request that presented an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExchangeResult {
    Granted,
    Malformed,
    Unknown,
    SecretMismatch,
    Revoked,
    Expired,
    Suspended,
    OwnerBlocked,
    OwnerDeleted,
    ClientMismatch,
    OpenerNotAuthorized,
    Forged,
    Altered,
    Scope,
    Target,
    Lifetime,
    Throttled,
    Limited,
    Unavailable,
    Internal,
}

impl ExchangeResult {
    pub(crate) const ALL: [Self; 20] = [
        Self::Granted,
        Self::Malformed,
        Self::Unknown,
        Self::SecretMismatch,
        Self::Revoked,
        Self::Expired,
        Self::Suspended,
        Self::OwnerBlocked,
        Self::OwnerDeleted,
        Self::ClientMismatch,
        Self::OpenerNotAuthorized,
        Self::Forged,
        Self::Altered,
        Self::Scope,
        Self::Target,
        Self::Lifetime,
        Self::Throttled,
        Self::Limited,
        Self::Unavailable,
        Self::Internal,
    ];

    /// Returns the name used in metrics, in the database and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::SecretMismatch => "secret_mismatch",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Suspended => "suspended",
            Self::OwnerBlocked => "owner_blocked",
            Self::OwnerDeleted => "owner_deleted",
            Self::ClientMismatch => "client_mismatch",
            Self::OpenerNotAuthorized => "opener_not_authorized",
            Self::Forged => "forged",
            Self::Altered => "altered",
            Self::Scope => "scope",
            Self::Target => "target",
            Self::Lifetime => "lifetime",
            Self::Throttled => "throttled",
            Self::Limited => "limited",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

impl EncodeLabelValue for ExchangeResult {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ExchangeLabels {
    pub(super) form: RequestForm,
    pub(super) result: ExchangeResult,
}

/// The result of an attempt to deliver an event to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WebhookAttemptResult {
    Delivered,
    Retried,
    ReceiverGone,
    RetriesExhausted,
}

impl WebhookAttemptResult {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retried => "retried",
            Self::ReceiverGone => "receiver_gone",
            Self::RetriesExhausted => "retries_exhausted",
        }
    }
}

impl EncodeLabelValue for WebhookAttemptResult {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

/// The result of an exchange for a large token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LargeTokenResult {
    /// The token has more than 4096 bytes.
    Issued,
    /// The token would have more than `tokens.max_size`.
    Refused,
}

impl LargeTokenResult {
    pub(crate) const ALL: [Self; 2] = [Self::Issued, Self::Refused];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Refused => "refused",
        }
    }
}

impl EncodeLabelValue for LargeTokenResult {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

/// The result of a reload of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReloadResult {
    Applied,
    /// The configuration or the TLS certificate is invalid, or the certificate does not match its
    /// key. The previous one stays in use.
    Refused,
}

impl ReloadResult {
    pub(crate) const ALL: [Self; 2] = [Self::Applied, Self::Refused];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Refused => "refused",
        }
    }
}

impl EncodeLabelValue for ReloadResult {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

/// A kind of rows that Keyswap authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthenticatedTable {
    ApiKeys,
    Credentials,
    NarrowCredentials,
    SigningKeys,
    SigningKeyManifest,
    PortalSessions,
    Audiences,
    AccessRecords,
    Events,
}

impl AuthenticatedTable {
    pub(crate) const ALL: [Self; 9] = [
        Self::ApiKeys,
        Self::Credentials,
        Self::NarrowCredentials,
        Self::SigningKeys,
        Self::SigningKeyManifest,
        Self::PortalSessions,
        Self::Audiences,
        Self::AccessRecords,
        Self::Events,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKeys => "api_keys",
            Self::Credentials => "credentials",
            Self::NarrowCredentials => "narrow_credentials",
            Self::SigningKeys => "signing_keys",
            Self::SigningKeyManifest => "signing_key_manifest",
            Self::PortalSessions => "portal_sessions",
            Self::Audiences => "audiences",
            Self::AccessRecords => "access_records",
            Self::Events => "events",
        }
    }
}
