//! Validation: a service checks a key or token that it has received, in one call.

use crate::{
    domain::{
        access::permission::PermissionSet,
        exchange::validation::{self, CredentialRequirements, Principals, ValidatedAccess},
    },
    service::{
        Error, Services, api_keys::types::ApiKeyView, credentials::error::AuthError,
        introspection::resolve::resolve_token,
    },
    store::LookupDetail,
};

/// A key that is in force, with the user and organization that own it.
#[derive(Debug)]
pub struct ValidationResult {
    pub key: ApiKeyView,
    pub principals: Principals,
    pub validated: ValidatedAccess,
}

/// Validates a key, or a token and the key that it was issued for. Returns `None` if it is not
/// accepted, regardless of the reason. `value` may begin with `Bearer`.
pub async fn validate(
    services: &Services,
    value: &str,
    required: &CredentialRequirements,
) -> Result<Option<ValidationResult>, AuthError> {
    let audiences = required.audience.clone().map(|audience| [audience].into());
    let verified = resolve_token(services, value, audiences.as_ref(), LookupDetail::Full, |context, bounds| {
        validation::validate(context, required, bounds, &services.settings.limits)
    });
    let Some(verified) = verified.await? else { return Ok(None) };
    // A missing part of the look-up is a fault of Keyswap, not of the key.
    let details = verified.details.ok_or_else(|| Error::internal("the look-up returned no details"))?;
    let (key, principals) = *details;
    let mut key = ApiKeyView::new(key, verified.context.now, &services.settings);
    let validated = verified.decision;
    if validated.access.record_bound {
        // A service that reads only the permissions would serve the key at every resource.
        key.key.attributes.permissions = PermissionSet::default();
    }
    Ok(Some(ValidationResult { key, principals, validated }))
}
