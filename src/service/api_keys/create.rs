//! Creates a key and its credential within a transaction.

use crate::{
    crypto::{credential, master_keys::MasterKeys, random::SystemEntropy},
    domain::{
        common::{derived_id::CredentialId, id::KeyId},
        credentials::{
            api_key::{ApiKey, Credential, Life},
            format::{ApiKeyValue, Prefix, Secret},
        },
        events::{EventKind, NewEvent},
    },
    service::{
        App, Error, Fault, Settings,
        api_keys::{
            limits::{
                audience_faults, beyond_caller, expiry_faults, permission_faults, rate_faults, ttl_faults, type_faults,
            },
            lookup::{NOT_FOUND, key_event},
            owner::{self, Holder},
            types::{NewKey, Shown, WithValue},
        },
        caller::Caller,
    },
    store::{self, StoreError, Tx, api_keys::credentials::NewCredential},
};

/// The dependencies of key creation, owned so that they can move into a transaction on another
/// thread.
#[derive(Debug, Clone)]
pub(crate) struct Maker {
    pub(crate) settings: Settings,
    pub(crate) master: MasterKeys,
    pub(crate) entropy: SystemEntropy,
}

impl Maker {
    pub(crate) fn of(app: &App) -> Self {
        Self::new(&app.settings, &app.master, &app.entropy)
    }

    pub(crate) fn new(settings: &Settings, master: &MasterKeys, entropy: &SystemEntropy) -> Self {
        Self { settings: settings.clone(), master: master.clone(), entropy: entropy.clone() }
    }

    pub(crate) fn make(&self, tx: &mut Tx<'_>, new: NewKey, caller: &Caller) -> Result<(WithValue, NewEvent), Error> {
        let holder = self.checked(tx, &new, caller, Vec::new())?;
        let (credential, value) = self.credential(tx)?;
        let (shown, event) = self.written(tx, new, &holder, &credential)?;
        Ok((WithValue { shown, value }, event))
    }

    /// Validates a new key and resolves its owner. `faults` are already known and are reported
    /// together with those found here.
    pub(crate) fn checked(
        &self,
        tx: &mut Tx<'_>,
        new: &NewKey,
        caller: &Caller,
        mut faults: Vec<Fault>,
    ) -> Result<Holder, Error> {
        let holder = owner::of_new_key(tx, caller, new.owner.clone())?;
        faults.extend(type_faults(&self.settings, &holder));
        faults.extend(permission_faults(tx, &holder, &new.permissions, &caller.holdings)?);
        faults.extend(audience_faults(tx, new.audiences.as_deref())?);
        faults.extend(expiry_faults(&self.settings, tx.now(), tx.now(), new.expires_at));
        faults.extend(ttl_faults(new.max_token_ttl));
        faults.extend(rate_faults(new.exchanges_per_minute));
        faults.extend(beyond_caller(caller, new));
        if faults.is_empty() { Ok(holder) } else { Err(Error::Invalid(faults)) }
    }

    /// Inserts a key and its credential.
    pub(crate) fn written(
        &self,
        tx: &mut Tx<'_>,
        new: NewKey,
        holder: &Holder,
        credential: &NewCredential,
    ) -> Result<(Shown, NewEvent), StoreError> {
        let key = ApiKey {
            id: tx.new_id()?,
            name: new.name,
            ownership: holder.ownership(),
            permissions: new.permissions,
            audiences: new.audiences,
            metadata: new.metadata,
            max_token_ttl: new.max_token_ttl,
            exchanges_per_minute: new.exchanges_per_minute,
            life: Life { suspended_at: None, revoked_at: None, expires_at: new.expires_at },
            archived_at: None,
            credentials: Vec::new(),
            created_at: tx.now(),
            created_by: tx.author(),
            version: 1,
        };
        store::api_keys::keys::insert(tx, &key, credential)?;
        let event = key_event(EventKind::ApiKeyCreated, &key)
            .with("owner_type", key.ownership.owner.kind().as_str())
            .with("owner", key.ownership.owner.id().unwrap_or("none"))
            .with("permissions", key.permissions.to_string());
        // Read back together with the directory data from which the owner status follows.
        let now = tx.now();
        let shown = store::api_keys::keys::find(tx, &key.id, now)?;
        let shown = shown.ok_or_else(|| StoreError::Corrupt("a key that was just written is gone".to_owned()))?;
        Ok((Shown::new(shown, now, &self.settings), event))
    }

    /// Loads a key in its current state.
    pub(crate) fn shown(&self, tx: &mut Tx<'_>, id: &KeyId) -> Result<Shown, Error> {
        let now = tx.now();
        let key = store::api_keys::keys::find(tx, id, now)?.ok_or(NOT_FOUND)?;
        Ok(Shown::new(key, now, &self.settings))
    }

    pub(crate) fn credential(&self, tx: &Tx<'_>) -> Result<(NewCredential, ApiKeyValue), Error> {
        let prefix: Prefix = self.settings.prefix.clone();
        let id = CredentialId::generate(&self.entropy)?;
        let secret = Secret::generate(&self.entropy)?;
        let value = ApiKeyValue::format(&prefix, &id, &secret);
        let sealed = credential::seal(&self.master, &id, &secret, &self.entropy)?;
        let credential =
            Credential { id, prefix, masked: None, created_at: tx.now(), expires_at: None, last_used_at: None };
        Ok((
            NewCredential { credential, sealed: sealed.bytes, master_version: sealed.master_version, lookup: None },
            value,
        ))
    }
}
