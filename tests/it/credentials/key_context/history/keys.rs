//! Service clients, keys and their credentials.

use keyswap::{
    domain::{
        access::{
            owner::Owner as StoredOwner,
            owner_status::{DirectorySnapshot, Ownership, ServiceClientSnapshot},
        },
        common::{derived_id::CredentialId, id::KeyId},
        credentials::{
            api_key::{ApiKey, ApiKeyAttributes, Credential as StoredCredential},
            secret_digest::SecretDigest,
        },
        directory::service_client::ServiceClient,
    },
    store::{self, StoreError, api_keys::credentials::NewCredential},
};

use super::{Applied, Builder, PERMISSIONS, at, generation, owner_scope, permission, seconds, set};
use crate::credentials::key_context::model::{Client, Credential, DEFAULT_AUDIENCE, Key, Scope};

impl Builder<'_, '_> {
    pub(super) fn create_client(&mut self) -> Applied {
        let owner = if self.chance.one_in(4) { Some(Scope::Account) } else { self.random_scope() };
        let Some(owner) = owner else { return Ok(()) };
        let permissions = self.random_permissions();
        let row = ServiceClient {
            id: self.tx.generate_id()?,
            name: "a client".parse().unwrap(),
            owner_scope: owner_scope(&owner),
            permissions: set(&permissions),
            metadata: Default::default(),
            created_at: self.tx.now(),
            created_by: self.tx.creator(),
            version: 1,
        };
        self.model.clients.insert(row.id.to_string(), Client { owner_scope: owner, permissions, deleted: false });
        store::api_keys::service_clients::insert(self.tx, &row)
    }

    pub(super) fn change_client(&mut self) -> Applied {
        let Some(id) = self.chance.pick(self.model.clients.keys()).cloned() else { return Ok(()) };
        let stored = id.parse().unwrap();
        let Some(mut row) = store::api_keys::service_clients::find(self.tx, &stored)? else { return Ok(()) };
        let client = self.model.clients.get_mut(&id).unwrap();
        if self.chance.one_in(2) {
            client.deleted = true;
            return store::api_keys::service_clients::delete(self.tx, &stored);
        }
        client.permissions = (0..PERMISSIONS).filter(|_| self.chance.one_in(2)).map(permission).collect();
        row.permissions = set(&client.permissions);
        store::api_keys::service_clients::update(self.tx, &row)
    }

    pub(super) fn create_key(&mut self) -> Applied {
        let client = if self.chance.one_in(3) { self.chance.pick(self.model.clients.keys()).cloned() } else { None };
        let client = client.filter(|id| !self.model.clients[id].deleted);
        let owner = match &client {
            Some(id) => Some(self.model.clients[id].owner_scope.clone()),
            None if self.chance.one_in(8) => Some(Scope::Account),
            None => self.random_scope(),
        };
        let Some(owner) = owner else { return Ok(()) };
        let maker = match &owner {
            Scope::Organization { id, .. } if client.is_none() && self.chance.one_in(2) => {
                let inside = self.model.members.iter().filter(|((organization, _), _)| organization == id);
                let inside: Vec<_> = inside.map(|((_, user), member)| (user.clone(), member.serial.clone())).collect();
                self.chance.pick(inside.iter()).cloned()
            }
            _ => None,
        };
        let names = [DEFAULT_AUDIENCE, "https://one.test", "https://two.test"];
        let audiences = self
            .chance
            .one_in(4)
            .then(|| names.into_iter().filter(|_| self.chance.one_in(2)).map(str::to_owned).collect::<Vec<_>>());
        let is_imported = self.chance.one_in(4);
        let credential = self.credential(is_imported)?;
        let key = Key {
            client,
            owner_scope: owner,
            maker,
            permissions: self.random_permissions(),
            audiences,
            max_token_ttl: self.chance.one_in(4).then(|| 30 * i64::try_from(1 + self.chance.below(60)).unwrap()),
            exchanges_per_minute: self.chance.one_in(8).then_some(5),
            suspended: self.chance.one_in(12),
            revoked: false,
            archived: false,
            expires_at: if self.chance.one_in(4) { Some(self.random_expiry()) } else { None },
            credentials: vec![credential.clone()],
        };
        let id: KeyId = self.tx.generate_id()?;
        let row = self.key_row(&id, &key);
        let credential = self.credential_row(&credential);
        store::api_keys::keys::insert(self.tx, &row, &credential)?;
        self.model.keys.insert(id.to_string(), key);
        Ok(())
    }

    fn key_row(&self, id: &KeyId, key: &Key) -> ApiKey {
        let owner = match (&key.client, &key.owner_scope) {
            (Some(client), _) => StoredOwner::ServiceClient(client.parse().unwrap()),
            (None, Scope::Account) => StoredOwner::Unowned,
            (None, Scope::Organization { id, .. }) => StoredOwner::Organization(id.parse().unwrap()),
            (None, Scope::User { id, .. } | Scope::Member { user: id, .. }) => StoredOwner::User(id.parse().unwrap()),
        };
        let now = self.tx.now();
        ApiKey {
            id: id.clone(),
            attributes: ApiKeyAttributes {
                permissions: set(&key.permissions),
                audiences: key.audiences.as_ref().map(|names| names.iter().map(|name| name.parse().unwrap()).collect()),
                max_token_ttl: key.max_token_ttl.map(seconds),
                exchanges_per_minute: key.exchanges_per_minute,
                expires_at: key.expires_at.map(at),
                ..ApiKeyAttributes::new("a key".parse().unwrap())
            },
            ownership: Ownership {
                owner,
                owner_scope: owner_scope(&key.owner_scope),
                creator_membership: key
                    .maker
                    .as_ref()
                    .map(|(user, serial)| (user.parse().unwrap(), generation(serial))),
                client: key
                    .client
                    .is_some()
                    .then(|| ServiceClientSnapshot { permissions: set(&key.permissions), deleted: false }),
                directory: DirectorySnapshot::default(),
            },
            suspended_at: key.suspended.then_some(now),
            revoked_at: key.revoked.then_some(now),
            archived_at: key.archived.then_some(now),
            credentials: Vec::new(),
            created_at: now,
            created_by: self.tx.creator(),
            version: 1,
        }
    }

    fn credential(&mut self, imported: bool) -> Result<Credential, StoreError> {
        let id = CredentialId::generate(self.tx.entropy())?.to_string();
        let lookup = imported.then(|| format!("lookup-{id}"));
        Ok(Credential { id, ends_at: None, lookup })
    }

    /// Each credential has a later creation time than the previous one.
    fn credential_row(&mut self, credential: &Credential) -> NewCredential {
        self.made += 1;
        let mut digest = [0; 32];
        digest[..CredentialId::LENGTH].copy_from_slice(credential.id.as_bytes());
        NewCredential {
            credential: StoredCredential {
                id: credential.id.parse().unwrap(),
                prefix: "ks".parse().unwrap(),
                masked_value: None,
                created_at: at(self.model.now - 1_000_000 + self.made),
                expires_at: credential.ends_at.map(at),
                last_used_at: None,
            },
            digest: SecretDigest::new(digest),
            lookup_digest: credential.lookup.clone(),
        }
    }

    pub(super) fn change_key(&mut self) -> Applied {
        let Some(id) = self.chance.pick(self.model.keys.keys()).cloned() else { return Ok(()) };
        let mut key = self.model.keys[&id].clone();
        match self.chance.below(6) {
            0 => key.suspended = !key.suspended,
            1 => key.revoked = true,
            2 => (key.revoked, key.archived) = (true, true),
            3 => key.expires_at = Some(self.random_expiry()),
            4 => key.expires_at = None,
            _ => key.permissions = self.random_permissions(),
        }
        let row = self.key_row(&id.parse().unwrap(), &key);
        self.model.keys.insert(id, key);
        store::api_keys::keys::update(self.tx, &row)
    }

    /// Rotates a key, or cancels its rotation.
    pub(super) fn rotate(&mut self) -> Applied {
        let Some(id) = self.chance.pick(self.model.keys.keys()).cloned() else { return Ok(()) };
        let mut key = self.model.keys[&id].clone();
        let key_id: KeyId = id.parse().unwrap();
        if let [old, new] = key.credentials.as_mut_slice() {
            (old.ends_at, new.ends_at) = (None, Some(self.model.now));
            for credential in [old, new] {
                let end = credential.ends_at.map(at);
                store::api_keys::credentials::set_credential_expiration(
                    self.tx,
                    &key_id,
                    &credential.id.parse().unwrap(),
                    end,
                )?;
            }
        } else if key.credentials.len() == 1 {
            let end = self.random_expiry();
            key.credentials[0].ends_at = Some(end);
            store::api_keys::credentials::set_credential_expiration(
                self.tx,
                &key_id,
                &key.credentials[0].id.parse().unwrap(),
                Some(at(end)),
            )?;
            let credential = self.credential(false)?;
            let row = self.credential_row(&credential);
            store::api_keys::credentials::insert_credential(self.tx, &key_id, &row)?;
            key.credentials.push(credential);
        }
        self.model.keys.insert(id, key);
        Ok(())
    }
}
