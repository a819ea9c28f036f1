//! Verification of the usual keys with one narrow row and remembered facts. It can only accept a
//! key: whatever is unusual is verified with all tables, which alone refuses keys.

use std::sync::Arc;

use crate::{
    crypto::sha256,
    domain::{
        access::audience::Identifier,
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
        access::audiences::AuthenticatedAudience,
        credentials::{
            narrow_lookup::NarrowCredential,
            shared_facts::{self, StoredSharedFacts},
        },
    },
    telemetry::labels::AuthenticatedTable,
};

/// Returns the context of a key that is in force and whose secret is correct. Returns `None` if all
/// tables must be read. Both ways give the same context, so the rules decide the same.
pub(crate) async fn verify(
    services: &Services,
    key: &ParsedCredential,
    request: &ExchangeParameters,
) -> Result<Option<KeyContext>, AuthError> {
    let default = &services.settings.limits.default_audience;
    let ParsedCredential::Native(native) = key else { return Ok(None) };
    if request.targets.iter().any(|target| target != default) {
        return Ok(None);
    }
    let Some((row, now)) = services.store.load_narrow_credential(native.credential_id).await? else { return Ok(None) };
    let facts = match services.shared_facts.find(&row) {
        Some(facts) => facts,
        None => load_facts(services, &row, default).await?,
    };
    let Some(facts) = facts else { return Ok(None) };
    let encrypted = row.encrypted_secret.clone();
    let context = facts.context_of(row, now);
    let encoded = context.key.credential_authority().encode(sha256);
    let id = context.key.credential_id.as_str();
    // The digest decrypts only if the row and the remembered entitlement are what Keyswap wrote.
    match decrypt_row(services, AuthenticatedTable::NarrowCredentials, id, &encoded, &encrypted) {
        Ok(digest) if key.is_correct(&digest) => {
            let is_in_force = context.key.check_in_force(now, &services.settings.limits).is_ok();
            Ok(is_in_force.then_some(context))
        }
        Ok(_) => Ok(None),
        Err(AuthError::Credential(CredentialError::Altered)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Loads and remembers the facts that a key shares with others.
async fn load_facts(
    services: &Services,
    row: &NarrowCredential,
    default: &Identifier,
) -> Result<Option<Arc<SharedFacts>>, AuthError> {
    let (credential, audience) = (row.clone(), default.clone());
    let load = move |connection: &mut _| shared_facts::load(connection, &credential, &audience, sha256);
    // Something changed since the row was read. The next exchange tries again.
    let Some(stored) = services.store.read(load).await? else { return Ok(None) };
    let facts = authentic(services, stored)?.map(Arc::new);
    services.shared_facts.remember(row, facts.clone());
    Ok(facts)
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
