//! Verification of API keys and tokens that a service has received. Every fault yields the same
//! result after the same time, as at the exchange.

use std::collections::BTreeSet;

use crate::{
    domain::{
        access::{audience::Identifier, token_profile::TokenTypeHeader},
        credentials::error::CredentialError,
        exchange::{
            claims::Claims,
            effective_access::{CredentialBounds, permissions_of},
            key_context::{ExchangeParameters, KeyContext},
            refusal::{DenyReason, TargetError},
        },
    },
    service::{
        Services,
        credentials::{
            api_key::{VerifiedCredential, verify_api_key},
            brute_force::Source,
            error::AuthError,
            token::{SignedToken, find_key_of_token, has_token_format},
            verify::{PresentedCredential, record_use, verify},
        },
    },
    store::LookupDetail,
    telemetry::labels::RequestForm,
};

/// Applies `rule` to a key or token that a service has received. Returns `None` if it is not
/// accepted, regardless of the reason. `value` may begin with `Bearer`. `audiences` are those of
/// the service, if they are known: a token must be for one of them. Failures do not count against
/// the service, because third parties could exhaust its budget and lock it out.
pub(crate) async fn resolve_token<T>(
    services: &Services,
    value: &str,
    audiences: Option<&BTreeSet<Identifier>>,
    detail: LookupDetail,
    rule: impl FnOnce(&KeyContext, &CredentialBounds) -> Result<T, DenyReason>,
) -> Result<Option<VerifiedCredential<T>>, AuthError> {
    let value = strip_bearer(value);
    let presented = PresentedCredential { value, source: Source::UNKNOWN, form: Some(RequestForm::Validation) };
    let verified = if has_token_format(value) {
        // A token is subject to the current state of its key. Of its own claims only the audience,
        // the scope and the authorization details limit it further.
        let parse = |text: &str| Some((SignedToken::verify(services, text)?, None));
        verify(services, presented, parse, async |token: SignedToken| {
            let bounds = token_bounds(services, &token.claims, audiences);
            let bounds = bounds.ok_or(AuthError::Target(TargetError::NotAllowed))?;
            let (context, details) = find_key_of_token(services, &token, bounds.audiences.clone(), detail).await?;
            let SignedToken { typ, claims, .. } = token;
            let is_profile = typ == TokenTypeHeader::ACCESS_TOKEN
                || context.audiences.iter().any(|audience| audience.token_profile.typ == typ);
            if !is_profile {
                return Err(CredentialError::Malformed.into());
            }
            let decision = rule(&context, &bounds)?;
            record_use(services, presented, &context);
            Ok(VerifiedCredential { decision, context, details, claims: Some(claims) })
        })
        .await
    } else {
        let audiences = audiences.cloned().unwrap_or_default();
        let bounds = CredentialBounds { audiences, ..CredentialBounds::default() };
        let request = ExchangeParameters { targets: bounds.audiences.clone(), ..ExchangeParameters::default() };
        verify_api_key(services, presented, &request, detail, async |context| Ok(rule(context, &bounds)?)).await
    };
    match verified {
        Ok(verified) => Ok(Some(verified)),
        Err(AuthError::Credential(_) | AuthError::Target(_) | AuthError::Scope(_) | AuthError::Lifetime(_)) => Ok(None),
        Err(
            error @ (AuthError::OnBehalfOf(_) | AuthError::Throttled(_) | AuthError::Limited(_) | AuthError::Failed(_)),
        ) => Err(error),
    }
}

/// Returns the key or token without the scheme, which is not case-sensitive (RFC 6750 §2.1).
fn strip_bearer(value: &str) -> &str {
    let value = value.trim_matches(' ');
    match value.split_once(' ') {
        Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => credential.trim_matches(' '),
        Some(_) | None => value,
    }
}

/// Returns the limits from the claims of a token, or `None` if it is for none of the requested
/// audiences. A token for the management audience is accepted only if this audience is requested by
/// name, because no service of a product needs such a token.
fn token_bounds(
    services: &Services,
    claims: &Claims<'_>,
    named: Option<&BTreeSet<Identifier>>,
) -> Option<CredentialBounds> {
    let management = &services.settings.management_audience;
    let audiences: BTreeSet<_> = match named {
        Some(named) => named.iter().filter(|named| claims.aud.contains(named.as_str())).cloned().collect(),
        None => claims.aud.all().iter().cloned().collect(),
    };
    let is_named = named.is_some_and(|named| named.contains(management));
    if audiences.is_empty() || (claims.aud.contains(management.as_str()) && !is_named) {
        return None;
    }
    let scope = claims.scope.iter().flat_map(|scope| scope.split_ascii_whitespace()).map(str::parse);
    let scp = claims.scp.iter().flatten().map(|name| name.parse());
    let authorization_details = claims.authorization_details.as_deref().map(<[_]>::to_vec);
    let record_bound = claims.is_record_bound();
    let scope = match &authorization_details {
        Some(details) if record_bound => permissions_of(details),
        Some(_) | None => scope.chain(scp).collect::<Result<_, _>>().ok()?,
    };
    Some(CredentialBounds { scope: Some(scope), authorization_details, record_bound, audiences })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_begin_with_its_scheme() {
        for text in ["key", "Bearer key", "bearer key", " BEARER  key "] {
            assert_eq!(strip_bearer(text), "key", "{text:?}");
        }
        for text in ["Basic key", "Bearerkey", "a key"] {
            assert_eq!(strip_bearer(text), text);
        }
    }
}
