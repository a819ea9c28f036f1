//! Imported keys: adopted by their SHA-256 digest, they remain valid in their original format.

use crate::{
    config::Settings,
    crypto::{imported_key, sha256},
    domain::{
        access::policy::TenantScope,
        credentials::{api_key::Credential, imported::ImportedKeyDigest, secret_digest::SecretDigest},
        events::NewEvent,
    },
    service::{
        Conflict, Error, InputFault, Services,
        api_keys::{
            KeyFactory,
            quotas::require_key_quota,
            types::{ApiKeyView, Import, NewApiKey},
        },
        caller::Caller,
        common::idempotency::{self, IdempotencyRequest, IdempotentOutcome},
        credentials::parse::has_native_prefix,
        encryption::master_keys::refresh_if_stale,
    },
    store::{
        self, Lock, NoEvent, Outcome, StoreError, Tx,
        api_keys::credentials::{self, NewCredential},
    },
};

/// Creates a key whose value already exists outside Keyswap. Keyswap receives only the digest of
/// the value.
pub async fn import(
    services: &Services,
    caller: &Caller,
    new: NewApiKey,
    import: Import,
    once: Option<IdempotencyRequest>,
) -> Result<IdempotentOutcome<ApiKeyView, ApiKeyView>, Error> {
    let factory = KeyFactory::of(services);
    services
        .change(caller, move |tx, caller| {
            if let Some(id) = idempotency::earlier(tx, once.as_ref())? {
                return Ok(Outcome::without_event(
                    IdempotentOutcome::Existing(factory.load(tx, caller, &id.parse()?)?),
                    NoEvent::AlreadyRecorded,
                ));
            }
            let (api_key, event) = factory.import(tx, new, import, caller)?;
            idempotency::record_object(tx, once.as_ref(), api_key.key.id.as_str())?;
            Ok(Outcome::event(IdempotentOutcome::New(api_key), event))
        })
        .await
}

/// The advisory lock under which a digest is imported. It is a hash and does not disclose the
/// digest.
fn import_lock(digest: &ImportedKeyDigest) -> Lock {
    let [a, b, c, d, e, f, g, h, ..] = sha256(digest.expose());
    Lock::ImportedKey(i64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

impl KeyFactory {
    fn import(
        &self,
        tx: &mut Tx<'_>,
        new: NewApiKey,
        import: Import,
        caller: &Caller,
    ) -> Result<(ApiKeyView, NewEvent), Error> {
        if caller.authority.tenant_scope != TenantScope::Account {
            // Digests share one namespace across all tenants: a caller inside a tenant could claim
            // another tenant's key, or probe for it.
            return Err(Error::Forbidden("keyswap:keys"));
        }
        let owner = self.resolve_owner_with_faults(tx, caller, new.owner, &new.attributes)?;
        let mut faults = validate_import(&self.settings, &import);
        if new.access_record.is_some() {
            let message = "cannot be combined with import: create the record with POST /v1/access-records";
            faults.push(InputFault::new("access_record", message));
        }
        faults.extend(self.find_faults(tx, &owner, &new.attributes, caller)?);
        Error::if_any(faults)?;
        require_key_quota(tx, &self.quotas, &owner.owner, &owner.owner_scope)?;
        // One key per digest, even while two replicas encrypt under different master keys.
        tx.lock(import_lock(&import.sha256))?;
        refresh_if_stale(tx, &self.master)?;
        let lookups = imported_key::compute_lookups(&self.master, &import.sha256);
        if store::api_keys::credentials::is_imported_key_stored(tx, &lookups)? {
            return Err(Error::Conflict(Conflict::DigestImported));
        }
        let credential = self.build_imported_credential(tx, import)?;
        let (api_key, event) = self.insert(tx, new.attributes, &owner, &credential).map_err(|error| match error {
            // A concurrent request imported the digest first. The ids are random and do not
            // collide.
            StoreError::Conflict(_) => Error::Conflict(Conflict::DigestImported),
            other @ (StoreError::Unavailable(_)
            | StoreError::InvalidData(_)
            | StoreError::Altered { .. }
            | StoreError::OlderVersion { .. }
            | StoreError::Encryption(_)
            | StoreError::LockOrder { .. }
            | StoreError::NoEntropy(_)) => other.into(),
        })?;
        Ok((api_key, event.with_data("imported", true)))
    }

    fn build_imported_credential(&self, tx: &mut Tx<'_>, import: Import) -> Result<NewCredential, Error> {
        let id = credentials::generate_id(tx)?;
        let credential = Credential {
            id,
            prefix: self.settings.api_keys.prefix.clone(),
            masked_value: Some(import.masked.unwrap_or_default()),
            created_at: tx.now(),
            expires_at: None,
            last_used_at: None,
        };
        let lookup_digest = Some(imported_key::compute_lookup(&self.master, &import.sha256));
        Ok(NewCredential { credential, digest: SecretDigest::new(*import.sha256.expose()), lookup_digest })
    }
}

fn validate_import(settings: &Settings, import: &Import) -> Vec<InputFault> {
    let disabled = (!settings.api_keys.imported)
        .then(|| InputFault::new("import", "imported keys are not accepted: set api_keys.imported to true"));
    let native = import.masked.as_ref().filter(|masked| has_native_prefix(settings, masked.as_str())).map(|_| {
        InputFault::new(
            "import.masked",
            "begins with a prefix of native keys (api_keys.prefix, api_keys.accepted_prefixes), so the key would never be found",
        )
    });
    disabled.into_iter().chain(native).collect()
}
