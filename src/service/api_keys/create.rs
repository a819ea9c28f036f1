//! Creates a key and its credential within a transaction.

use crate::{
    config::Settings,
    crypto::{credential, encryption::SecretKind, master_keys::MasterKeys, random::SystemEntropy},
    domain::{
        common::{derived_id::CredentialId, id::KeyId},
        credentials::{
            api_key::{ApiKey, Credential},
            format::{ApiKeyValue, Secret},
        },
        events::{EventType, NewEvent},
    },
    service::{
        Error, InputFault, Services,
        api_keys::{
            limits::{
                find_exceeded_caller_limits, validate_audiences, validate_expiry, validate_owner_type,
                validate_permissions, validate_rate_limit, validate_token_ttl,
            },
            lookup::{find_key, key_event},
            owner::{self, ResolvedOwner},
            types::{ApiKeyView, IssuedApiKey, NewApiKey},
        },
        caller::Caller,
    },
    store::{self, StoreError, Tx, api_keys::credentials::NewCredential},
};

/// The dependencies of key creation, owned so that they can move into a transaction on another
/// thread.
#[derive(Debug, Clone)]
pub(crate) struct KeyFactory {
    pub(crate) settings: Settings,
    pub(crate) master: MasterKeys,
    pub(crate) entropy: SystemEntropy,
}

impl KeyFactory {
    pub(crate) fn of(services: &Services) -> Self {
        Self::new(&services.settings, &services.master_keys, &services.entropy)
    }

    pub(crate) fn new(settings: &Settings, master: &MasterKeys, entropy: &SystemEntropy) -> Self {
        Self { settings: settings.clone(), master: master.clone(), entropy: entropy.clone() }
    }

    pub(crate) fn create(
        &self,
        tx: &mut Tx<'_>,
        new: NewApiKey,
        caller: &Caller,
    ) -> Result<(IssuedApiKey, NewEvent), Error> {
        let owner = self.validate(tx, &new, caller, Vec::new())?;
        let (credential, value) = self.generate_credential(tx)?;
        let (api_key, event) = self.insert(tx, new, &owner, &credential)?;
        Ok((IssuedApiKey { api_key, value }, event))
    }

    /// Validates a new key and resolves its owner. `faults` are already known and are reported
    /// together with those found here.
    pub(super) fn validate(
        &self,
        tx: &mut Tx<'_>,
        new: &NewApiKey,
        caller: &Caller,
        mut faults: Vec<InputFault>,
    ) -> Result<ResolvedOwner, Error> {
        let NewApiKey { owner, attributes } = new;
        let owner = owner::resolve_owner(tx, caller, owner.clone())?;
        faults.extend(validate_owner_type(&self.settings, &owner));
        faults.extend(validate_permissions(tx, &owner, &attributes.permissions, &caller.holdings)?);
        faults.extend(validate_audiences(tx, attributes.audiences.as_deref())?);
        faults.extend(validate_expiry(&self.settings, tx.now(), tx.now(), attributes.expires_at));
        faults.extend(validate_token_ttl(attributes.max_token_ttl));
        faults.extend(validate_rate_limit(attributes.exchanges_per_minute));
        faults.extend(find_exceeded_caller_limits(caller, attributes));
        Error::if_any(faults)?;
        Ok(owner)
    }

    /// Inserts a key and its credential.
    pub(super) fn insert(
        &self,
        tx: &mut Tx<'_>,
        new: NewApiKey,
        owner: &ResolvedOwner,
        credential: &NewCredential,
    ) -> Result<(ApiKeyView, NewEvent), StoreError> {
        let key = ApiKey {
            id: tx.generate_id()?,
            attributes: new.attributes,
            ownership: owner.ownership(),
            suspended_at: None,
            revoked_at: None,
            archived_at: None,
            credentials: Vec::new(),
            created_at: tx.now(),
            created_by: tx.creator(),
            version: 1,
        };
        store::api_keys::keys::insert(tx, &key, credential)?;
        let owner = &key.ownership.owner;
        let event = key_event(EventType::ApiKeyCreated, &key)
            .with_data("owner_type", owner.kind().as_str())
            .with_data("owner", owner.id().unwrap_or("none"))
            .with_data("permissions", key.attributes.permissions.to_string());
        // Read back together with the directory data from which the owner status follows.
        let now = tx.now();
        let key = store::api_keys::keys::find(tx, &key.id, now)?
            .ok_or_else(|| StoreError::invalid_data("a key that was just inserted is missing"))?;
        Ok((ApiKeyView::new(key, now, &self.settings), event))
    }

    /// Loads a key in its current state, if the caller may see it.
    pub(super) fn load(&self, tx: &mut Tx<'_>, caller: &Caller, id: &KeyId) -> Result<ApiKeyView, Error> {
        let now = tx.now();
        Ok(ApiKeyView::new(find_key(tx, caller, id, false, now)?, now, &self.settings))
    }

    pub(super) fn generate_credential(&self, tx: &Tx<'_>) -> Result<(NewCredential, ApiKeyValue), Error> {
        let prefix = self.settings.api_keys.prefix.clone();
        let id = CredentialId::generate(&self.entropy)?;
        let secret = Secret::generate(&self.entropy)?;
        let value = ApiKeyValue::format(&prefix, &id, &secret);
        let encrypted = credential::encrypt(&self.master, SecretKind::Credential, &id, &secret, &self.entropy)?;
        let credential =
            Credential { id, prefix, masked_value: None, created_at: tx.now(), expires_at: None, last_used_at: None };
        Ok((
            NewCredential {
                credential,
                encrypted_secret: encrypted.bytes,
                master_version: encrypted.master_version,
                lookup_digest: None,
            },
            value,
        ))
    }
}
