//! Verification of the usual keys with one narrow row and remembered facts. It can only accept a
//! key: whatever is unusual is verified with all tables, which alone refuses keys.

use std::sync::Arc;

use crate::{
    crypto::sha256,
    domain::{
        credentials::error::CredentialError,
        exchange::key_context::{ExchangeParameters, KeyContext},
    },
    service::{
        Services,
        credentials::{
            authenticity::decrypt_row, error::AuthError, parse::ParsedCredential, shared_facts_cache::SharedFacts,
        },
    },
    store::{
        Conn, StoreError,
        access::audiences::AuthenticatedAudience,
        credentials::{
            narrow_lookup::NarrowCredential,
            shared_facts::{self, StoredSharedFacts},
        },
    },
    telemetry::labels::AuthenticatedTable,
};

/// What the narrow row of a key shows.
pub(crate) enum NarrowResult {
    /// The key is in force and its secret is correct. The context is that of all tables, so the
    /// rules decide the same.
    Accepted(Box<KeyContext>),
    /// All tables must be read. If they accept the key, the facts of this row should be remembered.
    UnknownFacts(Box<NarrowCredential>),
    /// All tables must be read.
    Insufficient,
}

pub(crate) async fn verify(
    services: &Services,
    key: &ParsedCredential,
    request: &ExchangeParameters,
) -> Result<NarrowResult, AuthError> {
    let default = &services.settings.limits.default_audience;
    let ParsedCredential::Native(native) = key else { return Ok(NarrowResult::Insufficient) };
    if request.targets.iter().any(|target| target != default) {
        return Ok(NarrowResult::Insufficient);
    }
    let Some((row, now)) = services.store.load_narrow_credential(native.credential_id).await? else {
        return Ok(NarrowResult::Insufficient);
    };
    let facts = match services.shared_facts.find(&row) {
        Some(Some(facts)) => facts,
        Some(None) => return Ok(NarrowResult::Insufficient),
        None => return Ok(NarrowResult::UnknownFacts(Box::new(row))),
    };
    let encrypted = row.encrypted_secret.clone();
    let context = facts.context_of(row, now);
    let encoded = context.key.credential_authority().encode(sha256);
    let id = context.key.credential_id.as_str();
    // The digest decrypts only if the row and the remembered entitlement are what Keyswap wrote.
    // Whatever is wrong with the row, all tables decide.
    let Ok(digest) = decrypt_row(services, AuthenticatedTable::NarrowCredentials, id, &encoded, &encrypted) else {
        return Ok(NarrowResult::Insufficient);
    };
    let is_in_force = || context.key.check_in_force(now, &services.settings.limits).is_ok();
    if key.is_correct(&digest) && is_in_force() {
        Ok(NarrowResult::Accepted(Box::new(context)))
    } else {
        Ok(NarrowResult::Insufficient)
    }
}

/// Loads and remembers the facts that an accepted key shares with others, unless others are being
/// loaded. Nothing depends on the result.
pub(crate) async fn remember_facts(services: &Services, row: NarrowCredential) {
    let Some(_permit) = services.shared_facts.begin_load() else { return };
    let (credential, audience) = (row.clone(), services.settings.limits.default_audience.clone());
    let load = move |connection: &mut Conn| shared_facts::load(connection, &credential, &audience, sha256);
    match services.store.read::<_, StoreError>(load).await {
        Ok(Some(stored)) => {
            if let Ok(facts) = authentic(services, stored) {
                services.shared_facts.remember(&row, facts.map(Arc::new));
            }
        }
        // Something changed since the row was read. The next exchange tries again.
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "failed to load the facts that keys share"),
    }
}

/// Returns the facts if the default audience is authentic and nothing else is needed.
fn authentic(services: &Services, stored: StoredSharedFacts) -> Result<Option<SharedFacts>, AuthError> {
    let Some(AuthenticatedAudience { audience, tag }) = &stored.audience else { return Ok(None) };
    match decrypt_row(services, AuthenticatedTable::Audiences, audience.id.as_str(), &audience.encode(), tag) {
        Ok(_) => Ok(SharedFacts::from_stored(stored)),
        Err(AuthError::Credential(CredentialError::Altered)) => Ok(None),
        Err(error) => Err(error),
    }
}
