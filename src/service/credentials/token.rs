//! Presented tokens: whether Keyswap issued a token, for which key, and whether the token ended
//! early. Both `/v1` and the endpoints for services use this module, so that a forged token is
//! refused (invariant 11), and a revoked token immediately (invariant 2).

use std::collections::BTreeSet;

use crate::{
    domain::{
        access::{audience::Identifier, token_profile::TokenTypeHeader},
        credentials::error::CredentialError,
        exchange::{
            claims::Claims,
            key_context::KeyContext,
            presented_token::{SourceCredential, TokenState, check_token},
        },
        signing::{SigningKeyMetadata, SigningKeyState},
    },
    service::{
        Services,
        credentials::{authenticity::authenticate, error::AuthError},
    },
    store::{
        Conn, CredentialLookup, LookupDetail, StoreError,
        credentials::{
            key_context::{self, KeySelector},
            key_details::{self, CredentialQuery, KeyDetails},
            revoked_tokens,
        },
    },
};

/// Returns whether a credential has the form of a Keyswap token: three parts separated by dots, the
/// first of which is a JSON object in base64url. An imported key may contain dots as well.
pub(crate) fn has_token_format(credential: &str) -> bool {
    credential.starts_with("eyJ") && credential.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Reads a key without looking up audiences. Returns `CredentialError::Altered` if it was altered.
pub(crate) async fn load_key(services: &Services, selector: KeySelector) -> Result<Option<KeyContext>, AuthError> {
    let load = move |connection: &mut Conn| key_context::load(connection, &selector, &BTreeSet::new());
    let Some(record) = services.store.read(load).await? else { return Ok(None) };
    Ok(Some(authenticate(services, record)?.0))
}

/// A token with a valid signature of a published key.
#[derive(Debug)]
pub(crate) struct SignedToken {
    pub typ: TokenTypeHeader,
    pub claims: Claims<'static>,
    signing_key: SigningKeyMetadata,
}

impl SignedToken {
    /// Verifies the signature of a token for any audience.
    pub(crate) fn verify(services: &Services, text: &str) -> Option<Self> {
        let view = services.keys.view();
        let (signing_key, (typ, claims)) = view.verify_any(text, services.issuer())?;
        Some(Self { typ, claims, signing_key: signing_key.clone() })
    }

    /// Verifies the signature of an access token for `audience`.
    pub(crate) fn verify_for(services: &Services, text: &str, audience: &Identifier) -> Option<Self> {
        let view = services.keys.view();
        let (signing_key, claims) = view.verify(text, services.issuer(), audience.as_str())?;
        Some(Self { typ: TokenTypeHeader::ACCESS_TOKEN, claims, signing_key: signing_key.clone() })
    }

    /// Returns the current metadata of the signing key. The snapshot that verified the signature
    /// may precede the activation of the key by another replica, so it is refreshed once if the key
    /// was next. Only holders of a private key cause such a refresh.
    async fn signing_key(&self, services: &Services) -> Result<SigningKeyMetadata, AuthError> {
        if self.signing_key.state != SigningKeyState::Next {
            return Ok(self.signing_key.clone());
        }
        let view = services.keys.reload().await?;
        Ok(view.find_published(&self.signing_key.kid).ok_or(CredentialError::SigningKeyNotInUse)?.clone())
    }
}

/// Looks up the key of a token. Returns `AuthError::Credential` if Keyswap did not issue the token
/// for this key, or if the token itself is not in force. The module `grant` decides whether the key
/// is in force.
pub(crate) async fn find_key_of_token(
    services: &Services,
    token: &SignedToken,
    targets: BTreeSet<Identifier>,
    detail: LookupDetail,
) -> Result<(Box<KeyContext>, Option<Box<KeyDetails>>), AuthError> {
    let signing_key = token.signing_key(services).await?;
    let claims = token.claims.clone();
    let found = services.store.read(move |connection| {
        let source = revoked_tokens::find_source_credential(connection, &claims)?;
        // The credential that is authenticated is that of the token, because its end decides.
        let by = source.map_or_else(|| KeySelector::Key(claims.key_id.clone()), KeySelector::Credential);
        let Some(found) = key_details::find(connection, &CredentialQuery { by, targets, detail })? else {
            return Ok(None);
        };
        Ok::<_, StoreError>(Some((found, source.is_some(), revoked_tokens::is_revoked(connection, &claims.jti)?)))
    });
    let (CredentialLookup { record, details }, is_known, revoked) = found.await?.ok_or(CredentialError::Unknown)?;
    let (context, _) = authenticate(services, record)?;
    let source_credential = match context.key.credential_expires_at {
        _ if !is_known => SourceCredential::Unknown,
        Some(end) if end <= context.now => SourceCredential::Ended,
        Some(_) | None => SourceCredential::Accepted,
    };
    let state = TokenState { revoked, source_credential };
    let checked = check_token(&token.claims, &signing_key, &context.key, &state, context.now);
    checked.inspect_err(|fault| {
        if matches!(fault, CredentialError::SigningKeyNotInUse | CredentialError::ClaimMismatch) {
            services.metrics.record_forged_token();
            let (kid, key) = (&token.signing_key.kid, &token.claims.key_id);
            tracing::warn!(%kid, %key, %fault, "refused a token with a valid signature that Keyswap did not issue");
        }
    })?;
    Ok((Box::new(context), details))
}
