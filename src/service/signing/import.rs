//! Imports a private signing key.

use std::sync::Arc;

use crate::{
    crypto::{key_import, signer::Signer},
    service::{
        Conflict, Error, Services,
        caller::Caller,
        signing::{
            clock_monitor, key_change,
            key_publisher::KeyPublisher,
            rotation::{confirm_publication, require_trusted_database},
            rotation_state::SigningKeyItem,
        },
    },
};

/// Publishes an imported private key as the next key of the configured algorithm. It replaces the
/// current next key, which has never signed. A key that is or was known is an `Error::Conflict`.
pub async fn import(services: &Services, caller: &Caller, text: &str) -> Result<SigningKeyItem, Error> {
    require_trusted_database(services)?;
    clock_monitor::check_clock(services).await?;
    let algorithm = services.settings.signing_keys.algorithm;
    let der =
        key_import::parse_private_key(text, algorithm).map_err(|error| Error::invalid("key", error.to_string()))?;
    let signer = Signer::from_pkcs8(algorithm, &der).map_err(|error| Error::invalid("key", error.to_string()))?;
    let kid = signer.jwk().kid.clone();
    let mut publisher = KeyPublisher::new(services.master_keys.clone(), vec![(algorithm, Arc::new(der))]);
    let reference = services.clock_monitor.reference();
    let imported = key_change::run(services, caller, Some(reference), move |change| {
        if change.state.find(&kid).is_some() {
            return Err(Conflict::SigningKeyExists(kid).into());
        }
        let key = change.replace_next(&mut publisher, algorithm)?;
        Ok(change.state.describe(&key))
    });
    let imported = imported.await?;
    confirm_publication(services).await;
    Ok(imported)
}
