//! Verification of API keys: lookup of a native or imported key, and comparison of its secret.

use std::collections::BTreeSet;

use crate::{
    crypto::imported_key,
    domain::{
        access::audience::Identifier,
        credentials::error::CredentialError,
        exchange::{
            claims::Claims,
            grant::requested_targets,
            key_context::{ExchangeParameters, KeyContext},
        },
    },
    service::{
        Services,
        credentials::{
            authenticity::authenticate,
            error::AuthError,
            narrow_path::{self, NarrowResult},
            parse::ParsedCredential,
            verify::{PresentedCredential, record_use, verify},
        },
        encryption::master_keys::refresh_if_stale,
    },
    store::{
        CredentialLookup, LookupDetail, StoreError,
        credentials::{
            key_context::KeySelector,
            key_details::{self, CredentialQuery, KeyDetails},
        },
    },
};

/// Maximum number of audiences that are looked up. Rules refuse a request for fewer than these.
const MAX_TARGETS: usize = 32;

/// A verified API key or token, and what the rules of the operation decided.
#[derive(Debug)]
pub(crate) struct VerifiedCredential<T> {
    pub decision: T,
    pub context: Box<KeyContext>,
    /// Present for `LookupDetail::Full`.
    pub details: Option<Box<KeyDetails>>,
    /// Present for a token.
    pub claims: Option<Claims<'static>>,
}

/// Verifies an API key and applies `rule`. Every fault of the key yields `AuthError::Credential`.
pub(crate) async fn verify_api_key<T>(
    services: &Services,
    presented: PresentedCredential<'_>,
    request: &ExchangeParameters,
    detail: LookupDetail,
    rule: impl AsyncFnOnce(&KeyContext) -> Result<T, AuthError>,
) -> Result<VerifiedCredential<T>, AuthError> {
    let parse = |text: &str| {
        let key = ParsedCredential::parse(services, text)?;
        let id = key.limiter_id();
        Some((key, Some(id)))
    };
    verify(services, presented, parse, async |key: ParsedCredential| {
        let narrow = narrow_path::verify(services, &key, request, detail).await?;
        if let NarrowResult::Accepted(context, details) = narrow {
            let decision = rule(&context).await?;
            record_use(services, presented, &context);
            return Ok(VerifiedCredential { decision, context, details, claims: None });
        }
        let unusual = async {
            let (context, details) = verify_with_all_tables(services, &key, request, detail).await?;
            let decision = rule(&context).await?;
            record_use(services, presented, &context);
            if let NarrowResult::UnknownFacts(unknown) = narrow {
                narrow_path::remember_facts(services, *unknown).await;
            }
            Ok(VerifiedCredential { decision, context, details, claims: None })
        };
        // The future of each exchange would contain this one, which is far larger.
        Box::pin(unusual).await
    })
    .await
}

async fn verify_with_all_tables(
    services: &Services,
    key: &ParsedCredential,
    request: &ExchangeParameters,
    detail: LookupDetail,
) -> Result<(Box<KeyContext>, Option<Box<KeyDetails>>), AuthError> {
    let targets = requested_targets(request, &services.settings.limits);
    let targets = targets.into_iter().take(MAX_TARGETS).cloned().collect();
    let Some(CredentialLookup { record, details }) = find(services, key, targets, detail).await? else {
        key.is_correct(&services.decoy.decrypt()?);
        return Err(CredentialError::Unknown.into());
    };
    let (context, digest) = authenticate(services, record)?;
    if key.is_correct(&digest) { Ok((Box::new(context), details)) } else { Err(CredentialError::SecretMismatch.into()) }
}

async fn find(
    services: &Services,
    key: &ParsedCredential,
    targets: BTreeSet<Identifier>,
    detail: LookupDetail,
) -> Result<Option<CredentialLookup>, StoreError> {
    let (digest, lookups) = match key {
        ParsedCredential::Native(key) => {
            return services.store.load_credential(key.credential_id, targets, detail).await;
        }
        ParsedCredential::Imported { digest, lookups } => (digest.clone(), lookups.clone()),
    };
    let master = services.master_keys.clone();
    let mut query = CredentialQuery { by: KeySelector::ImportedKeyLookups(lookups), targets, detail };
    services
        .store
        .read(move |connection| {
            let found = key_details::find(connection, &query)?;
            if found.is_some() {
                return Ok(found);
            }
            // The key may be stored under a master key that a rotation added and that is not loaded
            // here yet.
            refresh_if_stale(connection, &master)?;
            let by = KeySelector::ImportedKeyLookups(imported_key::compute_lookups(&master, &digest));
            if by == query.by {
                return Ok(None);
            }
            query.by = by;
            key_details::find(connection, &query)
        })
        .await
}
