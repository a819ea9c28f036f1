//! Creates a key and its credential within a transaction.

use crate::{
    config::{Settings, sections::Quotas},
    crypto::{credential, master_keys::MasterKeys, random::SystemEntropy},
    domain::{
        common::id::KeyId,
        credentials::{
            api_key::{ApiKey, ApiKeyAttributes, Credential},
            format::{ApiKeyValue, Secret},
        },
        events::{EventType, NewEvent},
    },
    service::{
        Error, InputFault, Services,
        api_keys::{
            limits::{
                find_exceeded_caller_limits, require_within_caller_resources, validate_audiences, validate_expiry,
                validate_owner_type, validate_permissions, validate_rate_limit, validate_record_bound,
                validate_token_ttl,
            },
            lookup::{find_key, key_event},
            owner::{RequestedOwner, ResolvedOwner, resolve_owner},
            quotas::require_key_quota,
            types::{ApiKeyView, IssuedApiKey},
        },
        caller::Caller,
    },
    store::{
        self, StoreError, Tx,
        api_keys::credentials::{self, NewCredential},
    },
};

/// The dependencies of key creation, owned so that they can move into a transaction on another
/// thread.
#[derive(Debug, Clone)]
pub(crate) struct KeyFactory {
    pub(crate) settings: Settings,
    pub(super) quotas: Quotas,
    pub(crate) master: MasterKeys,
    pub(crate) entropy: SystemEntropy,
}

impl KeyFactory {
    pub(crate) fn of(services: &Services) -> Self {
        let quotas = services.live.load().quotas;
        Self { quotas, ..Self::new(&services.settings, &services.master_keys, &services.entropy) }
    }

    /// With the quotas of the start.
    pub(crate) fn new(settings: &Settings, master: &MasterKeys, entropy: &SystemEntropy) -> Self {
        let quotas = settings.reloadable().quotas;
        Self { settings: settings.clone(), quotas, master: master.clone(), entropy: entropy.clone() }
    }

    pub(crate) fn create(
        &self,
        tx: &mut Tx<'_>,
        owner: &ResolvedOwner,
        attributes: ApiKeyAttributes,
        caller: &Caller,
    ) -> Result<(IssuedApiKey, NewEvent), Error> {
        Error::if_any(self.find_faults(tx, owner, &attributes, caller)?)?;
        require_key_quota(tx, &self.quotas, &owner.owner, &owner.owner_scope)?;
        let (credential, value) = self.generate_credential(tx)?;
        let (api_key, event) = self.insert(tx, attributes, owner, &credential)?;
        require_within_caller_resources(tx, &self.settings, caller, &api_key.key)?;
        Ok((IssuedApiKey { api_key, value }, event))
    }

    /// Resolves the owner of a new key. An owner that is refused is reported together with the
    /// faults of the attributes.
    pub(super) fn resolve_owner_with_faults(
        &self,
        tx: &mut Tx<'_>,
        caller: &Caller,
        requested: Option<RequestedOwner>,
        attributes: &ApiKeyAttributes,
    ) -> Result<ResolvedOwner, Error> {
        let mut faults = Vec::new();
        if let Some(owner) = Error::collect(resolve_owner(tx, caller, requested), &mut faults)? {
            return Ok(owner);
        }
        faults.extend(self.find_attribute_faults(tx, attributes, caller)?);
        Err(Error::Invalid(faults))
    }

    /// Returns every fault of giving these attributes to a new key of the owner.
    pub(super) fn find_faults(
        &self,
        tx: &mut Tx<'_>,
        owner: &ResolvedOwner,
        attributes: &ApiKeyAttributes,
        caller: &Caller,
    ) -> Result<Vec<InputFault>, Error> {
        let mut faults: Vec<_> = validate_owner_type(&self.settings, owner).into_iter().collect();
        faults.extend(validate_permissions(tx, owner, &attributes.permissions, &caller.holdings)?);
        faults.extend(self.find_attribute_faults(tx, attributes, caller)?);
        faults.extend(validate_record_bound(tx, &self.settings, caller, owner, attributes.record_bound)?);
        Ok(faults)
    }

    /// Returns the faults that do not depend on the owner.
    fn find_attribute_faults(
        &self,
        tx: &mut Tx<'_>,
        attributes: &ApiKeyAttributes,
        caller: &Caller,
    ) -> Result<Vec<InputFault>, Error> {
        let mut faults = validate_audiences(tx, attributes.audiences.as_deref())?;
        faults.extend(validate_expiry(&self.settings, tx.now(), tx.now(), attributes.expires_at));
        faults.extend(validate_token_ttl(attributes.max_token_ttl));
        faults.extend(validate_rate_limit(attributes.exchanges_per_minute));
        faults.extend(find_exceeded_caller_limits(caller, attributes));
        Ok(faults)
    }

    /// Inserts a key and its credential.
    pub(super) fn insert(
        &self,
        tx: &mut Tx<'_>,
        attributes: ApiKeyAttributes,
        owner: &ResolvedOwner,
        credential: &NewCredential,
    ) -> Result<(ApiKeyView, NewEvent), StoreError> {
        let key = ApiKey {
            id: tx.generate_id()?,
            attributes,
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

    pub(super) fn generate_credential(&self, tx: &mut Tx<'_>) -> Result<(NewCredential, ApiKeyValue), Error> {
        let prefix = self.settings.api_keys.prefix.clone();
        let id = credentials::generate_id(tx)?;
        let secret = Secret::generate(&self.entropy)?;
        let value = ApiKeyValue::format(&prefix, &id, &secret);
        let digest = credential::hash_secret(&id, &secret);
        let credential =
            Credential { id, prefix, masked_value: None, created_at: tx.now(), expires_at: None, last_used_at: None };
        Ok((NewCredential { credential, digest, lookup_digest: None }, value))
    }
}
