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
        Conn, LookupDetail, StoreError,
        access::audiences::AuthenticatedAudience,
        credentials::{
            key_details::KeyDetails,
            narrow_lookup::NarrowCredential,
            shared_facts::{self, StoredSharedFacts},
        },
    },
    telemetry::labels::AuthenticatedTable,
};

/// What the narrow row of a key shows.
pub(crate) enum NarrowResult {
    /// The key is in force and its secret is correct. The context and the details, which are
    /// present for `LookupDetail::Full`, are those of all tables, so the rules decide the same.
    Accepted(Box<KeyContext>, Option<Box<KeyDetails>>),
    /// All tables must be read. If they accept the key, these facts should be remembered.
    UnknownFacts(Box<UnknownFacts>),
    /// All tables must be read.
    Insufficient,
}

/// Facts of a row at an audience that are not remembered yet.
pub(crate) struct UnknownFacts {
    row: NarrowCredential,
    audience: Identifier,
}

pub(crate) async fn verify(
    services: &Services,
    key: &ParsedCredential,
    request: &ExchangeParameters,
    detail: LookupDetail,
) -> Result<NarrowResult, AuthError> {
    let ParsedCredential::Native(native) = key else { return Ok(NarrowResult::Insufficient) };
    let mut targets = request.targets.iter();
    let audience = match (targets.next(), targets.next()) {
        (None, _) => &services.settings.limits.default_audience,
        (Some(one), None) => one,
        (Some(_), Some(_)) => return Ok(NarrowResult::Insufficient),
    };
    let (store, id) = (&services.store, native.credential_id);
    let found = match detail {
        LookupDetail::Context => store.load_narrow_credential(id).await?.map(|found| (found, None)),
        LookupDetail::Full => store.load_narrow_details(id).await?.map(|(found, details)| (found, Some(details))),
    };
    let Some(((row, now), details)) = found else { return Ok(NarrowResult::Insufficient) };
    let facts = match services.shared_facts.find(&row, audience) {
        Some(Some(facts)) => facts,
        Some(None) => return Ok(NarrowResult::Insufficient),
        None => {
            let unknown = UnknownFacts { row, audience: audience.clone() };
            return Ok(NarrowResult::UnknownFacts(Box::new(unknown)));
        }
    };
    let encrypted = row.encrypted_secret.clone();
    let context = Box::new(facts.context_of(row, now));
    let encoded = context.key.credential_authority().encode(sha256);
    let id = context.key.credential_id.as_str();
    // The digest decrypts only if the row and the remembered entitlement are what Keyswap wrote.
    // Whatever is wrong with the row, all tables decide.
    let Ok(digest) = decrypt_row(services, AuthenticatedTable::NarrowCredentials, id, &encoded, &encrypted) else {
        return Ok(NarrowResult::Insufficient);
    };
    let is_in_force = || context.key.check_in_force(now, &services.settings.limits).is_ok();
    if key.is_correct(&digest) && is_in_force() {
        let details = details.map(|details| Box::new(details.into_key_details(&context)));
        Ok(NarrowResult::Accepted(context, details))
    } else {
        Ok(NarrowResult::Insufficient)
    }
}

/// Loads and remembers the facts that an accepted key shares with others, unless others are being
/// loaded. Nothing depends on the result.
pub(crate) async fn remember_facts(services: &Services, unknown: UnknownFacts) {
    let Some(_permit) = services.shared_facts.begin_load() else { return };
    let UnknownFacts { row, audience } = unknown;
    let (credential, of_audience) = (row.clone(), audience.clone());
    let load = move |connection: &mut Conn| shared_facts::load(connection, &credential, &of_audience, sha256);
    match services.store.read::<_, StoreError>(load).await {
        Ok(Some(stored)) => {
            if let Ok(facts) = authentic(services, stored) {
                services.shared_facts.remember(&row, &audience, facts.map(Arc::new));
            }
        }
        // Something changed since the row was read. The next exchange tries again.
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "failed to load the facts that keys share"),
    }
}

/// Returns the facts if the audience is authentic and nothing else is needed.
fn authentic(services: &Services, stored: StoredSharedFacts) -> Result<Option<SharedFacts>, AuthError> {
    let Some(AuthenticatedAudience { audience, tag }) = &stored.audience else { return Ok(None) };
    match decrypt_row(services, AuthenticatedTable::Audiences, audience.id.as_str(), &audience.encode(), tag) {
        Ok(_) => Ok(SharedFacts::from_stored(stored)),
        Err(AuthError::Credential(CredentialError::Altered)) => Ok(None),
        Err(error) => Err(error),
    }
}
