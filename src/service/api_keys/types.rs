//! API keys as the service takes and returns them.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    config::Settings,
    domain::{
        common::time::Timestamp,
        credentials::{
            api_key::{self, ApiKey, ApiKeyAttributes, KeyState, StateReason},
            format::ApiKeyValue,
            imported::{ImportedKeyDigest, MaskedKey},
        },
    },
    service::{access::access_records::InitialAccessRecord, api_keys::owner::RequestedOwner},
};

/// A key to create.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// Absent: derived from the tenant scope of the caller.
    pub owner: Option<RequestedOwner>,
    pub attributes: ApiKeyAttributes,
    /// An access record for the key. It cannot be combined with an import.
    pub access_record: Option<InitialAccessRecord>,
}

/// A key that another system issued.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = KeyImport)]
#[serde(deny_unknown_fields)]
pub struct Import {
    pub sha256: ImportedKeyDigest,
    /// How the key is displayed, without its secret part.
    pub masked: Option<MaskedKey>,
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
        let owner_status = key.ownership.owner_status(settings.limits.end_with_creator);
        let (state, reason) = api_key::state(&key.lifecycle(), &owner_status, now);
        Self { key, state, reason }
    }
}

/// A key and its value, for the only response that contains the value.
#[derive(Debug)]
pub struct IssuedApiKey {
    pub api_key: ApiKeyView,
    pub value: ApiKeyValue,
}
