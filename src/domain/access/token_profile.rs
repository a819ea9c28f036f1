//! Token profile of an audience: signature algorithm, header, and format of the claims. It serves
//! verifiers that require a particular format and cannot be changed.

use std::{borrow::Cow, fmt, str::FromStr};

use crate::domain::{
    access::{
        claim_map::{ClaimMapping, UnvalidatedClaimMapping},
        profile_error::TokenProfileError,
    },
    common::text::{impl_serde_as_text, text_enum},
    signing::Algorithm,
};

/// Format of the tokens of an audience. The default is an access token according to RFC 9068,
/// signed with the algorithm of the deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenProfile {
    /// `None` for the algorithm of the deployment.
    pub algorithm: Option<Algorithm>,
    pub typ: TokenTypeHeader,
    pub scope_claim: ScopeClaimFormat,
    pub aud_claim: AudienceClaimFormat,
    pub claims: ClaimMapping,
    pub status: StatusSubject,
}

impl TokenProfile {
    /// Returns whether one token can serve both profiles. Algorithms are compared after applying
    /// the default of the deployment. `status` is not compared: if one profile requires a status
    /// for each token, the token has one, and it is as informative for the other.
    pub fn is_compatible_with(&self, other: &Self, deployment: Algorithm) -> bool {
        self.algorithm.unwrap_or(deployment) == other.algorithm.unwrap_or(deployment)
            && self.scope_claim == other.scope_claim
            && self.aud_claim == other.aud_claim
            && self.typ == other.typ
            && self.claims == other.claims
    }
}

/// The `typ` header parameter: 1 to 64 characters of `A-Za-z0-9.+-`, with at most one `/` between
/// two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenTypeHeader(Cow<'static, str>);

/// Types of other kinds of JWT. None of them may be accepted as a token of Keyswap, and no token of
/// Keyswap as one of them (RFC 8725 §3.11).
const RESERVED_TOKEN_TYPES: [&str; 6] =
    ["statuslist+jwt", "secevent+jwt", "token-introspection+jwt", "dpop+jwt", "logout+jwt", "oauth-authz-req+jwt"];

impl TokenTypeHeader {
    /// RFC 9068 §2.1: distinguishes an access token from every other kind of JWT.
    pub const ACCESS_TOKEN: Self = Self(Cow::Borrowed("at+jwt"));
    /// RFC 9701 §5: a response about a token, which is never a token itself.
    pub const INTROSPECTION: Self = Self(Cow::Borrowed("token-introspection+jwt"));
    /// A signed status list. No audience can have this type, and it is never accepted as a token.
    pub const STATUS_LIST: Self = Self(Cow::Borrowed("statuslist+jwt"));

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TokenTypeHeader {
    fn default() -> Self {
        Self::ACCESS_TOKEN
    }
}

impl FromStr for TokenTypeHeader {
    type Err = InvalidTokenTypeHeader;
    fn from_str(text: &str) -> Result<Self, InvalidTokenTypeHeader> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".+/-".contains(&byte);
        let mut parts = text.split('/');
        let is_name = (1..=64).contains(&text.len()) && text.bytes().all(is_allowed);
        if !is_name || parts.clone().count() > 2 || parts.any(str::is_empty) {
            return Err(InvalidTokenTypeHeader::Format);
        }
        // Media types are case-insensitive, and `application/` may be omitted (RFC 7515 §4.1.9).
        let lower = text.to_ascii_lowercase();
        if RESERVED_TOKEN_TYPES.contains(&lower.strip_prefix("application/").unwrap_or(&lower)) {
            return Err(InvalidTokenTypeHeader::Reserved);
        }
        Ok(if text == Self::ACCESS_TOKEN.as_str() { Self::ACCESS_TOKEN } else { Self(Cow::Owned(text.to_owned())) })
    }
}

impl fmt::Display for TokenTypeHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl_serde_as_text!(TokenTypeHeader);

/// Reason why a text is not a valid `typ` of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokenTypeHeader {
    #[error(
        "a typ is a media type, or the last part of one, such as at+jwt or JWT: 1 to 64 of A-Z, a-z, 0-9, '.', '+', '-' and one '/'"
    )]
    Format,
    #[error("this typ is reserved for another type of token: choose another one")]
    Reserved,
}

text_enum! {
    /// Claim that contains the scope of a token.
    #[derive(Default)]
    pub enum ScopeClaimFormat {
        /// `scope`, one string (RFC 9068 §2.2.3).
        #[default]
        Scope = "scope",
        /// `scp`, an array of strings.
        Scp = "scp",
    }

    #[error("the scope_claim is scope (one string) or scp (an array)")]
    pub struct InvalidScopeClaimFormat;
}
impl_serde_as_text!(ScopeClaimFormat);

text_enum! {
    /// Format of the `aud` claim (RFC 7519 §4.1.3 allows both).
    #[derive(Default)]
    pub enum AudienceClaimFormat {
        /// One string if there is one audience, because some verifiers do not accept an array.
        #[default]
        String = "string",
        /// Always an array.
        Array = "array",
    }

    #[error("the aud_claim is string or array")]
    pub struct InvalidAudienceClaimFormat;
}
impl_serde_as_text!(AudienceClaimFormat);

text_enum! {
    /// What the status list index of a token refers to.
    #[derive(Default)]
    pub enum StatusSubject {
        /// The credential that the token was issued from: all its tokens share one status, and
        /// signing a token writes no row.
        #[default]
        Credential = "credential",
        /// The token itself: the revocation of one token is visible in the list. Each exchange
        /// writes a row.
        Token = "token",
    }

    #[error("the status must be credential (all tokens of a credential share one status) or token (each token has its own status)")]
    pub struct InvalidStatusSubject;
}
impl_serde_as_text!(StatusSubject);

/// Changes of a token profile as sent by a client. They are not validated yet, so that all errors
/// can be reported at once. An absent field leaves the value unchanged; `null` selects the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenProfilePatch {
    pub algorithm: Option<Option<String>>,
    pub typ: Option<Option<String>>,
    pub scope_claim: Option<Option<String>>,
    pub aud_claim: Option<Option<String>>,
    pub claims: Option<Option<UnvalidatedClaimMapping>>,
    pub status: Option<Option<String>>,
}

impl TokenProfilePatch {
    /// Returns whether there is no change.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Makes the claims of a merge patch complete.
    pub fn merge_claims(&mut self, before: &TokenProfile) {
        self.claims = self.claims.take().map(|claims| claims.map(|claims| claims.merge_into(&before.claims)));
    }

    /// Applies the changes to `before`. Returns all errors, not only the first one.
    pub fn apply_to(self, before: &TokenProfile) -> Result<TokenProfile, Vec<TokenProfileError>> {
        let (mut profile, mut faults) = (before.clone(), Vec::new());
        if let Some(requested) = self.algorithm {
            profile.algorithm = read("algorithm", requested, &mut faults);
        }
        if let Some(requested) = self.typ {
            profile.typ = read("typ", requested, &mut faults).unwrap_or_default();
        }
        if let Some(requested) = self.scope_claim {
            profile.scope_claim = read("scope_claim", requested, &mut faults).unwrap_or_default();
        }
        if let Some(requested) = self.aud_claim {
            profile.aud_claim = read("aud_claim", requested, &mut faults).unwrap_or_default();
        }
        if let Some(requested) = self.status {
            profile.status = read("status", requested, &mut faults).unwrap_or_default();
        }
        if let Some(requested) = self.claims {
            match requested.unwrap_or_default().read() {
                Ok(claims) => profile.claims = claims,
                Err(found) => faults.extend(found),
            }
        }
        if faults.is_empty() { Ok(profile) } else { Err(faults) }
    }
}

fn read<T: FromStr<Err: fmt::Display>>(
    field: &str,
    requested: Option<String>,
    faults: &mut Vec<TokenProfileError>,
) -> Option<T> {
    match requested?.parse() {
        Ok(value) => Some(value),
        Err(fault) => {
            faults.push(TokenProfileError::new(field, T::Err::to_string(&fault)));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typ_is_no_other_kind_of_token() {
        for text in ["at+jwt", "JWT", "application/at+jwt", "vnd.example.v1+jwt", "a", &"a".repeat(64)] {
            assert_eq!(text.parse::<TokenTypeHeader>().unwrap().as_str(), text);
        }
        for reserved in RESERVED_TOKEN_TYPES {
            for text in [
                reserved.to_owned(),
                reserved.to_ascii_uppercase(),
                format!("application/{reserved}"),
                format!("Application/{reserved}"),
            ] {
                assert_eq!(text.parse::<TokenTypeHeader>(), Err(InvalidTokenTypeHeader::Reserved), "{text}");
            }
        }
        for text in ["", "/", "a/", "/a", "a/b/c", "a b", "a_b", "a\"", "ä", "a;v=1", &"a".repeat(65)] {
            assert_eq!(text.parse::<TokenTypeHeader>(), Err(InvalidTokenTypeHeader::Format), "{text}");
        }
    }

    #[test]
    fn an_algorithm_agrees_with_the_same_one_by_default() {
        let plain = TokenProfile::default();
        let named = TokenProfile { algorithm: Some(Algorithm::Es256), ..TokenProfile::default() };
        assert!(
            plain.is_compatible_with(&named, Algorithm::Es256) && named.is_compatible_with(&plain, Algorithm::Es256)
        );
        assert!(!plain.is_compatible_with(&named, Algorithm::EdDsa));
        for other in [
            TokenProfile { typ: "JWT".parse().unwrap(), ..TokenProfile::default() },
            TokenProfile { scope_claim: ScopeClaimFormat::Scp, ..TokenProfile::default() },
            TokenProfile { aud_claim: AudienceClaimFormat::Array, ..TokenProfile::default() },
            TokenProfile { claims: r#"{"a":"user.metadata.a"}"#.parse().unwrap(), ..TokenProfile::default() },
        ] {
            assert!(
                other.is_compatible_with(&other.clone(), Algorithm::Es256)
                    && !plain.is_compatible_with(&other, Algorithm::Es256)
            );
        }
    }

    #[test]
    fn a_patch_reports_all_faults() {
        let wrong = || Some(Some("x y".to_owned()));
        let patch = TokenProfilePatch {
            algorithm: wrong(),
            typ: wrong(),
            scope_claim: wrong(),
            aud_claim: wrong(),
            claims: None,
            status: wrong(),
        };
        let faults = patch.apply_to(&TokenProfile::default()).unwrap_err();
        let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["algorithm", "typ", "scope_claim", "aud_claim", "status"]);
        let changed =
            TokenProfile { typ: "JWT".parse().unwrap(), algorithm: Some(Algorithm::Rs256), ..TokenProfile::default() };
        assert_eq!(TokenProfilePatch::default().apply_to(&changed).unwrap(), changed);
        let reset = TokenProfilePatch { algorithm: Some(None), typ: Some(None), ..TokenProfilePatch::default() };
        assert_eq!(reset.apply_to(&changed).unwrap(), TokenProfile::default());
    }
}
