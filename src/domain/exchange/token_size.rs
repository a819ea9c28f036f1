//! The size of the token of a grant, which is known before the token is signed.

use crate::domain::{
    access::token_profile::StatusSubject,
    common::json::json_length,
    exchange::{
        claims::{Claims, Subject},
        grant::Grant,
        key_context::Limits,
        refusal::{DenyReason, ScopeError},
    },
    signing::Algorithm,
};

/// The size in bytes above which a token is reported: some servers refuse a header of more than 4
/// KiB, and most one of more than 8 KiB.
pub const LARGE_TOKEN_SIZE: usize = 4096;

/// A header without its values.
const HEADER: &str = r#"{"typ":"","alg":"","kid":""}"#;
const KID_LENGTH: usize = 43;
const JTI_LENGTH: usize = 22;
/// The longest `status` claim, without the issuer in it.
const STATUS: &str =
    r#","status":{"status_list":{"idx":4294967295,"uri":"/v1/status-lists/stl_01JD0000000000000000000000"}}"#;
/// More than the names of the claims, the times, and the ids that Keyswap generates.
const FIXED_CLAIMS_LENGTH: usize = 600;

impl Grant {
    /// Checks that the token does not exceed the maximum size. Most tokens are far smaller: their
    /// claims are not serialized for it.
    pub fn check_token_size(&self, limits: &Limits) -> Result<(), DenyReason> {
        let is_small = self.token_size_of(self.max_claims_length(&limits.issuer), limits) <= limits.max_token_size;
        if is_small || self.token_size(limits) <= limits.max_token_size {
            Ok(())
        } else {
            Err(DenyReason::Scope(ScopeError::TokenTooLarge(limits.max_token_size)))
        }
    }

    /// Returns the size of the token in bytes, in compact serialization (RFC 7515 §3.1). It may
    /// have a few bytes less if its status list index is not assigned yet, and 171 less with an RSA
    /// key of 3072 bits.
    pub fn token_size(&self, limits: &Limits) -> usize {
        let mut claims = self.clone().into_claims(&limits.issuer, "x".repeat(JTI_LENGTH));
        let status = match self.status_subject {
            StatusSubject::Credential => 0,
            StatusSubject::Token => {
                claims.status = None;
                STATUS.len() + limits.issuer.len()
            }
        };
        self.token_size_of(json_length(&claims).saturating_add(status), limits)
    }

    fn token_size_of(&self, claims_length: usize, limits: &Limits) -> usize {
        let algorithm = self.token_profile.algorithm.unwrap_or(limits.algorithm);
        let header = HEADER.len() + self.token_profile.typ.as_str().len() + algorithm.as_str().len() + KID_LENGTH;
        let encoded = [header, claims_length, max_signature_length(algorithm)].map(base64_length);
        encoded.into_iter().fold(2, usize::saturating_add)
    }

    /// Returns a length that the claims do not exceed.
    fn max_claims_length(&self, issuer: &str) -> usize {
        let subject = match &self.subject {
            Subject::User(id) => id.as_str().len(),
            Subject::Organization(id) => id.as_str().len(),
            Subject::ServiceClient(_) | Subject::ApiKey(_) => 0,
        };
        let organization = self.organization.as_ref().map_or(0, |id| id.as_str().len());
        // With quotes and a comma. Neither identifiers nor permissions need escapes, and an escape
        // in an id doubles a character.
        let audiences: usize = self.audience.all().iter().map(|one| one.as_str().len() + 3).sum();
        let is_scoped = !self.record_bound;
        let scope: usize = self.scope.iter().filter(|_| is_scoped).map(|name| name.as_str().len() + 3).sum();
        let details = self.authorization_details.as_ref().map_or(0, json_length);
        let parts =
            [2 * (issuer.len() + subject + organization), audiences, scope, details, json_length(&self.mapped_claims)];
        parts.into_iter().fold(FIXED_CLAIMS_LENGTH, usize::saturating_add)
    }
}

impl Claims {
    /// Returns the name of the part that makes the token large, and what makes it smaller.
    pub fn largest_part(&self) -> (&'static str, &'static str) {
        let scope = json_length(&self.scope) + json_length(&self.scp);
        let parts = [
            (scope, "scope", "request a smaller scope, or give the key fewer permissions"),
            (
                json_length(&self.authorization_details),
                "authorization_details",
                "shorten the access records of the key",
            ),
            (json_length(&self.mapped_claims), "claims from metadata", "map fewer claims, or shorten the metadata"),
            (json_length(&self.aud), "aud", "request fewer audiences"),
        ];
        let largest = parts.into_iter().max_by_key(|(length, ..)| *length);
        largest.map(|(_, part, remedy)| (part, remedy)).unwrap_or_default()
    }
}

/// The length of a signature. RSA keys are assumed to have 4096 bits.
const fn max_signature_length(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Es256 | Algorithm::EdDsa => 64,
        Algorithm::Es384 => 96,
        Algorithm::Rs256 | Algorithm::Ps256 => 512,
    }
}

/// The length in base64url without padding.
const fn base64_length(bytes: usize) -> usize {
    bytes.saturating_mul(4).div_ceil(3)
}
