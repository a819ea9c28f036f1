//! Validation: a service checks a key or token that it has received, in one call.

use crate::{
    domain::{
        access::permission::PermissionSet,
        exchange::validation::{PendingLookup, Principals, find_missing_permissions},
    },
    service::{
        Services,
        api_keys::types::Shown,
        credentials::{error::AuthError, verify::WHOLE},
        introspection::resolve::{AcceptedCredential, verify_presented_credential},
    },
};

/// A key that is in force, with the user and organization behind it.
#[derive(Debug)]
pub struct ValidationResult {
    pub shown: Shown,
    pub behind: Principals,
    /// The required permissions that are not in effect.
    pub missing: PermissionSet,
}

/// Validates a key, or a token and the key that it was issued for. Returns `None` if it is not
/// accepted, regardless of the reason. `value` may begin with `Bearer`.
pub async fn validate(
    services: &Services,
    value: &str,
    question: &PendingLookup,
) -> Result<Option<ValidationResult>, AuthError> {
    let asks = question.audience.clone().map(|audience| [audience].into());
    let judged = verify_presented_credential(services, value, asks.as_ref(), WHOLE, |facts, bounds| {
        find_missing_permissions(facts, question, bounds, &services.settings.limits)
    });
    Ok(judged.await?.map(|AcceptedCredential { decision: missing, facts, more: (key, behind), .. }| ValidationResult {
        shown: Shown::new(key, facts.now, &services.settings),
        behind,
        missing,
    }))
}
