//! Which tokens Keyswap accepts when they come back to it, at `/v1`, for introspection, validation,
//! access checks and revocation. A valid signature does not suffice: the signing key must be in
//! use, and the claims must be those that Keyswap writes for the key (invariant 11).

use crate::domain::{
    common::time::Timestamp,
    credentials::error::CredentialError,
    exchange::{claims::Claims, key_context::KeyProperties},
    signing::{SigningKeyMetadata, SigningKeyState},
};

/// More than an exchange takes from the lookup of the key to the signature.
const MAX_EXCHANGE_SECONDS: i64 = 10;

/// State of a token in the database, besides the context of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenState {
    /// Whether the token was revoked by its `jti`.
    pub revoked: bool,
    pub source_credential: SourceCredential,
}

/// The credential of the key that the status list index of a token identifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceCredential {
    Accepted,
    /// A rotation has ended the credential.
    Ended,
    /// The token has no index, or the index belongs to no credential of the key.
    Unknown,
}

/// Checks that the token was issued by Keyswap for `key` and is in force. The module `grant` checks
/// that the key is in force.
pub fn check_token(
    claims: &Claims<'_>,
    signing_key: &SigningKeyMetadata,
    key: &KeyProperties,
    state: &TokenState,
    now: Timestamp,
) -> Result<(), CredentialError> {
    if !may_have_signed(signing_key, claims.iat, now) {
        Err(CredentialError::SigningKeyNotInUse)
    } else if !describes(claims, key) || state.source_credential == SourceCredential::Unknown {
        Err(CredentialError::ClaimMismatch)
    } else if state.revoked {
        Err(CredentialError::Revoked)
    } else if claims.exp <= now.seconds() || state.source_credential == SourceCredential::Ended {
        Err(CredentialError::Expired)
    } else {
        Ok(())
    }
}

/// Returns whether the key may have signed a token that was issued at `iat`, in seconds since 1970.
/// Times are not compared while the activation is in the future: the clock was set back since.
fn may_have_signed(key: &SigningKeyMetadata, iat: i64, now: Timestamp) -> bool {
    match key.state {
        SigningKeyState::Active | SigningKeyState::Retiring => {
            key.activated_at.is_some_and(|at| iat >= at.seconds() || now < at)
        }
        SigningKeyState::Next | SigningKeyState::Removed | SigningKeyState::Revoked => false,
    }
}

/// Returns the `iat` of a token whose API key was looked up at `looked_up_at`, in seconds since
/// 1970. It is not before the activation of the signing key, which can follow the lookup. A later
/// activation means that the clock was set back; verifiers refuse tokens from the future.
pub fn issue_time(looked_up_at: i64, activated_at: Timestamp) -> i64 {
    let activated_at = activated_at.seconds();
    let is_in_flight = activated_at <= looked_up_at.saturating_add(MAX_EXCHANGE_SECONDS);
    if is_in_flight { looked_up_at.max(activated_at) } else { looked_up_at }
}

/// Returns whether the claims that identify the key and its owner are those of `key`.
fn describes(claims: &Claims<'_>, key: &KeyProperties) -> bool {
    let subject = key.subject();
    claims.key_id == key.id
        && claims.sub == subject.id()
        && claims.sub_type == subject.kind()
        && claims.client_id == subject.client_id(&key.id)
        && claims.org_id.as_deref() == key.ownership.owner_scope.organization()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{common::time::Span, signing::Algorithm};

    fn signing_key(state: SigningKeyState, activated_at: Option<i64>) -> SigningKeyMetadata {
        SigningKeyMetadata {
            kid: "k".repeat(43).parse().unwrap(),
            algorithm: Algorithm::Es256,
            state,
            published_at: Timestamp::from_millis(0),
            seen_at: None,
            activated_at: activated_at.map(Timestamp::from_millis),
            retired_at: None,
            removed_at: None,
            destroyed_at: None,
            longest_ttl: Span::from_secs(60),
            version: 1,
        }
    }

    #[test]
    fn token_is_not_older_than_its_signing_key() {
        let issued = |looked_up_at| issue_time(looked_up_at, Timestamp::from_millis(100_999));
        assert_eq!([issued(101), issued(100), issued(99), issued(90)], [101, 100, 100, 100]);
        assert_eq!(issued(89), 89, "the clock was set back");
    }

    #[test]
    fn only_keys_in_use_sign_and_only_from_their_activation() {
        let now = Timestamp::from_millis(60_000);
        for (state, in_use) in [
            (SigningKeyState::Next, false),
            (SigningKeyState::Active, true),
            (SigningKeyState::Retiring, true),
            (SigningKeyState::Removed, false),
            (SigningKeyState::Revoked, false),
        ] {
            assert_eq!(may_have_signed(&signing_key(state, Some(10_500)), 10, now), in_use, "{state:?}");
            assert!(!may_have_signed(&signing_key(state, Some(10_500)), 9, now), "{state:?} before its activation");
            assert!(!may_have_signed(&signing_key(state, None), 10, now), "{state:?} was never activated");
        }
        let set_back = Timestamp::from_millis(10_000);
        assert!(may_have_signed(&signing_key(SigningKeyState::Active, Some(10_500)), 9, set_back));
    }
}
