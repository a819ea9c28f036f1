//! Imports a private signing key.

use crate::{
    crypto::{
        key_import::{self, ImportError},
        signer::Signer,
    },
    domain::signing::SigningKeyState,
    service::{
        Error, Services,
        caller::Caller,
        signing::{
            clock_monitor,
            loaded::Listed,
            rotation::{NO_LIVE_TOKENS, lock_and_load_with_steady_clock, require_trusted, settle},
            steps::{Publication, advance, publish},
        },
    },
    store::Outcome,
};

/// Publishes an imported private key as the next key of the configured algorithm. It replaces the
/// current next key, which has never signed. A key that is or was known is an `Error::Conflict`.
pub async fn import(services: &Services, caller: &Caller, text: &str) -> Result<Listed, Error> {
    require_trusted(services)?;
    clock_monitor::watch(services).await?;
    let algorithm = services.settings.signing_keys.algorithm;
    let der = key_import::parse_private_key(text, algorithm)
        .map_err(|error: ImportError| Error::invalid("key", error.to_string()))?;
    let signer = Signer::from_pkcs8(algorithm, &der).map_err(|error| Error::invalid("key", error.to_string()))?;
    let kid = signer.jwk().kid.clone();
    let (master, entropy, settings) = (services.master.clone(), services.entropy.clone(), services.settings.clone());
    let pace = services.watch.reference_reading();
    let imported = services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let (now, looked) = lock_and_load_with_steady_clock(tx, &settings, &pace)?;
            if looked.keys.iter().any(|key| key.kid == kid) {
                return Err(Error::Conflict(format!(
                    "the key {kid} is or was here already, and a kid is never used again"
                )));
            }
            let mut events = Vec::new();
            for key in looked.keys.iter().filter(|key| key.algorithm == algorithm && key.state == SigningKeyState::Next)
            {
                advance(tx, key, SigningKeyState::Removed, now, &mut events)?;
            }
            let made = publish(tx, &master, &entropy, algorithm, &der, Publication::next(now), &mut events)?;
            Ok(Outcome::events(looked.view_key(&made, now, &NO_LIVE_TOKENS), events))
        })
        .await?;
    settle(services).await;
    Ok(imported)
}
