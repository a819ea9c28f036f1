//! Making a key and its credential, inside a change.

use crate::{
    crypto::{credential, master::MasterKeys, random::SystemEntropy},
    domain::{
        api_key::{ApiKey, Credential, Life, Owner},
        api_key_value::{ApiKeyValue, Prefix, Secret},
        event::{EventKind, NewEvent},
        id::CredentialId,
        policy::Holdings,
    },
    service::{App, Error, Settings},
    store::{self, Tx, api_keys::NewCredential},
};

use super::{
    NewKey, Shown, WithValue,
    limits::{audience_faults, expiry_faults, permission_faults, ttl_faults},
};

/// What making a key takes, gathered so that a change on another thread can have it.
#[derive(Debug, Clone)]
pub(in crate::service) struct Maker {
    settings: Settings,
    master: MasterKeys,
    entropy: SystemEntropy,
}

impl Maker {
    pub(in crate::service) fn of(app: &App) -> Self {
        Self::new(&app.settings, &app.master, &app.entropy)
    }

    pub(in crate::service) fn new(settings: &Settings, master: &MasterKeys, entropy: &SystemEntropy) -> Self {
        Self { settings: settings.clone(), master: master.clone(), entropy: entropy.clone() }
    }

    pub(in crate::service) fn make(
        &self,
        tx: &mut Tx<'_>,
        new: NewKey,
        holdings: &Holdings,
    ) -> Result<(WithValue, NewEvent), Error> {
        let mut faults = permission_faults(tx, &new.owner, &new.permissions, holdings)?;
        faults.extend(audience_faults(tx, new.audiences.as_deref())?);
        faults.extend(expiry_faults(&self.settings, tx.now(), tx.now(), new.expires_at));
        faults.extend(ttl_faults(new.max_token_ttl));
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        let (credential, value) = self.credential(tx)?;
        let mut key = ApiKey {
            id: tx.new_id()?,
            name: new.name,
            owner: new.owner,
            permissions: new.permissions,
            audiences: new.audiences,
            metadata: new.metadata,
            max_token_ttl: new.max_token_ttl,
            life: Life { suspended_at: None, revoked_at: None, expires_at: new.expires_at },
            credentials: Vec::new(),
            created_at: tx.now(),
            created_by: tx.actor(),
            version: 1,
        };
        store::api_keys::insert(tx, &key, &credential)?;
        key.credentials.push(credential.credential);
        let owner = match &key.owner {
            Owner::ServiceClient(id) => id.to_string(),
            Owner::Nobody => "none".to_owned(),
        };
        let event = NewEvent::new(EventKind::ApiKeyCreated, &key.id)
            .with("owner", owner)
            .with("permissions", key.permissions.to_string());
        Ok((WithValue { shown: Shown { key, now: tx.now() }, value }, event))
    }

    pub(super) fn credential(&self, tx: &Tx<'_>) -> Result<(NewCredential, ApiKeyValue), Error> {
        let prefix: Prefix = self.settings.prefix.clone();
        let id = CredentialId::generate(&self.entropy)?;
        let secret = Secret::generate(&self.entropy)?;
        let value = ApiKeyValue::format(&prefix, &id, &secret);
        let sealed = credential::seal(&self.master, &id, &secret, &self.entropy)?;
        let credential = Credential { id, prefix, created_at: tx.now(), expires_at: None, last_used_at: None };
        Ok((NewCredential { credential, sealed: sealed.bytes, master_version: sealed.master_version }, value))
    }
}
