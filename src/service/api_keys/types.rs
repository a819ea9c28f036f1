//! API keys as the service takes and returns them.

use crate::{
    config::Settings,
    domain::{
        access::{audience::Identifier, permission::PermissionSet},
        common::{
            json::Metadata,
            name::DisplayName,
            time::{Span, Timestamp},
        },
        credentials::{
            api_key::{self, ApiKey, KeyState, StateReason},
            format::ApiKeyValue,
        },
    },
    service::api_keys::owner::RequestedOwner,
};

/// Body of `POST /v1/api-keys`.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    pub name: DisplayName,
    /// Absent: derived from the tenant scope of the caller.
    pub owner: Option<RequestedOwner>,
    pub permissions: PermissionSet,
    pub audiences: Option<Vec<Identifier>>,
    pub metadata: Metadata,
    pub max_token_ttl: Option<Span>,
    pub exchanges_per_minute: Option<u32>,
    pub expires_at: Option<Timestamp>,
}

/// Body of `PATCH /v1/api-keys/{id}`. Absent members stay unchanged; `null` removes a limit.
#[derive(Debug, Clone, Default)]
pub struct ApiKeyPatch {
    pub name: Option<DisplayName>,
    pub permissions: Option<PermissionSet>,
    pub audiences: Option<Option<Vec<Identifier>>>,
    pub metadata: Option<Metadata>,
    pub max_token_ttl: Option<Option<Span>>,
    pub exchanges_per_minute: Option<Option<u32>>,
    pub expires_at: Option<Option<Timestamp>>,
}

/// A key with its state at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyView {
    pub key: ApiKey,
    pub state: KeyState,
    /// Why the key is not active, if the reason is the status of its owner.
    pub reason: Option<StateReason>,
}

impl ApiKeyView {
    pub(crate) fn new(key: ApiKey, now: Timestamp, settings: &Settings) -> Self {
        let owner_status = key.ownership.root_owner_status(settings.limits.end_with_creator);
        let (state, reason) = api_key::state(&key.lifecycle, &owner_status, now);
        Self { key, state, reason }
    }
}

/// A key and its value, for the only response that contains the value.
#[derive(Debug)]
pub struct IssuedApiKey {
    pub api_key: ApiKeyView,
    pub value: ApiKeyValue,
}
